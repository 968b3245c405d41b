//! Programmes that press on a file system: stress-ng's stressors, one at a time, and dbench's record of a file server's day.

use super::{
    case::{self, Cases, Ended},
    place::Place,
    tools,
};
use crate::{
    process,
    setup::{Context, private::Programme},
};
use anyhow::Result;
use std::{process::Output, time::Duration};

/// Those of stress-ng's stressors that work on files in a folder. What a version of it does not know fails on the bare folder
/// too, and is skipped.
const STRESSORS: [&str; 40] = [
    "access",
    "acl",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "fallocate",
    "fcntl",
    "fiemap",
    "filename",
    "filerace",
    "flock",
    "fpunch",
    "fsize",
    "fstat",
    "getdent",
    "hdd",
    "iomix",
    "lease",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "metamix",
    "mknod",
    "open",
    "readahead",
    "rename",
    "revio",
    "seek",
    "sendfile",
    "symlink",
    "touch",
    "unlink",
    "utime",
    "xattr",
];
/// How long a stressor runs at most, in seconds, and how many of its operations: what comes first ends it.
const STRESSOR: (&str, &str) = ("2", "500");
/// Its data files; the default is a gigabyte.
const STRESSOR_BYTES: &str = "8m";
/// How long dbench runs, in seconds, and with how many clients.
const DBENCH: (&str, &str) = ("10", "2");
/// What its clients do.
const DBENCH_LOAD: &str = "usr/share/dbench/client.txt";
const PATIENCE: Duration = Duration::from_secs(300);

/// What stress-ng's exit status says beside success and failure.
const NO_RESOURCES: i32 = 3;
const NOT_IMPLEMENTED: i32 = 4;

/// Runs each stressor with its own checks.
pub(super) fn stress_ng(context: &Context, place: &Place) -> Result<Cases> {
    let programme = tools::packaged(context, "stress-ng")?;
    let mut cases = Cases::new();
    for stressor in STRESSORS {
        cases.insert(stressor.to_owned(), run(&programme, stressor, place)?);
    }
    Ok(cases)
}

fn run(programme: &Programme, stressor: &str, place: &Place) -> Result<Ended> {
    let mut command = programme.command();
    command.args([&format!("--{stressor}"), "1", &format!("--{stressor}-ops"), STRESSOR.1]);
    match stressor {
        "hdd" | "iomix" | "fallocate" | "readahead" | "revio" => {
            command.args([&format!("--{stressor}-bytes"), STRESSOR_BYTES]);
        }
        "seek" | "copy-file" => {
            let unit = if stressor == "seek" { "size" } else { "bytes" };
            command.args([&format!("--{stressor}-{unit}"), STRESSOR_BYTES]);
        }
        _ => {}
    }
    command.args(["--timeout", STRESSOR.0, "--verify", "--no-rand-seed", "--temp-path"]).arg(&place.folder);
    match process::output_or_none(command.current_dir(&place.scratch), PATIENCE)? {
        Some(output) => Ok(ended(&output)),
        None => Ok(Ended::Failed(format!("it did not end within {} s", PATIENCE.as_secs()))),
    }
}

fn ended(output: &Output) -> Ended {
    match output.status.code() {
        Some(0) => Ended::Passed,
        Some(NO_RESOURCES | NOT_IMPLEMENTED) => Ended::Skipped("stress-ng cannot do it here".into()),
        _ => Ended::Failed(format!("{}: {}", output.status, words(output))),
    }
}

/// What it says is wrong. It writes to either stream, by version.
fn words(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let wrong: Vec<&str> =
        text.lines().filter(|line| line.contains("fail") || line.contains("error")).take(3).collect();
    if wrong.is_empty() { process::last_words(output) } else { wrong.join("; ") }
}

/// dbench: each of its operations that fails where the record has success ends it.
pub(super) fn dbench(context: &Context, place: &Place) -> Result<Cases> {
    let load = tools::packaged_file(context, DBENCH_LOAD)?;
    let mut command = tools::packaged(context, "dbench")?.command();
    command.arg("-D").arg(&place.folder).arg("-c").arg(load).args(["-t", DBENCH.0, DBENCH.1]);
    let outcome = process::quiet(command.current_dir(&place.scratch), PATIENCE).map(drop);
    Ok(case::one("clients", outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    #[test]
    fn exit_statuses_are_read() {
        let of = |code: i32, said: &str| {
            ended(&Output { status: ExitStatus::from_raw(code << 8), stdout: said.into(), stderr: Vec::new() })
        };
        assert_eq!(of(0, ""), Ended::Passed);
        assert!(matches!(of(4, ""), Ended::Skipped(_)));
        let Ended::Failed(why) = of(2, "info: begun\nfail: link: errno=5\n") else { panic!("it failed") };
        assert!(why.ends_with("fail: link: errno=5"), "{why}");
    }
}
