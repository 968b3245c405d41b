//! Without `--foreground`: the same programme once more, in the background.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

/// Starts it, and returns when the share is mounted, or it has said why not.
pub(crate) fn start() -> Result<ExitCode> {
    let programme = std::env::current_exe().context("this program cannot be found")?;
    let mut child = Command::new(programme)
        .args(std::env::args_os().skip(1))
        .args(["--foreground", "--announce"])
        // Signals of this terminal are for who is in its foreground.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("this program cannot be started in the background")?;
    let mut line = String::new();
    let output = child.stdout.take().context("no pipe to the program in the background")?;
    BufReader::new(output).read_line(&mut line).context("no word from the program in the background")?;
    if line.trim() == "mounted" {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().context("no word from the program in the background")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
