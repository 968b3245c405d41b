//! The steps.

use super::{
    attacks, fuzz, optimised, package,
    runner::{Bench, Done},
};
use crate::{
    process::{self, cargo, interrupt},
    qemu_test::Tally,
    setup::{build, rust, valgrind},
    workspace,
};
use anyhow::{Context, Result, bail};
use std::{fs, process::Command};

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its name, for `--only`.
    pub(super) name: &'static str,
    /// What it checks.
    pub(super) about: &'static str,
    /// How it runs.
    pub(super) work: Work,
    /// Whether it runs a test suite on the host.
    pub(super) suite: bool,
}

/// How a step runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// The boots, in a process of their own beside the steps that follow.
    Boots,
    /// Beside the boots.
    Beside(fn(&mut Bench) -> Result<Done>),
    /// With nothing beside it.
    Alone(fn(&mut Bench) -> Result<Done>),
}

impl Work {
    /// The function, where there is one.
    pub(super) fn of_suite(self) -> Option<fn(&mut Bench) -> Result<Done>> {
        match self {
            Self::Boots => None,
            Self::Beside(work) | Self::Alone(work) => Some(work),
        }
    }
}

impl Step {
    const fn check(name: &'static str, about: &'static str, work: fn(&mut Bench) -> Result<Done>) -> Self {
        Self { name, about, work: Work::Beside(work), suite: false }
    }

    const fn suite(name: &'static str, about: &'static str, work: fn(&mut Bench) -> Result<Done>) -> Self {
        Self { name, about, work: Work::Beside(work), suite: true }
    }
}

/// What runs on bare metal beside the crates.
const KERNEL: &str = "testkernel";
/// What runs on Linux beside the host tools, and needs the daemon's libraries.
const DAEMON: &str = "virtiofsd-dax";
/// What its tests are made with, built as it is.
const DAEMON_TESTS: [&str; 2] = [DAEMON, "vhost-user-guest"];
/// Messages that are off unless wanted, and devices in the process of a mount.
const FEATURES: &str = "fuse-proto/experimental-famfs,virtiofs-mount/peers";
/// The test that cargo builds the programme that mounts for.
const MOUNT_TEST: &str = "mount";
/// The tests of stack and memory.
const FOOTPRINT: &str = "footprint";
/// Crates with unit tests that Miri runs in little time.
const MIRI: [&str; 2] = ["virtio-shm", "fs-dax"];
/// The window: its explorations and random histories are for the host: Miri runs a short history of each kind.
const WINDOW: [&str; 6] = ["--package", "dax-window", "--features", "dax-window/alloc", "--test", "basics"];
/// Files on shared memory, by their models: a few random histories each.
const SHARED: [&str; 6] = ["--package", "famfs", "--test", "suite", "--", "models::"];
/// What reads and writes messages of either byte order, and a machine that is big-endian itself.
const WIRE: (&str, &str) = ("fuse-proto", "s390x-unknown-linux-gnu");
/// Those of its tests that Miri runs there in less than a minute: messages of random bytes take as long again.
const WIRE_TESTS: [&str; 7] = ["--lib", "--test", "fixture", "--test", "replies", "--test", "own_operation"];

/// All steps, the quick ones first; the boots as early as can be, since the others run beside them.
pub(super) const STEPS: [Step; 17] = [
    Step::check(
        "structure",
        "no circle between files, no arrow upwards, no long function without its reason, nothing unused in a manifest",
        structure,
    ),
    Step::check("format", "the code is formatted", format),
    Step::check("locks", "the lock file of every workspace is current, those of the fuzz targets too", locks),
    Step { name: "qemu", about: "the scenarios in QEMU", work: Work::Boots, suite: false },
    Step::check("clippy", "no lint complains, on the host and on bare metal", clippy),
    Step::check("alone", "each no_std crate builds by itself for every bare-metal target", alone),
    Step::check("oldest", "the no_std crates build with the oldest compiler that they promise", oldest),
    Step::suite("host-tests", "unit tests, models, in-process peers, examples in the documentation", host_tests),
    Step::suite(
        "daemon-tests",
        "the daemon's tests, and the driver's stack and memory, in optimised code",
        daemon_tests,
    ),
    Step::check("conform", "file-system suites that others wrote, over mounts of the driver in a process", conform),
    Step::check("docs", "the documentation builds without a warning", docs),
    Step::check(
        "package",
        "the published crates are whole, and hold nothing that is not theirs to publish",
        package::step,
    ),
    Step::check(
        "miri",
        "no undefined behaviour where Miri is fast enough to look; FUSE messages, but random ones, on big-endian s390x",
        miri,
    ),
    Step::check("fuzz", "every decoder takes any bytes, for a few seconds each", fuzz::step),
    Step::check(
        "attack",
        "a hostile guest against the daemon, a hostile device against the driver, a few seconds each",
        attacks::step,
    ),
    Step::check("counts", "no operation of the driver takes more instructions than it took, by callgrind", counts),
    Step {
        name: "bench",
        about: "every benchmark measures something, once; what no clock measures keeps its limit",
        work: Work::Alone(bench_once),
        suite: false,
    },
];

