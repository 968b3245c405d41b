//! The plots of native measurements: how good ours is beside the host's calls, and what more threads bring.

use super::report::Judged;
use anyhow::{Context, Result, anyhow, ensure};
use plotters::{coord::ranged1d::SegmentValue, prelude::*};
use std::{fs, path::Path};

const RATIOS: &str = "ratios.svg";
const SCALING: &str = "scaling.svg";
const WIDTH: u32 = 860;
/// Pixels that a bar takes, and all else of its plot.
const BAR: u32 = 20;
const AROUND: u32 = 90;
const FONT: &str = "sans-serif";

const MET: RGBColor = RGBColor(46, 125, 80);
const MISSED: RGBColor = RGBColor(190, 60, 50);
const KNOWN: RGBColor = RGBColor(120, 130, 145);

/// Draws both into a folder.
///
/// # Errors
/// When there is nothing to draw, or a file cannot be written.
pub(super) fn draw(folder: &Path, judged: &[Judged]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = |name: &str| folder.join(name);
    ratios(&file(RATIOS), judged).with_context(|| format!("cannot draw {}", file(RATIOS).display()))?;
    scaling(&file(SCALING), judged).with_context(|| format!("cannot draw {}", file(SCALING).display()))
}

/// A bar a comparison: how many times as good as the host's call ours is, and the least that is wanted.
fn ratios(file: &Path, judged: &[Judged]) -> Result<()> {
    let rows: Vec<&Judged> = judged.iter().filter(|row| is_ratio(row)).collect();
    ensure!(!rows.is_empty(), "nothing was compared with a call of the host's");
    let values = || rows.iter().flat_map(|row| [Some(row.value), row.wanted]).flatten();
    let least = values().fold(0.5, f64::min) * 0.8;
    let most = values().fold(2.0, f64::max) * 1.25;
    let count = rows.len() as i32;

    let root = SVGBackend::new(file, (WIDTH, BAR * rows.len() as u32 + AROUND)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("ours beside the host's call: right of 1 ours is faster", (FONT, 15))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(270)
        .build_cartesian_2d((least..most).log_scale(), (0..count).into_segmented())
        .map_err(failed)?;
    // From the top down.
    let row = |at: i32| rows[(count - 1 - at) as usize];
    let label = |at: &SegmentValue<i32>| match at {
        SegmentValue::CenterOf(at) if (0..count).contains(at) => {
            let Judged { peer, name, measure, .. } = row(*at);
            format!("{name} {measure}, {peer}")
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len() + 1)
        .y_label_formatter(&label)
        .x_label_formatter(&|value| format!("{value:.2}"))
        .x_desc("times as fast, the mark is what is wanted")
        .label_style((FONT, 11))
        .draw()
        .map_err(failed)?;
    let bars = (0..count).map(|at| {
        let color = match row(at).met {
            Some(true) => MET,
            Some(false) => MISSED,
            None => KNOWN,
        };
        let ends = [(1.0, SegmentValue::Exact(at)), (row(at).value, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(ends, color.filled());
        bar.set_margin(4, 4, 0, 0);
        bar
    });
    chart.draw_series(bars).map_err(failed)?;
    let wanted = (0..count).filter_map(|at| {
        let wanted = row(at).wanted?;
        Some(PathElement::new([(wanted, SegmentValue::Exact(at)), (wanted, SegmentValue::Exact(at + 1))], BLACK))
    });
    chart.draw_series(wanted).map_err(failed)?;
    root.present().map_err(failed)
}

/// Whether a row compares what one thread does with what the host does.
fn is_ratio(row: &Judged) -> bool {
    row.measure.starts_with("against ") && !row.name.starts_with("threads") && row.value > 0.0
}

/// Lines over the number of threads, in a field for each size of a read.
fn scaling(file: &Path, judged: &[Judged]) -> Result<()> {
    let peer = judged.iter().find(|row| row.name.starts_with("threads")).map(|row| row.peer.as_str());
    let peer = peer.context("no threads were measured")?;
    let root = SVGBackend::new(file, (WIDTH, 340)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    for (area, (size, title)) in
        root.split_evenly((1, 2)).iter().zip([("64", "64 bytes a read"), ("4k", "4 KiB a read")])
    {
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{title}, {peer}"), (FONT, 15))
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(40)
            .build_cartesian_2d(1.0..4.0, 0.0..4.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_labels(4)
            .x_desc("threads")
            .y_desc("times one thread")
            .label_style((FONT, 11))
            .draw()
            .map_err(failed)?;
        for (index, line) in LINES.iter().enumerate() {
            let points = line.points(judged, peer, size);
            let color = Palette99::pick(index);
            let drawn = chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2))).map_err(failed)?;
            drawn
                .label(line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], Palette99::pick(index)));
            let color = Palette99::pick(index).filled();
            chart.draw_series(points.into_iter().map(|at| Circle::new(at, 3, color))).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 11))
            .draw()
            .map_err(failed)?;
    }
    root.present().map_err(failed)
}

