//! `cargo xtask conform`: file-system suites that others wrote, over mounts of the driver in a process.
//!
//! Each suite runs on the bare folder too: what fails there isn't ours. What is known to fail over a mount is in
//! `conform/exceptions.txt`, and has to go on failing.

mod case;
mod crate_build;
mod exceptions;
mod fio;
mod fsx;
mod mount;
mod pjdfstest;
mod place;
mod programs;
mod stress;
mod suite;
mod tools;

use crate::{
    peer::Peer,
    process::interrupt,
    qemu_test::Tally,
    setup::{Context, private::Programme, qemu::QemuArgs},
};
use anyhow::{Context as _, Result, anyhow, bail};
use case::{Cases, Ended};
use clap::Args;
use exceptions::Exceptions;
use mount::Mount;
use place::Place;
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use suite::{SUITES, Suite};

/// Windows, in bytes: of the short form, and what the long one adds.
const WINDOWS: [u64; 2] = [16 << 20, 256 << 20];
/// Suites and peers of the short form.
const SHORT: [(&str, &[Peer]); 2] =
    [("pjdfstest", &[Peer::VirtiofsdDax]), ("fsx", &[Peer::VirtiofsdDax, Peer::Libkrun])];

/// `cargo xtask conform`
#[derive(Args, Clone, Debug)]
pub(crate) struct ConformArgs {
    /// Run this suite only
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Run on this peer only
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// All suites on all peers, with windows of 16 and of 256 MiB
    #[arg(long)]
    long: bool,
    /// Print the names of suites and peers only
    #[arg(long)]
    list: bool,
}

/// A suite on a peer with a window.
#[derive(Clone, Copy, Debug)]
struct Run {
    suite: Suite,
    peer: Peer,
    window: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}M", self.suite.name, self.peer.name(), self.window >> 20)
    }
}

