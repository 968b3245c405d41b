//! Things as people read them.

use crate::mount::Fs;
use core::fmt;
use fuse_proto::{FileType, Timestamp};
use virtio_fs::Stats;

/// A file's mode as `ls -l` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode(pub(crate) u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match FileType::from_mode(self.0) {
            Some(FileType::Directory) => 'd',
            Some(FileType::Regular) => '-',
            Some(FileType::Symlink) => 'l',
            _ => '?',
        };
        write!(f, "{kind}")?;
        for shift in [6, 3, 0] {
            for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
                write!(f, "{}", if self.0 >> shift & bit != 0 { letter } else { '-' })?;
            }
        }
        Ok(())
    }
}

/// A time in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s after the beginning of 1970", self.0.secs, self.0.nanos)
    }
}

/// A number of bytes in the largest unit that keeps it whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

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
