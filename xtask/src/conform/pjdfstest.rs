//! pjdfstest: what POSIX says of file systems, a case a sentence.

use super::{
    case::{Cases, Ended},
    place::Place,
    tools,
};
use crate::{process, setup::Context};
use anyhow::{Result, bail};
use std::{fs, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(900);
/// Two users that every Debian has. Its cases change to them.
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Runs all cases.
pub(super) fn run(context: &Context, place: &Place) -> Result<Cases> {
    let programme = tools::pjdfstest(context)?;
    let configuration = place.scratch("pjdfstest.toml");
    fs::write(&configuration, CONFIGURATION)?;
    let mut command = Command::new(programme);
    command.arg("--configuration-file").arg(configuration).arg("--path").arg(&place.folder);
    let output = process::output(&mut command, PATIENCE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    fs::write(place.scratch("pjdfstest.log"), &*text)?;
    let cases = parse(&text);
    if cases.is_empty() || !text.contains("Summary: ") {
        bail!("pjdfstest ended early ({}): {}", output.status, process::last_words(&output));
    }
    Ok(cases)
}

/// Reads a line a case, `NAME ok`, `NAME FAILED` or `NAME skipped`, with reasons in lines that are indented.
fn parse(text: &str) -> Cases {
    let mut cases = Cases::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(word), None) = (words.next(), words.next(), words.next()) else { continue };
        let mut why = Vec::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            why.push(more.trim());
        }
        let ended = match word {
            "ok" => Ended::Passed,
            "skipped" => Ended::Skipped(why.join("; ")),
            "FAILED" => Ended::Failed(why.join("; ")),
            _ => continue,
        };
        cases.insert(name.to_owned(), ended);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "link::a         ok\nlink::b   FAILED\n\tsaid so\n\tand so\nlink::c   skipped\n\tno flag\n\n\
                    Summary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total\n";
        let cases = parse(text);
        assert_eq!(cases.len(), 3);
        assert_eq!(cases["link::a"], Ended::Passed);
        assert_eq!(cases["link::b"], Ended::Failed("said so; and so".into()));
        assert_eq!(cases["link::c"], Ended::Skipped("no flag".into()));
    }
}
