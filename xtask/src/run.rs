//! `cargo xtask run`: boots the test kernel with a folder behind a window and runs a command in it.

mod demo;
mod shell;
pub(crate) mod size;

use crate::{
    paths::Paths,
    rig::{
        boot::{self, Command, Host},
        daemon::Daemon,
        logs,
        machine::{self, Device, Machine},
        plan::{Deadlines, Plan},
        scratch::Scratch,
        tools::Tools,
        verdict::{self, Success, Witness},
    },
    setup::{Context, qemu::QemuArgs},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use testkernel_protocol::command_line::{ARGUMENT, DEADLINE, INTERRUPTS, MODE, mode, word};

const MIB: u64 = 1 << 20;
/// The smallest window: one range of the driver's.
const SMALLEST_WINDOW: u64 = 2 * MIB;
/// The largest window that the firmware places on a machine with 40 bits of physical address.
const LARGEST_WINDOW: u64 = 256 << 30;
/// The kernel and its queues need some room.
const SMALLEST_MEMORY: u64 = 64 * MIB;
const LARGEST_MEMORY: u64 = 64 << 30;

/// `cargo xtask run`
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The folder to share (default: a copy of demo/, so that this checkout stays as it is)
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// Bytes of the DAX window, a power of two, with a suffix K, M or G (default: the machine's)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    window_size: Option<u64>,
    /// Bytes of the machine's RAM
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size::parse)]
    memory: u64,
    /// The machine (`cargo xtask qemu-test --machine help` lists them)
    #[arg(long, value_name = "NAME", default_value = "q35-dax")]
    machine: String,
    /// QEMU's accelerator
    #[arg(long, value_name = "NAME", default_value = "tcg", value_parser = ["tcg", "kvm"])]
    accel: String,
    /// Seconds after which a command that has not ended is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Show the kernel's log, too
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    qemu: QemuArgs,
    /// The command: `ls PATH`, `cat PATH`, `sha256 PATH`, `stat PATH`, `map PATH OFFSET LEN`, `shell`, ...; none: a short tour
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `cargo xtask run`.
pub(crate) fn command(args: &RunArgs) -> Result<ExitCode> {
    let machine = chosen_machine(args)?;
    if !(SMALLEST_MEMORY..=LARGEST_MEMORY).contains(&args.memory) {
        bail!("--memory must be between {} MiB and {} GiB", SMALLEST_MEMORY / MIB, LARGEST_MEMORY >> 30);
    }
    let paths = Paths::find()?;
    let named = args.share.as_deref().map(usable_share).transpose()?;
    let context = Context::new(&args.qemu)?;
    let tools = Tools::ensure(&context, machine.device == Device::Plain)?;
    let scratch = Scratch::new(&paths.target.join("run"))?;
    let (share, demo) = match named {
        Some(share) => (share, None),
        None => {
            let demo = demo::Demo::copy(&paths, &scratch.path().join("demo"))?;
            (demo.folder().to_path_buf(), Some(demo))
        }
    };
    let folder = scratch.path().join("logs");
    let plan = Plan {
        machine,
        accelerator: &args.accel,
        memory: args.memory,
        share: &share,
        memory_shared: None,
        small_disk: None,
        daemon: &[],
        our_daemon: &[],
        record: true,
        folder: &folder,
        words: words(args, &machine),
        faults: &[],
        deadlines: Deadlines::on(&args.accel, Duration::from_secs(args.timeout.saturating_add(15))),
    };
    let input = is_shell(args).then(shell::Input::standard);
    let mut passed = Passed { verbose: args.verbose, input, failed: 0 };
    let report = boot::boot(&tools, &plan, &mut passed)?;
    let unnoticed = passed.failed > 0 && !passed.input.as_ref().is_some_and(shell::Input::is_typed);
    let failure = match verdict::judge(&report, None) {
        Ok(Success::Passed) => {
            if let Some(demo) = demo.filter(|_| args.command.is_empty()) {
                demo.show_what_is_new()?;
            }
            // Whoever types has seen it; a script has the status only.
            return Ok(if unnoticed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        Ok(Success::Skipped(reason)) => bail!("{reason}"),
        Err(failure) => failure,
    };
    // What the kernel says in its own words needs no log; what it could not say does.
    if failure.witness != Witness::Kernel || failure.message.contains("panic") {
        eprint!("{}", logs::ends(&folder));
    }
    bail!("{failure}")
}

fn chosen_machine(args: &RunArgs) -> Result<Machine> {
    let Some(mut machine) = machine::named(&args.machine).filter(Machine::has_share) else {
        let names: Vec<&str> =
            machine::MACHINES.iter().filter(|machine| machine.has_share()).map(|machine| machine.name).collect();
        bail!("there is no machine `{}` with a share; there are {}", args.machine, names.join(", "));
    };
    match (&mut machine.device, args.window_size) {
        (Device::Dax { window }, Some(size)) => *window = usable_window(size)?,
        (_, Some(_)) => bail!("the machine {} has no window, so --window-size means nothing", machine.name),
        (_, None) => {}
    }
    Ok(machine)
}

fn usable_window(size: u64) -> Result<u64> {
    if size < SMALLEST_WINDOW {
        bail!("a window of {size} bytes is too small; the least is 2 MiB, one range");
    }
    if size > LARGEST_WINDOW {
        bail!(
            "a window of {size} bytes is larger than the machine can place; the most is {} GiB",
            LARGEST_WINDOW >> 30
        );
    }
    if !size.is_power_of_two() {
        bail!(
            "a window of {size} bytes is no power of two, which QEMU wants; the next is {}",
            size.next_power_of_two()
        );
    }
    Ok(size)
}

fn usable_share(share: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(share).with_context(|| format!("the share {} cannot be used", share.display()))?;
    if !metadata.is_dir() {
        bail!("the share {} is not a folder", share.display());
    }
    fs::read_dir(share).with_context(|| format!("the share {} cannot be used", share.display()))?;
    Ok(share.canonicalize()?)
}

/// Whether the command is the shell.
fn is_shell(args: &RunArgs) -> bool {
    args.command.as_slice() == ["shell"]
}

fn words(args: &RunArgs, machine: &Machine) -> Vec<String> {
    let mode = match args.command.as_slice() {
        [] => mode::TOUR,
        _ if is_shell(args) => mode::SHELL,
        _ => mode::RUN,
    };
    let mut words = vec![word(MODE, mode)];
    words.extend(args.command.iter().filter(|_| mode == mode::RUN).map(|argument| word(ARGUMENT, argument)));
    words.push(word(DEADLINE, &args.timeout.to_string()));
    words.push(word(INTERRUPTS, machine.interrupts));
    words
}

/// Passes the command's output on, byte for byte.
struct Passed {
    verbose: bool,
    /// Where the shell's commands come from.
    input: Option<shell::Input>,
    /// Commands of the shell that failed.
    failed: usize,
}

impl Host for Passed {
    fn sync(&mut self, _: &str, _: Option<&mut Daemon>) -> Result<()> {
        Ok(())
    }

    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot pass the output on")
    }

    fn command(&mut self) -> Result<Option<Command>> {
        let Some(input) = &mut self.input else { return Ok(Some(Command::End)) };
        let line = match input.next()? {
            shell::Next::Nothing => return Ok(None),
            shell::Next::End => return Ok(Some(Command::End)),
            shell::Next::Line(line) => line,
        };
        match shlex::split(&line) {
            None => self.failed("a quotation has no end"),
            Some(words) if words.is_empty() => {}
            Some(words) if words == ["exit"] => return Ok(Some(Command::End)),
            Some(words) => return Ok(Some(Command::Run(words))),
        }
        Ok(None)
    }

    fn failed(&mut self, message: &str) {
        self.failed += 1;
        eprintln!("error: {message}");
    }

    fn log(&mut self, bytes: &[u8]) {
        if self.verbose {
            // If nobody reads the log any more the command goes on all the same.
            let _ = io::stderr().lock().write_all(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(words: &[&str]) -> RunArgs {
        Cli::parse_from(["x"].iter().chain(words)).run
    }

    #[test]
    fn a_command_reaches_the_kernel_as_it_is() {
        let machine = machine::named("q35-dax").unwrap();
        let args = parse(&["--timeout", "5", "--", "cat", "a b.txt", "--share"]);
        assert_eq!(words(&args, &machine).join(" "), "mode=run arg=cat arg=a%20b.txt arg=--share deadline=5 irq=poll");
        assert_eq!(words(&parse(&[]), &machine)[0], "mode=tour");
        assert_eq!(words(&parse(&["--", "shell"]), &machine).join(" "), "mode=shell deadline=600 irq=poll");
    }

    #[test]
    fn windows_that_qemu_does_not_survive_are_refused() {
        for size in [0, 4096, MIB, 3 * MIB, 512 << 30, u64::MAX] {
            assert!(usable_window(size).is_err(), "{size}");
        }
        assert_eq!(usable_window(64 * MIB).unwrap(), 64 * MIB);
        let machine = |words: &[&str]| chosen_machine(&parse(words));
        assert_eq!(machine(&["--window-size", "4M"]).unwrap().device, Device::Dax { window: 4 * MIB });
        assert!(machine(&["--machine", "q35-plain", "--window-size", "4M"]).is_err());
        assert!(machine(&["--machine", "q35-gpu"]).is_err());
        assert!(machine(&["--machine", "vax"]).is_err());
    }

    #[test]
    fn shares_are_checked_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(usable_share(dir.path()).is_ok());
        assert!(usable_share(&file).unwrap_err().to_string().contains("is not a folder"));
        let error = format!("{:#}", usable_share(&dir.path().join("none")).unwrap_err());
        assert!(error.contains("No such file"), "{error}");
    }
}
