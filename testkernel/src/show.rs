//! Bytes, sessions and statistics as people read them.

use crate::{mount::Fs, units::Bytes};
use core::fmt;
use virtio_fs::Stats;

/// Bytes in rows of 16, hexadecimal and as text. `offset` is that of the first byte.
pub(crate) fn dump(out: &mut dyn fmt::Write, offset: u64, bytes: &[u8]) -> fmt::Result {
    for (row, chunk) in bytes.chunks(16).enumerate() {
        write!(out, "{:08x} ", offset + 16 * row as u64)?;
        for column in 0..16 {
            if column == 8 {
                out.write_char(' ')?;
            }
            match chunk.get(column) {
                Some(byte) => write!(out, " {byte:02x}")?,
                None => out.write_str("   ")?,
            }
        }
        out.write_str("  |")?;
        for &byte in chunk {
            out.write_char(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' })?;
        }
        out.write_str("|\n")?;
    }
    Ok(())
}

/// Device, session and window.
pub(crate) fn session(out: &mut dyn fmt::Write, fs: &Fs) -> fmt::Result {
    let protocol = fs.protocol();
    writeln!(out, "  tag            {:?}", fs.tag())?;
    match fs.window_region() {
        Some(region) => writeln!(
            out,
            "  DAX window     {} at guest-physical {:#x}, mapped write-back in 2 MiB pages",
            Bytes(region.len()),
            region.addr()
        )?,
        None => writeln!(out, "  DAX window     none")?,
    }
    writeln!(out, "  DAX            {}", fs.dax_status())?;
    writeln!(out, "  FUSE           7.{}, flags {:?}", protocol.minor(), protocol.flags())?;
    writeln!(
        out,
        "  largest write  {}; {} request queue(s)",
        Bytes(u64::from(protocol.max_write())),
        fs.request_queues()
    )
}

/// What the driver did.
pub(crate) fn stats(out: &mut dyn fmt::Write, stats: &Stats) -> fmt::Result {
    writeln!(out, "  DAX                    {}", stats.dax)?;
    writeln!(out, "  requests               {} ({} without an answer in time)", stats.requests, stats.timeouts)?;
    writeln!(out, "  read from the window   {}", Bytes(stats.dax_read_bytes))?;
    writeln!(out, "  read by requests       {}", Bytes(stats.request_read_bytes))?;
    writeln!(out, "  written to the window  {}", Bytes(stats.dax_write_bytes))?;
    writeln!(out, "  written by requests    {}", Bytes(stats.request_write_bytes))?;
    writeln!(out, "  mappings set up        {} ({} refused)", stats.setup_mappings, stats.setup_refused)?;
    writeln!(out, "  mappings removed       {} in {} requests", stats.removed_mappings, stats.remove_requests)?;
    if let Some(window) = &stats.window {
        writeln!(
            out,
            "  window                 {} of {} ranges mapped, {} hits, {} misses",
            window.mapped, window.ranges, window.hits, window.misses
        )?;
    }
    Ok(())
}
