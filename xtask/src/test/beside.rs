//! The scenarios in QEMU beside other steps: boots wait a lot, compilers never do.

use super::summary;
use crate::{
    process::{self, child::Guarded},
    qemu_test::Tally,
    rig::tools::Tools,
    setup::Context,
};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// All scenarios may take this long.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How much this program steps back while the boots run: they have deadlines, compilers don't.
const NICE: i32 = 5;

/// `cargo xtask qemu-test` in a process of its own.
#[derive(Debug)]
pub(super) struct Beside {
    child: Guarded,
    log: PathBuf,
    begin: Instant,
}

impl Beside {
    /// Builds what it needs, then starts it.
    ///
    /// # Errors
    /// When something is missing and cannot be had.
    pub(super) fn begin(context: &Context) -> Result<Self> {
        let begin = Instant::now();
        // Here, not there: cargo lets one build at a time into a folder.
        drop(Tools::ensure(context, true)?);
        let folder = context.paths.target.join("test");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let log = folder.join("qemu.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(env::current_exe().context("this program does not know where it is")?);
        command.arg("qemu-test");
        if let Some(qemu) = &context.qemu.qemu {
            command.arg("--qemu").arg(qemu);
        }
        for suite in &context.qemu.accept_old_archive {
            command.arg("--accept-old-archive").arg(suite);
        }
        println!("$ {} &", process::shown(&command));
        let child = Guarded::spawn(command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output))?;
        // Only the speed of what follows depends on it.
        let _ = rustix::process::setpriority_process(None, NICE);
        Ok(Self { child, log, begin })
    }

    /// Waits for its end and shows what it wrote: its results, and the seconds it took.
    ///
    /// # Errors
    /// When it hangs, or ends without having counted its tests.
    pub(super) fn finish(mut self) -> Result<(Tally, u64)> {
        let Some(status) = self.child.wait(PATIENCE)? else {
            bail!("the scenarios did not end within {} s; see {}", PATIENCE.as_secs(), self.log.display());
        };
        let text = fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        let text = String::from_utf8_lossy(&text);
        print!("{text}");
        match text.lines().rev().find_map(summary::parse_total) {
            Some(tally) if status.success() || tally.failed > 0 => Ok((tally, self.begin.elapsed().as_secs())),
            _ => bail!("the scenarios ended ({status}) and no test failed: {}", text.lines().last().unwrap_or("")),
        }
    }
}
