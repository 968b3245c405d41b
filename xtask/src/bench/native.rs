//! `cargo xtask bench --native`: the driver in a process, next to the host's own calls on the same files.

mod count;
mod kept;
mod plot;
mod report;
mod table;
mod values;

use super::{args::BenchArgs, host};
use crate::{
    peer::{self, Peer},
    process::{self, cargo, interrupt},
    progress::Step,
    setup::{
        Context,
        valgrind::{self, Valgrind},
    },
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};
use values::Values;

const BUILD_PATIENCE: Duration = Duration::from_secs(1800);
const PATIENCE: Duration = Duration::from_secs(600);
/// The window that a daemon offers, in bytes: a mode uses as much of it as it wants.
const WINDOW: u64 = 256 << 20;
const QUEUES: u16 = 4;
/// Who is measured unless one is named. The unmodified daemon has no window.
const PEERS: [Peer; 4] = [Peer::VirtiofsdDax, Peer::Libkrun, Peer::FuseBackendRs, Peer::Virtiofsd];

/// Runs it.
pub(super) fn command(args: &BenchArgs) -> Result<ExitCode> {
    let chosen = |peer: &Peer| args.peer.as_deref().is_none_or(|name| name == peer.name());
    let peers: Vec<Peer> = PEERS.into_iter().filter(chosen).collect();
    if peers.is_empty() {
        bail!("--native has no peer linux; --peer linux without --native compares with a Linux guest");
    }
    let context = Context::new(&args.qemu)?;
    let bench = Bench::prepare(&context)?;
    println!("host  {}", host::host());
    println!("A ratio says how many times as good as the host's call ours is.");
    let mut all = Vec::new();
    for peer in peers {
        let judged = report::judge(peer.name(), &bench.measure(peer)?, args.filter.as_deref());
        print!("{}", report::text(peer.name(), &judged));
        all.extend(judged);
    }
    if all.is_empty() {
        bail!("no benchmark matches");
    }
    println!("{}", report::closing(&all));
    if let Some(file) = &args.json {
        report::write_json(file, &all)?;
    }
    if let Some(folder) = &args.plots {
        plot::draw(folder, &all)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts the instructions of each operation over the device in the process, by a programme that is built already. Returns how
/// many operations there are, and a sentence for each that takes more than it took.
///
/// # Errors
/// When one cannot be counted.
pub(crate) fn counts(context: &Context, valgrind: &Valgrind) -> Result<(usize, Vec<String>)> {
    let mut values = Values::default();
    let bench = Bench::new(context)?;
    // Makes the files, which would take long while it is counted.
    bench.run(Peer::Libkrun, "counted", Command::new(&bench.programme))?;
    bench.count(Peer::Libkrun, valgrind, &mut values)?;
    kept::judge(&values)
}

/// What it takes to measure.
struct Bench<'a> {
    context: &'a Context,
    programme: PathBuf,
    folder: PathBuf,
}

impl<'a> Bench<'a> {
    fn prepare(context: &'a Context) -> Result<Self> {
        let mut command = cargo::cargo(&context.paths);
        command.args(["build", "--release", "--locked", "--package", "native-bench"]);
        process::run(&mut command, BUILD_PATIENCE).context("native-bench cannot be built")?;
        Self::new(context)
    }

    /// With a programme that is built already.
    fn new(context: &'a Context) -> Result<Self> {
        let folder = context.paths.target.join("bench-native");
        fs::create_dir_all(folder.join("share")).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { context, programme: context.paths.target.join("release/native-bench"), folder })
    }

    /// All values of a peer.
    fn measure(&self, peer: Peer) -> Result<Values> {
        let mut values = Values::default();
        let step = Step::begin("Measuring");
        let modes: &[&str] = if peer.has_window() { &["hits", "misses", "requests"] } else { &["requests"] };
        for mode in modes {
            interrupt::check()?;
            step.at(format!("{}, {mode}", peer.name()));
            let output = self.run(peer, mode, Command::new(&self.programme))?;
            values.read(&output).with_context(|| format!("{mode} of {}", peer.name()))?;
        }
        if peer.is_local() {
            step.at(format!("{}, instructions", peer.name()));
            match valgrind::ensure(self.context) {
                Ok(valgrind) => self.count(peer, &valgrind, &mut values)?,
                Err(error) => {
                    interrupt::check()?;
                    println!("Instructions are not counted: {error:#}.");
                }
            }
        }
        step.done(&format!("Measured {}", peer.name()));
        Ok(values)
    }

    /// Runs a mode against a peer, by a command that begins with the programme or with what runs it.
    fn run(&self, peer: Peer, mode: &str, mut command: Command) -> Result<String> {
        let share = self.folder.join("share");
        let programme = peer.programme(self.context)?;
        let daemon = match &programme {
            Some(programme) => Some(peer::start(peer, programme, &share, &self.folder, WINDOW, QUEUES)?),
            None => None,
        };
        cargo::clean(&mut command);
        command.arg("--share").arg(&share).args(["--mode", mode, "--queues", &QUEUES.to_string()]);
        match &daemon {
            Some(daemon) => command.arg("--socket").arg(&daemon.socket),
            None => command.args(["--peer", peer.name()]),
        };
        let output = process::quiet(&mut command, PATIENCE)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Adds numbers of instructions, and of locked ones, an operation.
    fn count(&self, peer: Peer, valgrind: &Valgrind, values: &mut Values) -> Result<()> {
        let folder = tempfile::tempdir_in(&self.folder).context("no folder for counts")?;
        let mut command = valgrind.command();
        command.args(count::arguments(folder.path())).arg(&self.programme);
        let output = self.run(peer, "counted", command)?;
        let mut times = Values::default();
        times.read(&output)?;
        for (name, counted) in count::read(folder.path())? {
            let of = times.get(&name, "operations").with_context(|| format!("{name} is counted, but not how often"))?;
            values.add(&name, "instructions", counted.instructions as f64 / of, "");
            values.add(&name, "locked", counted.locked as f64 / of, "");
        }
        Ok(())
    }
}
