//! `cargo xtask bench`: the benchmarks, next to what the same kernel does in its own RAM and, if asked, next to a Linux
//! guest on the same QEMU, machine, daemon and files.

mod args;
mod guest;
mod host;
mod native;
mod report;
mod results;
mod size;
mod table;

use crate::{
    progress::Step,
    rig::tools::Tools,
    setup::{self, Context, linux::Linux},
};
use anyhow::{Context as _, Result, bail};
pub(crate) use args::BenchArgs;
use args::ENOUGH;
use guest::Runner;
pub(crate) use native::counts;
use results::Samples;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use table::{ROWS, Row, Run};
use testkernel_protocol::content::Content;

/// Bytes of the file that everybody reads and writes: four of the smaller windows.
const FILE_BYTES: usize = 64 << 20;
/// Its name, as both guests know it.
const FILE: &str = "bench-data";
/// Runs `cargo xtask bench`.
pub(crate) fn command(args: &BenchArgs) -> Result<ExitCode> {
    if args.native {
        return native::command(args);
    }
    if let Some(peer) = args.peer.as_deref().filter(|peer| *peer != "linux") {
        bail!("--peer {peer} is for --native");
    }
    let rows = chosen(args.filter.as_deref())?;
    if args.repetitions == 0 {
        bail!("--repetitions must be at least 1");
    }
    if args.accel == "kvm" {
        host::need_kvm(Path::new("/dev/kvm"))?;
    }
    let context = Context::new(&args.qemu)?;
    let tools = Tools::ensure(&context, false)?;
    let linux = args.peer.as_ref().map(|_| linux(&context, args)).transpose()?;
    let versions = host::Versions::find(&context, &tools, linux.as_ref(), args)?;
    let samples = measure(&context, args, &tools, linux.as_ref(), &rows)?;
    let results = samples.results(&rows, linux.is_some())?;
    println!("{versions}");
    print!("{}", report::text(&results, linux.is_some()));
    if args.repetitions < ENOUGH {
        println!("These are medians of {} repetitions only; {ENOUGH} are needed to compare.", args.repetitions);
    }
    if let Some(file) = &args.json {
        report::write_json(file, &results, &versions)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures everything once, without another guest, so that it is known to work. How fast it is counts for nothing, but what
/// no clock measures has to keep its limit.
///
/// # Errors
/// When something fails, isn't measured, or is past a limit that holds in every run.
pub(crate) fn once(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder for the results")?;
    let json = folder.path().join("results.json");
    let args = BenchArgs {
        native: false,
        peer: None,
        json: Some(json.clone()),
        plots: None,
        filter: None,
        repetitions: 1,
        accel: "tcg".into(),
        cpu: None,
        linux: None,
        qemu: context.qemu.clone(),
    };
    command(&args)?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(&json)?)?;
    if rows.len() != ROWS.len() {
        bail!("{} results were written, not {}", rows.len(), ROWS.len());
    }
    let past: Vec<_> = ROWS.iter().filter(|row| row.held).filter_map(|row| past_limit(row, &rows)).collect();
    if !past.is_empty() {
        bail!("{}", past.join("; "));
    }
    Ok(())
}

/// How a result is past the limit that it has to keep, if it is.
fn past_limit(row: &Row, results: &[serde_json::Value]) -> Option<String> {
    let result = results.iter().find(|result| result["name"] == row.name)?;
    let (ours, limit) = (result["ours"].as_f64()?, result["limit"].as_f64()?);
    let kept = row.against_limit.is_none_or(|must| row.better.ratio(ours, limit) >= must);
    (!kept).then(|| format!("{} is {ours} {}, and has to keep {limit}", row.name, row.unit))
}

/// The benchmarks with a text in their names.
fn chosen(filter: Option<&str>) -> Result<Vec<&'static Row>> {
    let rows: Vec<_> = ROWS.iter().filter(|row| filter.is_none_or(|text| row.name.contains(text))).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        bail!("no benchmark matches; there are {}", names.join(", "));
    }
    Ok(rows)
}

