//! Other programs: built as typed commands, printed so that they can be repeated, ended when this program ends.

pub(crate) mod cargo;
pub(crate) mod child;
pub(crate) mod interrupt;
mod shown;

use anyhow::{Context, Result, bail};
pub(crate) use shown::shown;
use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Runs a command to its end and gives what it wrote.
///
/// # Errors
/// When it cannot be started or runs longer than `patience`, not when it fails.
pub(crate) fn output(command: &mut Command, patience: Duration) -> Result<Output> {
    output_or_none(command, patience)?
        .with_context(|| format!("`{}` did not end within {} s", shown(command), patience.as_secs()))
}

/// The same; `None` if it runs longer than `patience`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn output_or_none(command: &mut Command, patience: Duration) -> Result<Option<Output>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child::Guarded::spawn(command)?;
    let (stdout, stderr) = (child.read_stdout(), child.read_stderr());
    let Some(status) = child.wait(patience)? else { return Ok(None) };
    let join =
        |reader: std::thread::JoinHandle<Vec<u8>>| reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"));
    Ok(Some(Output { status, stdout: join(stdout)?, stderr: join(stderr)? }))
}

/// Runs a command to its end with this program's own output.
///
/// # Errors
/// When it cannot be started, fails, or runs longer than `patience`.
pub(crate) fn run(command: &mut Command, patience: Duration) -> Result<()> {
    let mut child = child::Guarded::spawn(command.stdin(Stdio::null()))?;
    match child.wait(patience)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{}` failed ({status})", shown(command)),
        None => bail!("`{}` did not end within {} s", shown(command), patience.as_secs()),
    }
}

/// The first line that a programme prints when asked for its version; `None` if it cannot be run.
pub(crate) fn version_line(command: &mut Command) -> Option<String> {
    let output = output(command.arg("--version"), Duration::from_secs(30)).ok()?;
    if !output.status.success() {
        return None;
    }
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}

/// The first of `PATH`'s folders that holds an executable of this name.
pub(crate) fn in_path(name: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file())
}

/// What an unsuccessful command wrote last, for a message.
pub(crate) fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.iter().rev().take(3).rev().copied().collect::<Vec<_>>().join("; ")
}

/// Runs a command that must succeed, in silence.
///
/// # Errors
/// When it fails, with its last words.
pub(crate) fn quiet(command: &mut Command, patience: Duration) -> Result<Output> {
    let done = output(command, patience)?;
    if !done.status.success() {
        return Err(anyhow::anyhow!("{}", last_words(&done)))
            .with_context(|| format!("`{}` failed ({})", shown(command), done.status));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let done =
            output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(20)).unwrap();
        assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(last_words(&done), "err");
    }

    #[test]
    fn a_command_that_hangs_is_an_error() {
        let error = output(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
