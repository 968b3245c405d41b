//! Files are read as the host has them.

use super::{Machine, Outcome, Stop, ensure};
use crate::{
    content::Content,
    digest::Sha256,
    events,
    mount::{self, Fs},
};
use alloc::{format, string::String, vec, vec::Vec};
use virtio_fs::{Config, OpenOptions};

/// Sizes of the files `files/size-N`.
pub(crate) const SIZES: [u64; 9] = [0, 1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (5 << 20) + 123];
/// The sparse file.
const SPARSE: &str = "files/sparse-67108864";
/// Its size.
const SPARSE_SIZE: u64 = 64 << 20;
/// Bytes of each of its islands of data.
const ISLAND: u64 = 4096;
/// Where they begin.
const ISLANDS: [u64; 3] = [0, 10 << 20, SPARSE_SIZE - ISLAND];

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

/// The name of the file of a size.
pub(crate) fn name(size: u64) -> String {
    format!("files/size-{size}")
}

/// Reads the files of every size, whole and in pieces, and checks every byte.
pub(crate) fn read_all(fs: &Fs) -> Outcome {
    for size in SIZES {
        let name = name(size);
        check_whole(fs, &name, size, 1 << 20)?;
        check_pieces(fs, &name, size)?;
    }
    Ok(())
}

/// Reads a file from begin to end in blocks, checks every byte and tells the host its SHA-256.
pub(crate) fn check_whole(fs: &Fs, name: &str, size: u64, block: usize) -> Outcome {
    let content = Content::of(name);
    let file = fs.open(name, OpenOptions::new().read(true))?;
    ensure!(file.len()? == size, "{name} has {} bytes, not {size}", file.len()?);
    let mut digest = Sha256::new();
    let mut buffer = vec![0; block];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        let expected = (size - offset).min(block as u64);
        ensure!(count as u64 == expected, "{name}: {count} bytes at {offset}, not {expected}");
        if count == 0 {
            break;
        }
        check(name, content, offset, &buffer[..count])?;
        digest.update(&buffer[..count]);
        offset += count as u64;
    }
    events::info(&format!("sha256 {name}"), &digest.finish());
    let beyond = file.read_at(&mut buffer, size + 12345)?;
    ensure!(beyond == 0, "{name}: {beyond} bytes past the end");
    Ok(())
}

/// Reads pieces of a file that begin and end near page and range boundaries.
fn check_pieces(fs: &Fs, name: &str, size: u64) -> Outcome {
    let content = Content::of(name);
    let file = fs.open(name, OpenOptions::new().read(true))?;
    for at in [0, 4096, 8192, 2 << 20, 4 << 20, size / 4096 * 4096, size] {
        for before in [1, 7, 4097] {
            for length in [1, 9, 5000] {
                let Some(offset) = u64::checked_sub(at, before).filter(|offset| *offset < size) else { continue };
                let mut buffer: Vec<u8> = vec![0; length];
                let count = file.read_at(&mut buffer, offset)?;
                let expected = (size - offset).min(length as u64);
                ensure!(count as u64 == expected, "{name}: {count} bytes at {offset}, not {expected}");
                check(name, content, offset, &buffer[..count])?;
            }
        }
    }
    Ok(())
}

fn read_sparse(fs: &Fs) -> Outcome {
    let content = Content::of(SPARSE);
    let file = fs.open(SPARSE, OpenOptions::new().read(true))?;
    ensure!(file.len()? == SPARSE_SIZE, "{SPARSE} has {} bytes", file.len()?);
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 2 << 20];
    let mut expected = vec![0; 2 << 20];
    let mut offset = 0;
    while offset < SPARSE_SIZE {
        file.read_exact_at(&mut buffer, offset)?;
        expected.fill(0);
        for island in ISLANDS {
            if (offset..offset + buffer.len() as u64).contains(&island) {
                let start = (island - offset) as usize;
                content.fill(island, &mut expected[start..start + ISLAND as usize]);
            }
        }
        ensure!(buffer == expected, "{SPARSE}: wrong bytes in the 2 MiB at {offset}");
        digest.update(&buffer);
        offset += buffer.len() as u64;
    }
    events::info(&format!("sha256 {SPARSE}"), &digest.finish());
    Ok(())
}

/// Fails with the place of the first wrong byte.
pub(crate) fn check(name: &str, content: Content, offset: u64, bytes: &[u8]) -> Outcome {
    match content.difference(offset, bytes) {
        None => Ok(()),
        Some(index) => Err(Stop::Fail(format!(
            "{name}: byte {} is {:#04x}, not {:#04x}",
            offset + index as u64,
            bytes[index],
            content.byte(offset + index as u64)
        ))),
    }
}