fn linux(context: &Context, args: &BenchArgs) -> Result<Linux> {
    let _lock = context.lock()?;
    setup::linux::ensure(context, args.linux.as_deref())
}

/// Boots every guest as often as asked, in turn, so that what else the machine does meets all alike.
fn measure(
    context: &Context,
    args: &BenchArgs,
    tools: &Tools,
    linux: Option<&Linux>,
    rows: &[&'static Row],
) -> Result<Samples> {
    let root = context.paths.target.join("bench");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let share = make_share(&root.join("share"))?;
    let model = args.cpu.clone().map(|model| &*model.leak());
    let runner = Runner { tools, root: &root, share: &share, accelerator: &args.accel, model };
    let mut samples = Samples::default();
    samples.add_ours(&size::measured(&tools.kernel)?)?;
    if rows.iter().any(|row| row.run == Run::Build) {
        samples.add_ours(&size::measured_small(&setup::build::small_embedder(context)?)?)?;
    }
    let step = Step::begin("Measuring");
    for repetition in 1..=args.repetitions {
        for run in Run::BOOTS.into_iter().filter(|run| rows.iter().any(|row| row.run == *run)) {
            let at = |guest: &str| format!("repetition {repetition} of {}: {guest}, {run}", args.repetitions);
            // Whoever is first in one repetition is second in the next.
            for ours in [repetition % 2 == 1, repetition % 2 == 0] {
                if ours {
                    step.at(at("the test kernel"));
                    let measured = runner.ours(run, repetition).with_context(|| at("the test kernel"))?;
                    samples.add_ours(&measured)?;
                } else if let Some(linux) = linux {
                    step.at(at("Linux"));
                    let measured = runner.linux(linux, run, repetition).with_context(|| at("Linux"))?;
                    samples.add_linux(&measured)?;
                }
            }
        }
    }
    step.done("Measured");
    Ok(samples)
}

/// The share: one file, which guests of any user may write, in a folder where they may make others.
fn make_share(share: &Path) -> Result<PathBuf> {
    let make = || -> Result<()> {
        fs::create_dir_all(share)?;
        fs::set_permissions(share, fs::Permissions::from_mode(0o777))?;
        fs::write(share.join(FILE), Content::of(FILE).bytes(0, FILE_BYTES))?;
        fs::set_permissions(share.join(FILE), fs::Permissions::from_mode(0o666))?;
        Ok(())
    };
    make().with_context(|| format!("cannot make the share {}", share.display()))?;
    Ok(share.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_chooses_by_name() {
        let names = |filter| chosen(filter).unwrap().iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names(None).len(), ROWS.len());
        assert_eq!(names(Some("fault")), ["fault_2m", "fault_4k", "famfs_fault_2m", "famfs_fault_4k"]);
        let error = chosen(Some("speed of light")).unwrap_err().to_string();
        assert!(error.contains("read_warm_2m"), "{error}");
    }

    #[test]
    fn what_is_past_a_limit_is_named() {
        let row = ROWS.iter().find(|row| row.name == "famfs_text_bytes").unwrap();
        let result = |ours: f64| [serde_json::json!({ "name": row.name, "ours": ours, "limit": 49_152.0 })];
        assert!(row.held && ROWS.iter().filter(|row| row.held).all(|row| matches!(row.limit, table::Limit::Fixed(_))));
        assert_eq!(past_limit(row, &result(49_152.0)), None);
        let past = past_limit(row, &result(49_153.0)).unwrap();
        assert_eq!(past, "famfs_text_bytes is 49153 B, and has to keep 49152");
    }

    #[test]
    fn the_share_is_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let share = make_share(&dir.path().join("share")).unwrap();
        let file = fs::metadata(share.join(FILE)).unwrap();
        assert_eq!((file.len(), file.permissions().mode() & 0o777), (64 << 20, 0o666));
        assert_eq!(fs::metadata(&share).unwrap().permissions().mode() & 0o777, 0o777);
    }
}