fn structure(bench: &mut Bench) -> Result<Done> {
    let wrong = crate::structure::check(&bench.context.paths)?;
    for breach in &wrong {
        println!("{breach}");
    }
    Ok(Done::Ran(if wrong.is_empty() {
        Tally { passed: 1, ..Tally::default() }
    } else {
        Tally { failed: wrong.len(), ..Tally::default() }
    }))
}

fn format(bench: &mut Bench) -> Result<Done> {
    Ok(Done::Ran(bench.check(bench.cargo(["fmt", "--all", "--check"]))?))
}

fn locks(bench: &mut Bench) -> Result<Done> {
    let host = build::host_triple()?;
    let mut tally = bench.check(bench.cargo(["fetch", "--quiet", "--locked", "--target", &host]))?;
    for folder in fuzz::folders(&bench.context.paths)? {
        let mut command = bench.cargo(["fetch", "--quiet", "--locked", "--target", &host, "--manifest-path"]);
        command.arg(folder.join("Cargo.toml"));
        tally = tally.plus(bench.check(command)?);
    }
    Ok(Done::Ran(tally))
}

fn clippy(bench: &mut Bench) -> Result<Done> {
    let deny = ["--", "--deny", "warnings"];
    // All in one: what several of them depend on is checked once.
    let mut host = bench.cargo(["clippy", "--locked", "--workspace", "--all-targets"]);
    bench.with_libraries(&mut host)?;
    host.args(deny);
    let mut tally = bench.check(host)?;
    let mut metal = bench.cargo(["clippy", "--locked", "--target", rust::KERNEL_TARGET, "--package", KERNEL]);
    for name in crates(bench)? {
        metal.args(["--package", &name]);
    }
    metal.args(deny);
    tally = tally.plus(bench.check(metal)?);
    Ok(Done::Ran(tally))
}

fn alone(bench: &mut Bench) -> Result<Done> {
    let mut tally = Tally::default();
    for name in crates(bench)? {
        for target in rust::TARGETS {
            let mut command = bench.cargo(["build", "--quiet", "--locked", "--lib", "--target", target]);
            command.args(["--package", &name]);
            tally = tally.plus(bench.check(command)?);
        }
        let mut every_feature = bench.cargo(["build", "--quiet", "--locked", "--lib", "--all-features"]);
        every_feature.args(["--target", rust::KERNEL_TARGET, "--package", &name]);
        let mut no_feature = bench.cargo(["build", "--quiet", "--locked", "--lib", "--no-default-features"]);
        no_feature.args(["--target", rust::KERNEL_TARGET, "--package", &name]);
        tally = tally.plus(bench.check(every_feature)?).plus(bench.check(no_feature)?);
    }
    Ok(Done::Ran(tally))
}

/// Skipped where rustup has no such compiler: nothing else can tell.
fn oldest(bench: &mut Bench) -> Result<Done> {
    let crates: Vec<_> = workspace::crates(&bench.context.paths)?.into_iter().filter(|one| one.published).collect();
    let Some(version) = crates.iter().filter_map(|one| one.rust_version.as_deref()).max() else {
        bail!("no published crate names its oldest compiler");
    };
    let toolchain = format!("+{version}");
    let mut asked = Command::new("cargo");
    asked.arg(&toolchain);
    cargo::clean(&mut asked);
    // Without this rustup would fetch it by itself.
    asked.env("RUSTUP_AUTO_INSTALL", "0");
    if process::version_line(&mut asked).is_none() {
        return Ok(Done::Skipped(format!(
            "there is no Rust {version}; `rustup toolchain install {version} --profile minimal` gets it"
        )));
    }
    let mut command = bench.cargo([toolchain.as_str(), "check", "--locked", "--lib"]);
    for one in &crates {
        command.args(["--package", &one.name]);
    }
    Ok(Done::Ran(bench.check(command)?))
}

fn host_tests(bench: &mut Bench) -> Result<Done> {
    Ok(Done::Ran(bench.count(hosts(bench))?))
}

