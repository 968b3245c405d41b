//! What the driver did, for people.

use virtio_fs::Stats;

/// A few lines about what happened since the mount.
pub(crate) fn lines(stats: &Stats) -> Vec<String> {
    let mut lines = vec![
        format!("DAX {}", stats.dax),
        format!("{} requests, {} timed out, {} late", stats.requests, stats.timeouts, stats.late_replies),
        format!(
            "read {} by the window and {} by READ; written {} by the window and {} by WRITE",
            bytes(stats.dax_read_bytes),
            bytes(stats.request_read_bytes),
            bytes(stats.dax_write_bytes),
            bytes(stats.request_write_bytes)
        ),
        format!(
            "{} mappings set up, {} refused, {} removed by {} requests, {} waits for the window",
            stats.setup_mappings,
            stats.setup_refused,
            stats.removed_mappings,
            stats.remove_requests,
            stats.window_waits
        ),
        format!(
            "names: {} known, {} known not to be, {} forgotten; {} fsyncs",
            stats.entry_hits, stats.negative_hits, stats.forgets, stats.fsyncs
        ),
    ];
    let bypass = &stats.bypass;
    let reasons = [
        ("mode", bypass.mode),
        ("direct", bypass.direct),
        ("tail", bypass.tail),
        ("extending", bypass.extending),
        ("holes", bypass.holes),
        ("refused", bypass.refused),
        ("guard", bypass.guard),
        ("busy", bypass.busy),
        ("other", bypass.other),
    ];
    let reasons: Vec<_> =
        reasons.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{count} {reason}")).collect();
    if !reasons.is_empty() {
        lines.push(format!("past the window: {}", reasons.join(", ")));
    }
    lines
}

/// A number of bytes with a unit.
fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{} KiB", count >> 10),
        10_000_000..=9_999_999_999 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_have_units() {
        assert_eq!(bytes(4096), "4096 B");
        assert_eq!(bytes(1 << 20), "1024 KiB");
        assert_eq!(bytes(3 << 30), "3072 MiB");
        assert_eq!(bytes(u64::MAX), "17179869183 GiB");
    }
}