/// Who reads what.
struct Line {
    label: &'static str,
    sort: &'static str,
    /// Whose reads: those of the host's call, or ours.
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Ours,
    Host(&'static str),
}

const LINES: [Line; 4] = [
    Line { label: "ours, one file", sort: "same", of: Of::Ours },
    Line { label: "ours, two files", sort: "other", of: Of::Ours },
    Line { label: "pread, one file", sort: "same", of: Of::Host("against pread") },
    Line { label: "copies out of mmap, one file", sort: "same", of: Of::Host("against memcpy") },
];

impl Line {
    /// How many times as much so many threads do as one.
    fn points(&self, judged: &[Judged], peer: &str, size: &str) -> Vec<(f64, f64)> {
        let of = |threads: &str| {
            let name = format!("{threads}_{size}_{}", self.sort);
            let mut rows = judged.iter().filter(|row| row.peer == peer && row.name == name);
            match self.of {
                Of::Ours => rows.find_map(|row| row.ours),
                Of::Host(measure) => rows.find(|row| row.measure == measure)?.host,
            }
        };
        let measured = [(2.0, of("threads")), (4.0, of("threads4"))];
        let more = measured.into_iter().filter_map(|(threads, times)| Some((threads, times?)));
        std::iter::once((1.0, 1.0)).chain(more).collect()
    }
}

/// The errors of drawing hold what cannot cross threads.
fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{report::judge, values::Values},
        *,
    };

    fn judged() -> Vec<Judged> {
        let mut values = Values::default();
        for (name, who, value, unit) in [
            ("read_64", "ours", 50.0, "ns"),
            ("read_64", "pread", 300.0, "ns"),
            ("read_64", "memcpy", 5.0, "ns"),
            ("threads_64_same", "ours", 1.9, "x"),
            ("threads_64_same", "memcpy", 2.0, "x"),
            ("threads4_64_same", "ours", 1.8, "x"),
            ("threads4_64_same", "memcpy", 2.1, "x"),
        ] {
            values.add(name, who, value, unit);
        }
        judge("libkrun", &values, None)
    }

    #[test]
    fn both_plots_show_what_was_measured() {
        let dir = tempfile::tempdir().unwrap();
        draw(dir.path(), &judged()).unwrap();
        let ratios = fs::read_to_string(dir.path().join(RATIOS)).unwrap();
        for label in ["read_64 against pread, libkrun", "read_64 against memcpy, libkrun"] {
            assert_eq!(ratios.matches(label).count(), 1, "{label}");
        }
        assert!(!ratios.contains("threads"), "threads have a plot of their own");
        let scaling = fs::read_to_string(dir.path().join(SCALING)).unwrap();
        assert!(scaling.contains("ours, one file") && scaling.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn lines_have_a_point_for_each_number_of_threads() {
        let rows = judged();
        assert_eq!(LINES[0].points(&rows, "libkrun", "64"), [(1.0, 1.0), (2.0, 1.9), (4.0, 1.8)]);
        assert_eq!(LINES[3].points(&rows, "libkrun", "64"), [(1.0, 1.0), (2.0, 2.0), (4.0, 2.1)]);
        assert_eq!(LINES[2].points(&rows, "libkrun", "64"), [(1.0, 1.0)]);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", draw(dir.path(), &[]).unwrap_err()).contains("nothing was compared"));
    }
}
