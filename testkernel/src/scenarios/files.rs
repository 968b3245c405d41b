//! Files are read as the host has them.

use crate::{
    digest::Sha256,
    events,
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, ensure},
    scenarios::steps::files::read_all,
};
use alloc::{format, vec};
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, OpenOptions};

/// Any machine with a file system device. Share: `files/size-N` for the sizes 0, 1, 4095, 4096, 4097, 2 MiB - 1, 2 MiB,
/// 2 MiB + 1, 5 MiB + 123, each the stream of its own name; `files/sparse-67108864`, zeros but for 4096 bytes of its
/// stream at 0, at 10 MiB and at the end. Infos `sha256 NAME`, which the host compares with its own.
pub(crate) fn read_matches_host(machine: &Machine) -> Outcome {
    let fs = mount::mount(machine, Config::default())?;
    read_all(&fs)?;
    read_sparse(&fs)?;
    mount::report(&fs);
    fs.unmount()?;
    Ok(())
}

fn read_sparse(fs: &Fs) -> Outcome {
    let share::File { name, size } = share::SPARSE;
    let content = Content::of(name);
    let file = fs.open(name, OpenOptions::new().read(true))?;
    ensure!(file.len()? == size, "{name} has {} bytes", file.len()?);
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 2 << 20];
    let mut expected = vec![0; 2 << 20];
    let mut offset = 0;
    while offset < size {
        file.read_exact_at(&mut buffer, offset)?;
        expected.fill(0);
        for island in share::ISLANDS {
            if (offset..offset + buffer.len() as u64).contains(&island) {
                let start = (island - offset) as usize;
                content.fill(island, &mut expected[start..start + share::ISLAND as usize]);
            }
        }
        ensure!(buffer == expected, "{name}: wrong bytes in the 2 MiB at {offset}");
        digest.update(&buffer);
        offset += buffer.len() as u64;
    }
    events::info(&format!("sha256 {name}"), &digest.finish());
    Ok(())
}
