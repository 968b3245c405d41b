//! What the hostile guest finds comes again from its seed: with a fault that is planted.

use std::path::Path;
use std::process::{Command, Stdio};

/// What the daemon does wrong, at a request that many others come before.
const PLANTED: &str = "any:crash@700";

/// The finding of a run that finds one: from its session's number on.
fn finding(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("finding: ")).unwrap_or_else(|| panic!("nothing is found: {said}"))
}

/// How many requests came before it.
fn requests(finding: &str) -> &str {
    finding.split(':').next().expect("a first part")
}

fn run<'a>(programme: &Path, words: impl IntoIterator<Item = &'a str>) -> String {
    let output = Command::new(programme).args(words).stdin(Stdio::null()).output().expect("the attack runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_finding_of_the_guest_comes_again_from_its_seed() {
    let attack = Path::new(env!("CARGO_BIN_EXE_attack"));
    let daemon = attack.with_file_name("virtiofsd-dax");
    if !daemon.is_file() {
        eprintln!("skipped: there is no daemon beside the attack; `cargo xtask attack --side guest` builds it");
        return;
    }
    let daemon = daemon.to_str().expect("UTF-8");
    let said =
        run(attack, ["--daemon", daemon, "--seconds", "60", "--seed", "7", "--session", "0", "--fault", PLANTED]);
    let first = finding(&said);
    assert!(first.starts_with("session 0, after ") && first.contains("the daemon ended with signal: 6"), "{first}");
    let replay = said.lines().find_map(|line| line.strip_prefix("replay: attack ")).expect("it says how");
    let again = run(attack, replay.split(' '));
    assert_eq!(requests(finding(&again)), requests(first));
}
