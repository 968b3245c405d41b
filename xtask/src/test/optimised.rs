//! Optimised builds of the driver that several steps use: of the same packages each time, so that the driver is built once.

use super::runner::Bench;
use std::process::Command;

/// The driver, whose tests of stack and memory are optimised, the device that attacks it, and what its instructions are counted in.
const PACKAGES: [&str; 6] = ["--package", "virtio-fs", "--package", "attack-device", "--package", "native-bench"];
/// What is built of the driver's tests.
const TESTS: [&str; 2] = ["--test", "peers"];

/// Builds the attack, what is counted, and the tests with them.
pub(super) fn driver(bench: &Bench) -> Command {
    let mut command = bench.cargo(["build", "--release", "--locked", "--bins"]);
    command.args(PACKAGES).args(TESTS);
    command
}

/// Runs the tests whose names contain this.
pub(super) fn tests(bench: &Bench, named: &str) -> Command {
    let mut command = bench.cargo(["test", "--release", "--locked"]);
    command.args(PACKAGES).args(TESTS).args(["--", named]);
    command
}
