//! The step that fuzzes for a few seconds a target: long enough to see what a change broke, not to find what is rare.

use super::runner::{Bench, Done};
use crate::{
    process::{self, cargo, child::Guarded},
    qemu_test::Tally,
    setup::cargo_fuzz::{self, CargoFuzz},
};
use anyhow::{Context, Result, bail};
use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// The crate whose decoders are fuzzed; `fuzz/` in it is a workspace of its own.
const CRATE: &str = "fuse-proto";
/// What the first inputs are made of.
const CAPTURE: &str = "testdata/fuse-wire-linux-7.2-dax.jsonl.gz";
/// How long each target runs, in seconds.
const SECONDS: u32 = 3;
/// One input that takes this many seconds is a failure. Each takes microseconds.
const INPUT_SECONDS: u32 = 30;
/// One target may take this long, with cargo's look whether it must be built.
const PATIENCE: Duration = Duration::from_secs(180);
/// The crate has no unsafe code, so checks of overflow and bounds see what a sanitizer would; without one, thirty times as
/// many inputs are tried. Building with several units is faster.
const BUILD: [&str; 4] = ["--sanitizer", "none", "--codegen-units", "16"];

/// Runs every target for a few seconds, each of which counts as one test.
pub(super) fn step(bench: &mut Bench) -> Result<Done> {
    if let Some(reason) = missing() {
        return Ok(Done::Skipped(reason));
    }
    let programme = {
        let _lock = bench.context.lock()?;
        cargo_fuzz::ensure(&bench.context)
    };
    let fuzz = match programme {
        Ok(programme) => Fuzz::new(bench, programme),
        Err(error) => return Ok(Done::Skipped(format!("{error:#}"))),
    };
    let targets = fuzz.targets()?;
    let seeds = fuzz.seeds(bench);
    if bench.check(seeds)?.failed != 0 {
        bail!("the first inputs cannot be made");
    }
    // Cargo-fuzz itself takes whatever versions there are.
    let mut fetch = bench.cargo(["+nightly", "fetch", "--locked", "--manifest-path"]);
    fetch.arg(fuzz.folder.join("Cargo.toml"));
    if bench.check(fetch)?.failed != 0 {
        bail!("the dependencies of the fuzz targets, as locked, cannot be had");
    }
    if bench.check(fuzz.command(bench, "build")?)?.failed != 0 {
        bail!("the fuzz targets do not build");
    }
    let mut tally = Tally::default();
    for target in targets {
        let name = format!("{CRATE}::{target}");
        match fuzz.run(bench, &target)? {
            Ok(inputs) => {
                println!("test {name} ... ok ({inputs} inputs)");
                tally.passed += 1;
            }
            Err(reason) => {
                println!("test {name} ... FAILED\n{reason}");
                tally.failed += 1;
            }
        }
    }
    Ok(Done::Ran(tally))
}

/// What the machine lacks that cannot be put under the target directory.
fn missing() -> Option<String> {
    let mut nightly = Command::new("cargo");
    nightly.arg("+nightly");
    cargo::clean(&mut nightly);
    if process::version_line(&mut nightly).is_none() {
        return Some("there is no nightly toolchain; `rustup toolchain install nightly` gets it".into());
    }
    // libFuzzer is written in C++.
    (env::var_os("CXX").is_none() && process::in_path("c++").is_none())
        .then(|| "there is no C++ compiler `c++`; the package g++ has one, or name one in $CXX".into())
}

struct Fuzz {
    programme: CargoFuzz,
    /// The workspace of the fuzz targets.
    folder: PathBuf,
    /// What they are built into, with their inputs and what they say.
    target: PathBuf,
}

impl Fuzz {
    fn new(bench: &Bench, programme: CargoFuzz) -> Self {
        let paths = &bench.context.paths;
        let folder = paths.root.join("crates").join(CRATE).join("fuzz");
        Self { programme, folder, target: paths.target.join("fuzz") }
    }

    /// The names of all targets.
    fn targets(&self) -> Result<Vec<String>> {
        let folder = self.folder.join("fuzz_targets");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            if let Some(name) = entry?.file_name().to_string_lossy().strip_suffix(".rs") {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            bail!("there is no fuzz target in {}", folder.display());
        }
        names.sort();
        Ok(names)
    }

    /// Writes the first inputs into the folder of those that were found.
    fn seeds(&self, bench: &Bench) -> Command {
        let mut command = bench.cargo(["run", "--quiet", "--locked", "--package", CRATE, "--example", "fuzz_seeds"]);
        let capture = self.folder.with_file_name(CAPTURE);
        command.arg("--").arg(capture).arg(self.target.join("corpus"));
        command
    }

    fn command(&self, bench: &Bench, verb: &str) -> Result<Command> {
        let mut command = bench.cargo(["+nightly", "fuzz", verb, "--fuzz-dir"]);
        command.arg(&self.folder).args(BUILD).arg("--target-dir").arg(&self.target);
        self.programme.apply(&mut command)?;
        Ok(command)
    }