/// The tests of all that runs on a host without the daemon's libraries. Whatever is built for them is built by this, so that it
/// is built once.
fn hosts(bench: &Bench) -> Command {
    let mut command = bench.cargo(["test", "--locked", "--no-fail-fast", "--workspace"]);
    command.args(["--features", FEATURES]);
    for name in DAEMON_TESTS {
        command.args(["--exclude", name]);
    }
    command
}

fn daemon_tests(bench: &mut Bench) -> Result<Done> {
    let mut command = bench.cargo(["test", "--locked", "--no-fail-fast", "--release"]);
    for name in DAEMON_TESTS {
        command.args(["--package", name]);
    }
    bench.with_libraries(&mut command)?;
    // What an embedder is promised of optimised code holds for optimised code only.
    let footprint = optimised::tests(bench, FOOTPRINT);
    Ok(Done::Ran(bench.count(command)?.plus(bench.count(footprint)?)))
}

fn conform(bench: &mut Bench) -> Result<Done> {
    match crate::conform::obstacle() {
        Some(reason) => Ok(Done::Skipped(reason)),
        None => {
            let mut command = hosts(bench);
            command.args(["--no-run", "--test", MOUNT_TEST]);
            Ok(Done::Ran(crate::conform::short(&bench.context, &mut command)?))
        }
    }
}

fn docs(bench: &mut Bench) -> Result<Done> {
    let mut host = bench.cargo(["doc", "--locked", "--no-deps", "--document-private-items", "--package", "xtask"]);
    let mut public = bench.cargo(["doc", "--locked", "--no-deps", "--all-features"]);
    for name in crates(bench)? {
        public.args(["--package", &name]);
    }
    let mut daemon = bench.cargo(["doc", "--locked", "--no-deps", "--package", DAEMON]);
    bench.with_libraries(&mut daemon)?;
    let mut tally = Tally::default();
    for command in [&mut host, &mut public, &mut daemon] {
        command.env("RUSTDOCFLAGS", "--deny warnings");
    }
    for command in [host, public, daemon] {
        tally = tally.plus(bench.check(command)?);
    }
    Ok(Done::Ran(tally))
}

fn miri(bench: &mut Bench) -> Result<Done> {
    let mut version = Command::new("cargo");
    version.args(["+nightly", "miri"]);
    cargo::clean(&mut version);
    if process::version_line(&mut version).is_none() {
        return Ok(Done::Skipped(
            "there is no Miri; `rustup toolchain install nightly --component miri,rust-src` gets it".into(),
        ));
    }
    let mut command = bench.cargo(["+nightly", "miri", "test", "--locked", "--lib", "--no-fail-fast"]);
    for name in MIRI {
        command.args(["--package", name]);
    }
    let (wire, big_endian) = WIRE;
    let mut reversed = bench.cargo(["+nightly", "miri", "test", "--locked", "--no-fail-fast", "--target", big_endian]);
    reversed.args(["--package", wire]).args(WIRE_TESTS);
    let mut window = bench.cargo(["+nightly", "miri", "test", "--locked", "--no-fail-fast"]);
    window.args(WINDOW);
    let mut shared = bench.cargo(["+nightly", "miri", "test", "--locked", "--no-fail-fast"]);
    shared.args(SHARED);
    let mut tally = Tally::default();
    for mut command in [command, window, shared, reversed] {
        // Random cases are for the host; Miri looks at each path once or twice.
        command.env("PROPTEST_CASES", "2").env("MIRIFLAGS", "-Zmiri-disable-isolation");
        tally = tally.plus(bench.count(command)?);
    }
    Ok(Done::Ran(tally))
}

/// What an operation costs in instructions is the same on a busy machine.
fn counts(bench: &mut Bench) -> Result<Done> {
    let valgrind = match valgrind::ensure(&bench.context) {
        Ok(valgrind) => valgrind,
        Err(error) => {
            interrupt::check()?;
            return Ok(Done::Skipped(format!("{error:#}")));
        }
    };
    let built = bench.check(optimised::driver(bench))?;
    if built.failed != 0 {
        return Ok(Done::Ran(built));
    }
    let (operations, dearer) = crate::bench::counts(&bench.context, &valgrind)?;
    for sentence in &dearer {
        println!("{sentence}");
    }
    Ok(Done::Ran(Tally { passed: operations.saturating_sub(dearer.len()), failed: dearer.len(), ..Tally::default() }))
}

fn bench_once(bench: &mut Bench) -> Result<Done> {
    crate::bench::once(&bench.context)?;
    Ok(Done::Ran(Tally { passed: 1, ..Tally::default() }))
}

/// The `no_std` crates.
fn crates(bench: &Bench) -> Result<Vec<String>> {
    let folder = bench.context.paths.root.join("crates");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