/// Runs `cargo xtask conform`.
pub(crate) fn command(args: &ConformArgs) -> Result<ExitCode> {
    if args.list {
        for suite in SUITES {
            println!("{:<10} {}", suite.name, suite.about);
        }
        for peer in Peer::ALL {
            println!("--peer {}", peer.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let context = Context::new(&QemuArgs::default())?;
    let build = |peers| mount::build(&context, peers, args.long);
    let tally = run(&context, args, build)?;
    println!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the short form, over a programme that `build` builds, all devices in it, unoptimised; for what it takes see [`obstacle`].
///
/// # Errors
/// When the driver's programme does not build, or a folder cannot be made.
pub(crate) fn short(context: &Context, build: &mut Command) -> Result<Tally> {
    let args = ConformArgs { suite: None, peer: None, long: false, list: false };
    run(context, &args, |_| mount::build_by(context, build, "debug"))
}

/// Runs what the arguments choose, over the programme that `build` gives, with devices in it if one is wanted. A suite or a
/// peer that cannot be had is skipped, aloud.
fn run(context: &Context, args: &ConformArgs, build: impl FnOnce(bool) -> Result<PathBuf>) -> Result<Tally> {
    let runs = plan(args)?;
    if let Some(reason) = obstacle() {
        println!("conform: skipped ({reason})");
        return Ok(Tally { skipped: runs.len(), ..Tally::default() });
    }
    let folder = context.paths.target.join("conform");
    let names = runs.iter().map(|run| run.suite.name);
    let conform = Conform {
        context,
        exceptions: Exceptions::load()?,
        programme: mount::copy(&build(runs.iter().any(|run| run.peer.is_local()))?, &folder)?,
        folder,
        long: args.long,
        daemons: daemons(context, &runs)?,
        bare: names.map(|name| (name, OnceLock::new())).collect(),
    };
    conform.run_all(&runs)
}

/// How each peer is started, or why it cannot be had.
fn daemons(context: &Context, runs: &[Run]) -> Result<BTreeMap<&'static str, Result<Option<Programme>, String>>> {
    let mut daemons = BTreeMap::new();
    for peer in Peer::ALL.into_iter().filter(|peer| runs.iter().any(|run| run.peer == *peer)) {
        daemons.insert(peer.name(), peer.programme(context).map_err(|error| format!("{error:#}")));
        interrupt::check()?;
    }
    Ok(daemons)
}

/// What runs share.
struct Conform<'a> {
    context: &'a Context,
    exceptions: Exceptions,
    folder: PathBuf,
    programme: PathBuf,
    long: bool,
    daemons: BTreeMap<&'static str, Result<Option<Programme>, String>>,
    /// What each suite says of the bare folder.
    bare: BTreeMap<&'static str, OnceLock<Reference>>,
}

/// What a suite says of the bare folder.
#[derive(Debug)]
enum Reference {
    /// How its cases ended there.
    Had(Cases),
    /// The suite cannot be had here; why.
    Lacking(String),
    /// It did not come to an end; why.
    Broken(String),
}

impl Conform<'_> {
    /// Goes through all runs, as many at a time as there are processors.
    fn run_all(&self, runs: &[Run]) -> Result<Tally> {
        let (next, total) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
        let lane = || -> Result<()> {
            while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                interrupt::check()?;
                let begin = Instant::now();
                let tally = self.run(run)?;
                println!("conform {run}: {tally} in {} s", begin.elapsed().as_secs());
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                *total = total.plus(tally);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let lanes = thread::available_parallelism().map_or(1, usize::from).min(runs.len());
            let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
            lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a run panicked"))?)
        })?;
        Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, run: &Run) -> Result<Tally> {
        let suite = run.suite;
        let daemon = match &self.daemons[run.peer.name()] {
            Ok(daemon) => daemon.as_ref(),
            Err(reason) => return Ok(skipped(run, reason)),
        };
        // Whoever comes second waits for the first.
        let bare = match self.bare[suite.name].get_or_init(|| self.reference(suite)) {
            Reference::Had(bare) => bare,
            Reference::Lacking(reason) => {
                interrupt::check()?;
                return Ok(skipped(run, reason));
            }
            Reference::Broken(reason) => bail!("{} on the bare folder: {reason}", suite.name),
        };
        let cases = self.over_mount(*run, daemon)?;
        Ok(report(run, &self.exceptions.judge(suite.name, run.peer.name(), cases, bare)))
    }

    fn reference(&self, suite: Suite) -> Reference {
        if let Err(error) = (suite.prepare)(self.context) {
            return Reference::Lacking(format!("{error:#}"));
        }
        self.on_bare_folder(suite).map_or_else(|error| Reference::Broken(format!("{error:#}")), Reference::Had)
    }

    fn on_bare_folder(&self, suite: Suite) -> Result<Cases> {
        let folder = self.folder.join("bare");
        let place = Place {
            folder: empty(&folder.join(suite.name))?,
            scratch: empty(&folder.join(format!("{}-logs", suite.name)))?,
            long: self.long,
        };
        let cases = (suite.run)(self.context, &place)?;
        fs::remove_dir_all(&place.folder)?;
        Ok(cases)
    }

    /// What the suite says over a mount, and whether the mount ended as it should.
    fn over_mount(&self, run: Run, daemon: Option<&Programme>) -> Result<Cases> {
        let Run { suite, peer, window } = run;
        let folder = self.folder.join(format!("{}-{}-{}", suite.name, peer.name(), window >> 20));
        let share = folder.join("share");
        fs::create_dir_all(&share)?;
        let mounted = Mount::new(&self.programme, peer, daemon, &share, &folder, window, suite.options)?;
        let place = Place {
            folder: empty(&mounted.point().join(suite.name))?,
            scratch: empty(&folder.join(format!("{}-logs", suite.name)))?,
            long: self.long,
        };
        let ran = (suite.run)(self.context, &place);
        let removed = fs::remove_dir_all(&place.folder).with_context(|| format!("{} cannot be emptied", suite.name));
        let mut cases = match ran.and_then(|cases| removed.map(|()| cases)) {
            Ok(cases) => cases,
            Err(error) => case::one("the suite", Err(error.context(mounted.last_words()))),
        };
        cases.extend(case::one("unmount", mounted.end()).into_iter().filter(|(_, ended)| *ended != Ended::Passed));
        Ok(cases)
    }
}

