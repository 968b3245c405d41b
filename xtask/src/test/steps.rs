//! The steps.

use super::{
    fuzz,
    runner::{Bench, Done},
};
use crate::{
    process::{self, cargo},
    qemu_test::Tally,
    setup::rust,
};
use anyhow::{Context, Result};
use std::{fs, process::Command};

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its name, for `--only`.
    pub(super) name: &'static str,
    /// What it checks.
    pub(super) about: &'static str,
    /// Runs it.
    pub(super) run: fn(&mut Bench) -> Result<Done>,
}

/// What runs on bare metal beside the crates.
const KERNEL: &str = "testkernel";
/// What runs on Linux beside the host tools, and needs the daemon's libraries.
const DAEMON: &str = "virtiofsd-dax";
/// The guest's half of comparisons with Linux.
const LINUX_GUEST: &str = "linux-guest";
/// Crates whose unit tests Miri runs in little time.
const MIRI: [&str; 2] = ["virtio-shm", "fs-dax"];
/// The window, whose explorations and random histories are for the host: Miri runs a short history of each kind.
const WINDOW: [&str; 6] = ["--package", "dax-window", "--features", "dax-window/alloc", "--test", "basics"];
/// What reads and writes messages of either byte order, and a machine whose own order is big-endian.
const WIRE: (&str, &str) = ("fuse-proto", "s390x-unknown-linux-gnu");
/// Those of its tests that Miri runs there in less than a minute: messages of random bytes take as long again.
const WIRE_TESTS: [&str; 7] = ["--lib", "--test", "fixture", "--test", "replies", "--test", "own_operation"];

/// All steps, the quick ones first.
pub(super) const STEPS: [Step; 11] = [
    Step {
        name: "structure",
        about: "no circle between files, no arrow upwards, no long function without its reason",
        run: structure,
    },
    Step { name: "format", about: "the code is formatted", run: format },
    Step { name: "clippy", about: "no lint complains, on the host and on bare metal", run: clippy },
    Step { name: "alone", about: "each no_std crate builds by itself for every bare-metal target", run: alone },
    Step {
        name: "host-tests",
        about: "unit tests, models, in-process peers, examples in the documentation",
        run: host_tests,
    },
    Step { name: "daemon-tests", about: "the daemon's tests", run: daemon_tests },
    Step { name: "docs", about: "the documentation builds without a warning", run: docs },
    Step {
        name: "miri",
        about: "no undefined behaviour where Miri is fast enough to look; FUSE messages, but random ones, on big-endian s390x",
        run: miri,
    },
    Step {
        name: "fuzz",
        about: "every decoder of FUSE messages takes any bytes, for a few seconds each",
        run: fuzz::step,
    },
    Step { name: "qemu", about: "the scenarios in QEMU", run: |bench| Ok(Done::Ran(bench.qemu()?)) },
    Step { name: "bench", about: "every benchmark measures something, once", run: bench_once },
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

fn clippy(bench: &mut Bench) -> Result<Done> {
    let deny = ["--", "--deny", "warnings"];
    let mut host = bench.cargo(["clippy", "--locked", "--all-targets"]);
    host.args(["--package", KERNEL, "--package", LINUX_GUEST]);
    for name in default_members(bench)? {
        host.args(["--package", &name]);
    }
    host.args(deny);
    let mut tally = bench.check(host)?;
    let mut metal = bench.cargo(["clippy", "--locked", "--target", rust::KERNEL_TARGET, "--package", KERNEL]);
    for name in crates(bench)? {
        metal.args(["--package", &name]);
    }
    metal.args(deny);
    tally = tally.plus(bench.check(metal)?);
    let mut daemon = bench.cargo(["clippy", "--locked", "--release", "--all-targets", "--package", DAEMON]);
    bench.with_libraries(&mut daemon)?;
    daemon.args(deny);
    Ok(Done::Ran(tally.plus(bench.check(daemon)?)))
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

fn host_tests(bench: &mut Bench) -> Result<Done> {
    let mut command =
        bench.cargo(["test", "--locked", "--no-fail-fast", "--package", KERNEL, "--package", LINUX_GUEST]);
    for name in default_members(bench)? {
        command.args(["--package", &name]);
    }
    Ok(Done::Ran(bench.count(command)?))
}

fn daemon_tests(bench: &mut Bench) -> Result<Done> {
    let mut command = bench.cargo(["test", "--locked", "--no-fail-fast", "--release", "--package", DAEMON]);
    bench.with_libraries(&mut command)?;
    Ok(Done::Ran(bench.count(command)?))
}

fn docs(bench: &mut Bench) -> Result<Done> {
    let mut host = bench.cargo(["doc", "--locked", "--no-deps", "--document-private-items", "--package", "xtask"]);
    let mut public = bench.cargo(["doc", "--locked", "--no-deps", "--all-features"]);
    for name in crates(bench)? {
        public.args(["--package", &name]);
    }
    let mut daemon = bench.cargo(["doc", "--locked", "--no-deps", "--release", "--package", DAEMON]);
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
    let mut tally = Tally::default();
    for mut command in [command, window, reversed] {
        // Random cases are for the host; Miri looks at each path once or twice.
        command.env("PROPTEST_CASES", "2").env("MIRIFLAGS", "-Zmiri-disable-isolation");
        tally = tally.plus(bench.count(command)?);
    }
    Ok(Done::Ran(tally))
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

/// What a plain `cargo test` tests: the crates, what runs them in a process, and this program.
fn default_members(bench: &Bench) -> Result<Vec<String>> {
    let mut names = crates(bench)?;
    names.extend(["transport-vhost-user", "xtask"].map(Into::into));
    Ok(names)
}
