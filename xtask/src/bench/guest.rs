//! One boot of one guest, and what it measured.

use super::{
    results::{Measured, REQUESTS, complete},
    table::{ROWS, Run},
};
use crate::{
    process::child::Guarded,
    rig::{
        boot::{self, Host, Report},
        daemon::{self, Daemon},
        events::Event,
        logs,
        machine::{self, Device, Machine, SHARED_LEN, SharedMemory, TAG, path_option},
        plan::{Deadlines, Plan},
        tools::Tools,
        verdict::{self, Success},
    },
    setup::linux::Linux,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use testkernel_protocol::command_line::{ARGUMENT, DEADLINE, INTERRUPTS, MODE, mode, word};

/// RAM of the machines.
const MEMORY: u64 = 1 << 30;
/// How long a guest may take for everything.
const PATIENCE: Duration = Duration::from_secs(600);
const BOOT: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(15);
/// How lines begin that are a Linux guest's and not its kernel's.
const MARK: &str = "GUEST ";

/// What every boot needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner<'a> {
    pub(super) tools: &'a Tools,
    /// Where the logs go.
    pub(super) root: &'a Path,
    pub(super) share: &'a Path,
    pub(super) accelerator: &'a str,
    /// The processors' model.
    pub(super) model: Option<&'static str>,
}

impl Runner<'_> {
    /// Boots the test kernel.
    ///
    /// # Errors
    /// When that fails, or something was not measured.
    pub(super) fn ours(&self, run: Run, repetition: usize) -> Result<Vec<Measured>> {
        let folder = self.folder("ours", run, repetition);
        let mut plan = self.plan(run, &folder)?;
        let file = self.shared_memory()?;
        plan.memory_shared = Some(SharedMemory { file: &file, writable: true });
        let arguments: &[&str] = if run == Run::Thrash { &["bench", "thrash"] } else { &["bench"] };
        plan.words = vec![word(MODE, mode::RUN)];
        plan.words.extend(arguments.iter().map(|argument| word(ARGUMENT, argument)));
        plan.words.push(word(DEADLINE, &PATIENCE.as_secs().to_string()));
        plan.words.push(word(INTERRUPTS, plan.machine.interrupts));
        let report = boot::boot(self.tools, &plan, &mut Silent)?;
        let outcome = match verdict::judge(&report, None) {
            Ok(Success::Passed) => of_events(&report),
            Ok(Success::Skipped(reason)) => Err(anyhow!("{reason}")),
            Err(failure) => Err(anyhow!("{failure}")),
        };
        let wanted = ROWS.iter().filter(|row| row.run == run);
        let requests = wanted.clone().filter(|row| row.requests.is_some()).map(|row| format!("{REQUESTS}{}", row.name));
        let names: Vec<String> = wanted.flat_map(|row| row.names()).map(str::to_owned).chain(requests).collect();
        checked(outcome, names.iter().map(String::as_str), &folder)
    }

    /// Boots Linux.
    ///
    /// # Errors
    /// As [`Runner::ours`].
    pub(super) fn linux(&self, linux: &Linux, run: Run, repetition: usize) -> Result<Vec<Measured>> {
        let folder = self.folder("linux", run, repetition);
        let plan = self.plan(run, &folder)?;
        let outcome = self.boot_linux(linux, run, &plan);
        crate::process::interrupt::check()?;
        checked(outcome, ROWS.iter().filter(|row| row.run == run && row.linux).map(|row| row.name), &folder)
    }

    /// The memory of files that machines share, of which there is one machine.
    fn shared_memory(&self) -> Result<PathBuf> {
        let path = self.root.join("memory");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.set_len(SHARED_LEN)).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    fn folder(&self, guest: &str, run: Run, repetition: usize) -> PathBuf {
        self.root.join(format!("{repetition}-{guest}-{run:?}").to_lowercase())
    }

    /// The same for every guest.
    fn plan<'a>(&'a self, run: Run, folder: &'a Path) -> Result<Plan<'a>> {
        let base = machine::named("q35-dax").context("the machine q35-dax is gone")?;
        let device = Device::Dax { window: run.window() };
        let machine = Machine { device, interrupts: "msix", processors: 2, model: self.model, ..base };
        Ok(Plan {
            machine,
            accelerator: self.accelerator,
            memory: MEMORY,
            share: self.share,
            memory_shared: None,
            small_disk: None,
            daemon: &[],
            our_daemon: &[],
            record: false,
            folder,
            words: Vec::new(),
            faults: &[],
            deadlines: Deadlines { boot: BOOT, test: PATIENCE + END, end: END },
        })
    }

    fn boot_linux(&self, linux: &Linux, run: Run, plan: &Plan<'_>) -> Result<Vec<Measured>> {
        fs::create_dir_all(plan.folder).with_context(|| format!("cannot create {}", plan.folder.display()))?;
        let sockets = tempfile::Builder::new().prefix("xtask-").tempdir().context("no temporary folder for sockets")?;
        let socket = sockets.path().join("fs");
        let mut daemon = daemon::start(&self.tools.daemons, plan, &socket)?.context("there is no daemon")?;
        let serial = plan.folder.join(boot::SERIAL);
        let mut command = self.tools.qemu.command();
        command.args(plan.machine.board_arguments(plan.memory, plan.accelerator));
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.arg("-chardev").arg(path_option("file,id=serial,path=", &serial)).args(["-serial", "chardev:serial"]);
        command.args(plan.machine.device_arguments(&socket, None));
        command.arg("-kernel").arg(&linux.kernel).arg("-initrd").arg(&linux.initramfs);
        let task = if run == Run::Thrash { "thrash" } else { "bench" };
        let words = format!("console=ttyS0 quiet panic=-1 no_timer_check dax=always tag={TAG} run={task}");
        command.arg("-append").arg(words);
        let log = File::create(plan.folder.join(boot::QEMU))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut qemu = Guarded::spawn(&mut command)?;
        let status = qemu.wait(PATIENCE)?;
        qemu.kill();
        match status {
            Some(status) if status.success() => {}
            Some(status) => bail!("QEMU failed ({status})"),
            None => bail!("the guest did not end within {} s", PATIENCE.as_secs()),
        }
        match daemon.process.wait(END)? {
            Some(status) if status.success() => {}
            Some(status) => bail!("the daemon failed ({status})"),
            None => bail!("the daemon ran on after QEMU was gone"),
        }
        let said = fs::read(&serial).with_context(|| format!("cannot read {}", serial.display()))?;
        of_console(&String::from_utf8_lossy(&said))
    }
}