/// A run that cannot be.
fn skipped(run: &Run, reason: &str) -> Tally {
    println!("test {}::{} ... skipped ({reason})", run.suite.name, run.peer.name());
    Tally { skipped: 1, ..Tally::default() }
}

/// What to run.
fn plan(args: &ConformArgs) -> Result<Vec<Run>> {
    let named = args.suite.is_some() || args.peer.is_some();
    let mut runs = Vec::new();
    for peer in Peer::ALL.into_iter().filter(|peer| args.peer.as_deref().is_none_or(|name| name == peer.name())) {
        for suite in SUITES.into_iter().filter(|suite| args.suite.as_deref().is_none_or(|name| name == suite.name)) {
            let short = SHORT.iter().any(|(name, peers)| *name == suite.name && peers.contains(&peer));
            let chosen = args.long || short || (named && (args.suite.is_some() || !suite.long));
            let peer_chosen = args.long || short || args.peer.is_some() || peer == Peer::VirtiofsdDax;
            if !chosen || !peer_chosen {
                continue;
            }
            let windows = if args.long && peer.has_window() { &WINDOWS[..] } else { &WINDOWS[..1] };
            runs.extend(windows.iter().map(|&window| Run { suite, peer, window }));
        }
    }
    if runs.is_empty() {
        bail!("no such suite or peer; `cargo xtask conform --list` prints their names");
    }
    Ok(runs)
}

/// Why nothing can be mounted here, if so.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root: the suites change users, and mount".into());
    }
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => Some("there is no /dev/fuse".into()),
        Err(error) => Some(format!("/dev/fuse cannot be used: {error}")),
    }
}

/// An empty folder in the place of what was there.
fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.to_path_buf())
}

/// Prints what did not pass, and counts.
fn report(run: &Run, cases: &Cases) -> Tally {
    let mut tally = Tally::default();
    let name = format!("{}::{}", run.suite.name, run.peer.name());
    for (case, ended) in cases {
        match ended {
            Ended::Passed => tally.passed += 1,
            Ended::Skipped(reason) => {
                tally.skipped += 1;
                if reason.starts_with("known") {
                    println!("test {name}::{case} ... skipped ({reason})");
                }
            }
            Ended::Failed(reason) => {
                tally.failed += 1;
                println!("test {name}::{case} ... FAILED ({reason})");
                println!("     rerun: cargo xtask conform --suite {} --peer {}", run.suite.name, run.peer.name());
            }
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suite: Option<&str>, peer: Option<&str>, long: bool) -> Vec<String> {
        let args = ConformArgs { suite: suite.map(Into::into), peer: peer.map(Into::into), long, list: false };
        let runs = plan(&args).unwrap_or_default();
        runs.iter().map(|run| format!("{} {} {}", run.suite.name, run.peer.name(), run.window >> 20)).collect()
    }

    #[test]
    fn what_runs_when() {
        assert_eq!(names(None, None, false), ["pjdfstest virtiofsd-dax 16", "fsx virtiofsd-dax 16", "fsx libkrun 16"]);
        assert_eq!(names(Some("git"), None, false), ["git virtiofsd-dax 16"]);
        assert_eq!(names(None, Some("libkrun"), false), ["pjdfstest libkrun 16", "fsx libkrun 16"]);
        assert_eq!(names(Some("fsx"), Some("libkrun"), true), ["fsx libkrun 16", "fsx libkrun 256"]);
        assert_eq!(names(None, None, true).len(), SUITES.len() * 7);
        assert!(names(Some("nothing"), None, false).is_empty());
    }
}
