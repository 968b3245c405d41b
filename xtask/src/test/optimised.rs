//! Optimised builds of the driver that several steps use: of the same packages each time, so that the driver is built once.

use super::runner::Bench;
use std::process::Command;

/// The driver, whose tests of stack and memory are optimised, and the device that attacks it.
const PACKAGES: [&str; 4] = ["--package", "virtio-fs", "--package", "attack-device"];
/// What is built of the driver's tests.
const TESTS: [&str; 2] = ["--test", "peers"];

/// Builds the attack, and the tests with it.
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
