//! The tour: what there is to see, for somebody who has just typed `cargo xtask run`.

use crate::{
    commands,
    digest::Sha256,
    events::Output,
    listing,
    machine::Machine,
    mount::{self, Fs},
    outcome::Outcome,
    show,
    units::{Bytes, Mode},
};
use alloc::{string::String, vec::Vec};
use core::fmt::Write;
use virtio_fs::{Config, OpenOptions};

/// How many files are hashed.
const HASHED: usize = 5;
/// The largest file that is hashed: under emulation more takes long.
const LARGEST: u64 = 16 << 20;
/// Entries of the folder that are shown.
const SHOWN: usize = 20;
/// Bytes of a mapped file that are shown.
const GLIMPSE: usize = 64;
/// The file that is written.
const WRITTEN: &str = "written-by-the-kernel.txt";
/// What is written into it.
const GREETING: &str = "Hello from a bare-metal kernel.\n";

/// Shows the window, the session, a listing, some hashes, a file mapped with no copy, a file written, and statistics.
pub(crate) fn run(machine: &Machine) -> Outcome {
    let place = mount::find(machine)?;
    let fs = mount::mount(machine, Config::default())?;
    writeln!(Output, "A virtio file system on {place}:")?;
    show::session(&mut Output, &fs)?;

    writeln!(Output, "\nIts root folder:")?;
    let entries = listing::list(&fs, "/")?;
    for (entry, attr) in entries.iter().take(SHOWN) {
        let name = String::from_utf8_lossy(&entry.name);
        writeln!(Output, "  {} {:>10} {name}", Mode(attr.mode), attr.size)?;
    }
    if entries.len() > SHOWN {
        writeln!(Output, "  ... and {} more", entries.len() - SHOWN)?;
    }

    let files: Vec<(String, u64)> = entries
        .iter()
        .filter(|(entry, attr)| attr.is_file() && entry.name != WRITTEN.as_bytes())
        .filter_map(|(entry, attr)| Some((String::from_utf8(entry.name.clone()).ok()?, attr.size)))
        .collect();
    hash(&fs, &files)?;
    map(&fs, &files)?;
    write(&fs)?;

    writeln!(Output, "\nWhat that took:")?;
    show::stats(&mut Output, &fs.stats())?;
    fs.unmount()?;
    Ok(())
}

fn hash(fs: &Fs, files: &[(String, u64)]) -> Outcome {
    let chosen: Vec<_> = files.iter().filter(|(_, size)| *size <= LARGEST).take(HASHED).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    writeln!(Output, "\nSHA-256, as sha256sum on the host says:")?;
    for (name, _) in chosen {
        let mut digest = Sha256::new();
        commands::each_block(fs, name, |bytes| digest.update(bytes))?;
        writeln!(Output, "  {}  {name}", digest.finish())?;
    }
    Ok(())
}

fn map(fs: &Fs, files: &[(String, u64)]) -> Outcome {
    if fs.window_region().is_none() {
        writeln!(Output, "\nNothing is mapped: DAX is {}.", fs.dax_status())?;
        return Ok(());
    }
    let Some((name, size)) = files.iter().max_by_key(|(_, size)| *size) else { return Ok(()) };
    let file = fs.open(name, OpenOptions::new().read(true))?;
    match file.map(0, usize::try_from(*size).unwrap_or(usize::MAX)) {
        Ok(view) => {
            writeln!(
                Output,
                "\n{name}: {} of {} are in view at guest-physical {:#x}, in the host's own page cache, not copied:",
                Bytes(view.len() as u64),
                Bytes(*size),
                view.phys_addr()
            )?;
            let bytes: Vec<u8> = view.iter().take(GLIMPSE).collect();
            show::dump(&mut Output, 0, &bytes)?;
        }
        Err(error) => writeln!(Output, "\n{name}: cannot be mapped: {error}")?,
    }
    Ok(())
}

fn write(fs: &Fs) -> Outcome {
    match fs.write(WRITTEN, GREETING.as_bytes()).and_then(|()| fs.read(WRITTEN)) {
        Ok(bytes) if bytes == GREETING.as_bytes() => {
            writeln!(Output, "\n{WRITTEN}: written, and {} read back.", Bytes(bytes.len() as u64))?;
        }
        Ok(_) => writeln!(Output, "\n{WRITTEN}: what is read back is not what was written!")?,
        Err(error) => writeln!(Output, "\n{WRITTEN}: not written: {error}")?,
    }
    Ok(())
}
