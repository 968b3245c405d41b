//! Checking a whole file system, in the manner of fsck.

use fs_dax::{Devices, WindowMemory};

use crate::layout::{FileRecord, LogHeader, Record, Superblock};
use crate::{Applied, Entries, Finding, Log, Note, Place, Remark, Tree};

/// Flags of a file that mean something: read-only and read-write to all hosts.
const KNOWN_FLAGS: u32 = 3;
/// The bits of a mode that say what a file is; version 46 wrote them.
const MODE_TYPE: u32 = 0o170_000;
const MODE_PERMISSIONS: u32 = 0o777;

/// What a check has to tell, in the order of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An error.
    Flaw(Finding),
    /// Something unusual that is no error.
    Note(Remark),
}

/// What a check found readable.
#[derive(Debug)]
pub struct Checked {
    /// The superblock.
    pub superblock: Superblock,
    /// The log's header.
    pub header: LogHeader,
    /// How many entries of the log are whole, from the first on.
    pub entries: u64,
    /// The files and directories that are not refused.
    pub tree: Tree,
}

/// Checks the file system in `memory` and calls `tell` with all errors and notes. `devices` gives the devices' lengths,
/// from the superblock: at most [`Superblock::device_len`] for the first.
///
/// # Errors
/// The [`Finding`] for which nothing is readable. `tell` was called with it, as with all others.
pub fn check<M, D>(
    memory: &M,
    devices: impl FnOnce(&Superblock) -> D,
    tell: &mut dyn FnMut(Event),
) -> Result<Checked, Finding>
where
    M: WindowMemory + ?Sized,
    D: Devices,
{
    let log = match Log::open(memory) {
        Ok(log) => log,
        Err(finding) => {
            tell(Event::Flaw(finding));
            return Err(finding);
        }
    };
    let superblock = *log.superblock();
    for note in superblock.notes() {
        tell(Event::Note(Remark { place: Place::Superblock, note }));
    }
    for finding in log.flaws() {
        tell(Event::Flaw(finding));
    }
    let mut tree = Tree::new(&superblock);
    let mut entries = log.entries(0);
    replay(&mut entries, &mut tree, &devices(&superblock), tell);
    let entries = entries.position();
    Ok(Checked { superblock, header: *log.header(), entries, tree })
}

fn replay<M: WindowMemory + ?Sized, D: Devices>(
    entries: &mut Entries<'_, M>,
    tree: &mut Tree,
    devices: &D,
    tell: &mut dyn FnMut(Event),
) {
    let format = tree.superblock().format;
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(finding) => return tell(Event::Flaw(finding)),
        };
        let place = Place::Entry(entry.index);
        let applied = match tree.apply(&entry, devices) {
            Ok(applied) => applied,
            Err(flaw) => {
                tell(Event::Flaw(Finding { place, flaw }));
                continue;
            }
        };
        let mut note = |note| tell(Event::Note(Remark { place, note }));
        if applied == Applied::DirectoryAgain {
            note(Note::DirectoryAgain);
        }
        if let Ok(record) = entry.record {
            if record.has_garbage(format, entry.index, entries.bytes()) {
                note(Note::Padding);
            }
            record_notes(&record, &mut note);
        }
    }
}

fn record_notes(record: &Record, note: &mut dyn FnMut(Note)) {
    match record {
        Record::File(FileRecord { size, flags, mode, .. }) => {
            mode_note(*mode, note);
            if flags & !KNOWN_FLAGS != 0 {
                note(Note::FileFlags { found: *flags });
            }
            if *size == 0 {
                note(Note::SizeZero);
            }
        }
        Record::Mkdir(record) => mode_note(record.mode, note),
        Record::AddDevice(device) => {
            note(Note::AddDevice { index: device.index, size: device.size, uuid: device.uuid });
        }
        Record::Access => note(Note::Access),
    }
}

fn mode_note(mode: u32, note: &mut dyn FnMut(Note)) {
    if mode & !(MODE_TYPE | MODE_PERMISSIONS) != 0 {
        note(Note::ModeBits { mode });
    }
}