    /// Runs one target: how many inputs it took, or what it failed on.
    fn run(&self, bench: &Bench, target: &str) -> Result<Result<u64, String>> {
        let artifacts = self.target.join("artifacts").join(target);
        fs::create_dir_all(&artifacts).with_context(|| format!("cannot create {}", artifacts.display()))?;
        let log = self.target.join(format!("{target}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command(bench, "run")?;
        command.arg(target).arg(self.target.join("corpus").join(target)).arg("--");
        command.arg(format!("-max_total_time={SECONDS}")).arg(format!("-timeout={INPUT_SECONDS}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        println!("$ {}", process::shown(&command));
        let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output))?;
        let Some(status) = child.wait(PATIENCE)? else {
            bail!("the target {target} did not end within {} s; see {}", PATIENCE.as_secs(), log.display());
        };
        let said = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        Ok(judge(status.success(), &said).map_err(|found| {
            let again = found.reproducer.map_or_else(String::new, |input| self.again(target, &input));
            format!("{}\n{again}the whole output is {}", found.words, log.display())
        }))
    }

    /// How to run a target on one input.
    fn again(&self, target: &str, input: &str) -> String {
        let mut command = Command::new("cargo");
        command.args(["+nightly", "fuzz", "run", "--fuzz-dir"]).arg(&self.folder).args(BUILD);
        command.arg("--target-dir").arg(&self.target).args([target, input]);
        let path = match &self.programme {
            CargoFuzz::InPath => String::new(),
            CargoFuzz::Private(folder) => format!("PATH=$PATH:{} ", folder.display()),
        };
        format!("the input is {input}\nrerun: {path}{}\n", process::shown(&command))
    }
}

/// Why a run of a target counts as failed.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// What it said of it.
    words: String,
    /// The file with the input that it failed on.
    reproducer: Option<String>,
}

/// Judges a run by its status and by what libFuzzer wrote: a run that took no input did not look.
fn judge(success: bool, said: &str) -> Result<u64, Found> {
    let inputs = said.lines().find_map(|line| {
        let (count, rest) = line.strip_prefix("Done ")?.split_once(' ')?;
        rest.starts_with("runs in ").then_some(count)?.parse().ok()
    });
    match inputs {
        Some(inputs) if success && inputs > 0 => return Ok(inputs),
        _ => {}
    }
    let reproducer =
        said.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path.into()));
    let telling = |line: &&str| {
        line.contains("panicked at") || line.starts_with("==") && line.contains("ERROR") || line.starts_with("error")
    };
    let first = said.lines().position(|line| telling(&line));
    let words = match first {
        // A panic's message follows the line with its place.
        Some(first) => said.lines().skip(first).take(3).collect::<Vec<_>>().join("\n"),
        None if success => "it ended well without having run".into(),
        None => said.lines().last().unwrap_or("it said nothing").into(),
    };
    Err(Found { words, reproducer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_its_inputs() {
        let said = "INFO: Running with entropic power schedule (0xFF, 100).\n#2\tINITED cov: 3 ft: 4\n\
            #4096\tDONE   cov: 31 ft: 40 corp: 5/30b\nDone 4096 runs in 4 second(s)\n";
        assert_eq!(judge(true, said), Ok(4096));
    }

    #[test]
    fn a_crash_names_its_input() {
        let said = "#9\tNEW cov: 3\n\nthread '<unnamed>' (7) panicked at src/dirent.rs:150:9:\nrange end index 25\n\
            note: run with `RUST_BACKTRACE=1`\n==7== ERROR: libFuzzer: deadly signal\n\
            artifact_prefix='/t/'; Test unit written to /t/crash-0a\nBase64: AA==\n";
        let Err(found) = judge(false, said) else { panic!("taken for a success") };
        assert_eq!(found.reproducer.as_deref(), Some("/t/crash-0a"));
        assert!(found.words.contains("src/dirent.rs:150:9") && found.words.contains("range end index 25"));
    }

    #[test]
    fn a_run_without_inputs_is_none() {
        assert!(judge(true, "").is_err());
        assert!(judge(true, "Done 0 runs in 0 second(s)\n").is_err());
        assert!(judge(false, "Done 12 runs in 0 second(s)\n").is_err());
        let hang = "==7== ERROR: libFuzzer: timeout after 31 seconds\nTest unit written to /t/timeout-1\n";
        assert_eq!(judge(false, hang).map_err(|found| found.reproducer), Err(Some("/t/timeout-1".into())));
    }

    #[test]
    fn every_target_is_found_and_declared() {
        let paths = crate::paths::Paths::find().unwrap();
        let folder = paths.root.join("crates").join(CRATE).join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let targets = Fuzz { programme: CargoFuzz::InPath, folder, target: PathBuf::new() }.targets().unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
        for target in &targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        }
    }
}