/// Adds the logs to an error.
fn checked<'a>(
    outcome: Result<Vec<Measured>>,
    names: impl IntoIterator<Item = &'a str>,
    folder: &Path,
) -> Result<Vec<Measured>> {
    let checked = outcome.and_then(|measured| complete(&measured, names).map(|()| measured));
    checked.map_err(|error| {
        eprint!("{}", logs::ends(folder));
        error.context(format!("the boot with its logs in {} failed", folder.display()))
    })
}

/// What the test kernel measured: its metrics `bench NAME` and `requests NAME`.
fn of_events(report: &Report) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for event in &report.events {
        let Event::Metric { name, value, unit } = event else { continue };
        let name = match name.strip_prefix("bench ") {
            Some(name) => name,
            None if name.starts_with(REQUESTS) => name,
            None => continue,
        };
        measured.push(Measured { name: name.to_owned(), value: *value as f64, unit: unit.clone() });
    }
    Ok(measured)
}

/// A line of a Linux guest's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Bench { bench: String, value: f64, unit: String },
    Said { name: String, outcome: String, detail: String },
}

/// What a Linux guest measured, as it says on its console.
fn of_console(text: &str) -> Result<Vec<Measured>> {
    let (mut measured, mut passed, mut ended) = (Vec::new(), false, false);
    for line in text.lines() {
        // The firmware leaves control characters before the first line.
        let Some((_, json)) = line.split_once(MARK) else { continue };
        let line = serde_json::from_str(json.trim_end()).with_context(|| format!("the guest said {line:?}"))?;
        match line {
            Line::Bench { bench, value, unit } => measured.push(Measured { name: bench, value, unit }),
            Line::Said { name, outcome, .. } if (&*name, &*outcome) == ("bench", "pass") => passed = true,
            Line::Said { name, .. } if name == "end" => ended = true,
            Line::Said { name, outcome, detail } => bail!("the guest says of {name}: {outcome}: {detail}"),
        }
    }
    ensure!(passed && ended, "the guest did not come to its end");
    Ok(measured)
}

/// Nobody listens while it is measured.
struct Silent;

impl Host for Silent {
    fn sync(&mut self, name: &str, _: Option<&mut Daemon>) -> Result<()> {
        bail!("the kernel waits for `{name}`, of which the host knows nothing")
    }

    fn output(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn log(&mut self, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::boot::{DaemonEnd, End};
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    const CONSOLE: &str = "\u{1b}c\u{1b}[?7lGUEST {\"bench\":\"rtt\",\"value\":41.5,\"unit\":\"us\"}\r\n\
        [    1.2] a kernel's line\r\n\
        GUEST {\"bench\":\"map_scan\",\"value\":4900.125,\"unit\":\"MB/s\"}\r\n\
        GUEST {\"name\":\"bench\",\"outcome\":\"pass\",\"detail\":\"\"}\r\n\
        GUEST {\"name\":\"end\",\"outcome\":\"done\",\"detail\":\"\"}\r\n";

    fn measured(name: &str, value: f64, unit: &str) -> Measured {
        Measured { name: name.into(), value, unit: unit.into() }
    }

    #[test]
    fn a_linux_guests_console_is_read() {
        let found = of_console(CONSOLE).unwrap();
        assert_eq!(found, [measured("rtt", 41.5, "us"), measured("map_scan", 4900.125, "MB/s")]);
    }

    #[test]
    fn a_linux_guest_that_fails_is_no_measurement() {
        let fails = |text: &str, word: &str| {
            let error = format!("{:#}", of_console(text).unwrap_err());
            assert!(error.contains(word), "{error}");
        };
        fails("", "did not come to its end");
        fails(&CONSOLE[..CONSOLE.len() - 60], "GUEST");
        fails(&CONSOLE.replace("\"name\":\"end\"", "\"name\":\"check\""), "check: done");
        fails(&CONSOLE.replace("pass\",\"detail\":\"", "fail\",\"detail\":\"No space left"), "No space left");
        fails(&CONSOLE.replace("41.5", "fast"), "fast");
    }

    #[test]
    fn the_test_kernels_metrics_are_read() {
        let metric = |name: &str, value, unit: &str| Event::Metric { name: name.into(), value, unit: unit.into() };
        let report = Report {
            events: vec![
                Event::Hello {},
                metric("bench rtt", 17_000, "ns"),
                metric("requests rtt", 100, "per 100"),
                metric("stat requests", 7, "1"),
                Event::Pass,
            ],
            broken: Vec::new(),
            end: End::Exited(ExitStatus::from_raw(33 << 8)),
            daemon: DaemonEnd::None,
            record: None,
            complaints: Vec::new(),
        };
        let found = of_events(&report).unwrap();
        assert_eq!(found, [measured("rtt", 17_000.0, "ns"), measured("requests rtt", 100.0, "per 100")]);
    }
}
