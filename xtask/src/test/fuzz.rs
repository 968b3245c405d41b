//! The step that fuzzes for a few seconds a target: long enough to see what a change broke, not to find what is rare.
//!
//! The targets are plain programmes with libFuzzer in them. They are built with the compiler's own coverage pass, as
//! cargo-fuzz does it, but without cargo-fuzz, a nightly toolchain or a sanitizer.

use super::runner::{Bench, Done};
use crate::{
    paths::Paths,
    process::{self, child::Guarded},
    qemu_test::Tally,
    setup::build,
};
use anyhow::{Context, Result, bail};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long each target runs, in seconds.
const SECONDS: u32 = 3;
/// One input that takes this many seconds is a failure. Each takes microseconds.
const INPUT_SECONDS: u32 = 30;
/// One target may take this long.
const PATIENCE: Duration = Duration::from_secs(180);
/// The example of a crate that writes first inputs, given a capture and a folder, and the captures of the crates.
const SEEDS: &str = "fuzz_seeds";
const CAPTURES: [(&str, &str); 1] = [("fuse-proto", "testdata/fuse-wire-linux-7.2-dax.jsonl.gz")];
/// The crates have no unsafe code, so checks of overflow and bounds see what a sanitizer would; without one, thirty times as
/// many inputs are tried. Building with several units is faster.
const FLAGS: &str = "--cfg fuzzing -Cdebug-assertions -Ccodegen-units=16 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs every target for a few seconds, each of which counts as one test.
pub(super) fn step(bench: &mut Bench) -> Result<Done> {
    // libFuzzer is written in C++.
    if env::var_os("CXX").is_none() && process::in_path("c++").is_none() {
        return Ok(Done::Skipped(
            "there is no C++ compiler `c++`; the package g++ has one, or name one in $CXX".into(),
        ));
    }
    let triple = build::host_triple()?;
    let mut tally = Tally::default();
    for fuzz in Fuzz::all(&bench.context.paths)? {
        fuzz.write_seeds(bench)?;
        if bench.check(fuzz.build(bench, &triple))?.failed != 0 {
            bail!("the fuzz targets of {} do not build", fuzz.name);
        }
        for target in fuzz.targets()? {
            let name = format!("{}::{target}", fuzz.name);
            match fuzz.run(&triple, &target)? {
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
    }
    Ok(Done::Ran(tally))
}

/// The folders of the crates' fuzz targets, each a workspace of its own, in order.
pub(super) fn folders(paths: &Paths) -> Result<Vec<PathBuf>> {
    let crates = paths.root.join("crates");
    let mut all = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))? {
        let folder = entry?.path().join("fuzz");
        if folder.join("Cargo.toml").is_file() {
            all.push(folder);
        }
    }
    all.sort();
    Ok(all)
}

/// The fuzz targets of a crate: a workspace of its own in the crate's folder `fuzz`.
struct Fuzz {
    /// The crate.
    name: String,
    /// The workspace.
    folder: PathBuf,
    /// What the targets are built into, with their inputs and what they say.
    target: PathBuf,
}

impl Fuzz {
    /// Those of all crates.
    fn all(paths: &Paths) -> Result<Vec<Self>> {
        let of = |folder: PathBuf| {
            let name = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            Self { target: paths.target.join("fuzz").join(&name), name, folder }
        };
        Ok(folders(paths)?.into_iter().map(of).collect())
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

    /// Writes the first inputs into the folder of those that were found, where there is a capture to make them of.
    fn write_seeds(&self, bench: &Bench) -> Result<()> {
        let Some((_, capture)) = CAPTURES.iter().find(|(name, _)| *name == self.name) else { return Ok(()) };
        let mut command = bench.cargo(["run", "--quiet", "--locked", "--package", &self.name, "--example", SEEDS]);
        command.arg("--").arg(self.folder.with_file_name(capture)).arg(self.target.join("corpus"));
        if bench.check(command)?.failed != 0 {
            bail!("the first inputs of {} cannot be made", self.name);
        }
        Ok(())
    }

    fn build(&self, bench: &Bench, triple: &str) -> Command {
        let mut command = bench.cargo(["build", "--release", "--locked", "--target", triple, "--manifest-path"]);
        command.arg(self.folder.join("Cargo.toml"));
        command.env("CARGO_TARGET_DIR", &self.target).env("RUSTFLAGS", FLAGS);
        command
    }

    fn programme(&self, triple: &str, target: &str) -> PathBuf {
        self.target.join(triple).join("release").join(target)
    }

    /// Runs one target: how many inputs it took, or what it failed on.
    fn run(&self, triple: &str, target: &str) -> Result<Result<u64, String>> {
        let [artifacts, corpus] = ["artifacts", "corpus"].map(|kind| self.target.join(kind).join(target));
        for folder in [&artifacts, &corpus] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = self.target.join(format!("{target}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let programme = self.programme(triple, target);
        let mut command = Command::new(&programme);
        command.arg(corpus);
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
            let again = found.reproducer.map_or_else(String::new, |input| again(&programme, &input));
            format!("{}\n{again}the whole output is {}", found.words, log.display())
        }))
    }
}

/// How to run a target on one input.
fn again(programme: &Path, input: &str) -> String {
    let mut command = Command::new(programme);
    command.arg(input);
    format!("the input is {input}\nrerun: {}\n", process::shown(&command))
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
        let all = Fuzz::all(&paths).unwrap();
        assert!(all.iter().any(|fuzz| fuzz.name == "fuse-proto"));
        for fuzz in all {
            let manifest = fs::read_to_string(fuzz.folder.join("Cargo.toml")).unwrap();
            let targets = fuzz.targets().unwrap();
            assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
            for target in &targets {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            }
        }
    }
}
