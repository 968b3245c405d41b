//! Without a window everything works by requests.

use crate::{
    events,
    machine::Machine,
    mount,
    outcome::{Outcome, ensure},
    scenarios::steps::{files, host::wait_for_host},
};
use alloc::vec;
use testkernel_protocol::content::Content;
use virtio_fs::{Config, DaxStatus, OpenOptions};

/// Machine: a device without a window, on PCI or virtio-mmio, and the unmodified virtiofsd. Share: as
/// `files::read_matches_host` without the sparse file. Info `dax_off`: why. Makes `fallback-write`, 5000 bytes of its
/// stream; sync `written`: the host looks.
pub(crate) fn unmodified_virtiofsd(machine: &Machine) -> Outcome {
    const NAME: &str = "fallback-write";
    let fs = mount::mount(machine, Config::default())?;
    let status = fs.dax_status();
    ensure!(status == DaxStatus::NoWindow, "DAX is {status}");
    log::info!("DAX is {status}");
    events::info("dax_off", &status);
    files::read_all(&fs)?;
    let mut bytes = vec![0; 5000];
    Content::of(NAME).fill(0, &mut bytes);
    let options = OpenOptions::new().read(true).write(true).create(true);
    let file = fs.open(NAME, options)?;
    file.write_all_at(&bytes[..3000], 0)?;
    file.write_all_at(&bytes[3000..], 3000)?;
    file.sync_all()?;
    wait_for_host("written")?;
    let mut back = vec![0; 5000];
    file.read_exact_at(&mut back, 0)?;
    ensure!(back == bytes, "reading does not give what was written");
    let view = file.map(0, 4096);
    ensure!(view.is_err(), "a view of a file without a window");
    drop(file);
    let stats = fs.stats();
    ensure!(stats.setup_mappings == 0, "{} set-ups without a window", stats.setup_mappings);
    fs.unmount()?;
    mount::report(&fs);
    Ok(())
}
