//! A host, or another guest, that changes files while the guest has them open.

use crate::{
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, ensure},
    scenarios::steps::{files, host::wait_for_host},
};
use alloc::{format, vec, vec::Vec};
use testkernel_protocol::{command_line::GUEST, content::Content, share};
use virtio_fs::{Config, OpenOptions};

/// What the host leaves of the file that it cuts.
const LEFT: u64 = (1 << 20) + 100;
const READ: OpenOptions = OpenOptions::new().read(true);

/// Machine: a window. Sync `replace`: the host puts another file in the place of `dax/map`. The open file stays the old one;
/// who opens the name again gets the new one once the old name is no longer valid.
pub(crate) fn host_replaces(machine: &Machine) -> Outcome {
    let share::File { name, size } = share::MAP;
    let fs = mount::mount(machine, Config::default())?;
    let old = fs.open(name, READ)?;
    let mut bytes = vec![0; size as usize];
    old.read_exact_at(&mut bytes[..4096], 0)?;
    wait_for_host("replace")?;
    old.read_exact_at(&mut bytes, 0)?;
    files::check(name, Content::of(name), 0, &bytes)?;
    let new = Content::of(&format!("{name}#2"));
    // Names and attributes are valid for a second or so; the watchdog ends this if they are for ever.
    while new.difference(0, &whole(&fs, name)?).is_some() {}
    old.read_exact_at(&mut bytes, 0)?;
    files::check(name, Content::of(name), 0, &bytes)?;
    drop(old);
    fs.unmount()?;
    Ok(())
}

/// Machine: a window. The guest has `dax/host-write` open and nothing of it mapped. Sync `cut`: the host cuts it to 1 MiB and
/// 100 bytes. Once the guest's attributes are no longer valid it sees that size, and those bytes.
pub(crate) fn host_cuts(machine: &Machine) -> Outcome {
    let name = share::HOST_WRITE.name;
    let fs = mount::mount(machine, Config::default())?;
    let file = fs.open(name, READ)?;
    wait_for_host("cut")?;
    while fs.attr(name)?.size != LEFT {}
    let mut bytes = vec![0; share::HOST_WRITE.size as usize];
    let mut count = 0;
    loop {
        match file.read_at(&mut bytes[count..], count as u64)? {
            0 => break,
            more => count += more,
        }
    }
    ensure!(count as u64 == LEFT, "{count} bytes are read of {LEFT}");
    files::check(name, Content::of(name), 0, &bytes[..count])?;
    drop(file);
    fs.unmount()?;
    Ok(())
}

/// Machine: a window, and another guest with the same share. Syncs `written`, `seen`, `answered` and `cut`, at which both wait for
/// each other. What one stores through its window the other has at once; what one cuts off the other misses once its attributes
/// are no longer valid.
pub(crate) fn two_guests(machine: &Machine) -> Outcome {
    const FIRST: usize = 2 << 20;
    const SECOND: usize = 5000;
    let name = share::GUEST_WRITE.name;
    let (first, second) = (Content::of("first"), Content::of("second"));
    let leads = machine.command_line.parameter(GUEST) == Some("0");
    let fs = mount::mount(machine, Config::default())?;
    let file = fs.open(name, READ.write(true))?;
    let mut bytes = vec![0; FIRST];
    if leads {
        file.write_all_at(&first.bytes(0, FIRST), 0)?;
    }
    wait_for_host("written")?;
    if !leads {
        file.read_exact_at(&mut bytes, 0)?;
        files::check(name, first, 0, &bytes)?;
    }
    wait_for_host("seen")?;
    if !leads {
        file.write_all_at(&second.bytes(0, SECOND), 0)?;
    }
    wait_for_host("answered")?;
    if leads {
        file.read_exact_at(&mut bytes, 0)?;
        files::check(name, second, 0, &bytes[..SECOND])?;
        files::check(name, first, SECOND as u64, &bytes[SECOND..])?;
    }
    // Cut by one while the other loads it, QEMU would not survive.
    wait_for_host("read")?;
    if !leads {
        file.set_len(SECOND as u64)?;
    }
    wait_for_host("cut")?;
    while fs.attr(name)?.size != SECOND as u64 {}
    let left = whole(&fs, name)?;
    ensure!(left.len() == SECOND, "{} bytes are left of {SECOND}", left.len());
    files::check(name, second, 0, &left)?;
    drop(file);
    fs.unmount()?;
    Ok(())
}

fn whole(fs: &Fs, name: &str) -> Result<Vec<u8>, crate::outcome::Stop> {
    Ok(fs.read(name)?)
}
