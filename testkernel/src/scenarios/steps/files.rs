//! Files of the share, read and checked byte for byte.

use crate::{
    digest::Sha256,
    events,
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
};
use alloc::{format, vec, vec::Vec};
use testkernel_protocol::{content::Content, share};
use virtio_fs::OpenOptions;

/// Reads the files of every size, whole and in pieces, and checks every byte.
pub(crate) fn read_all(fs: &Fs) -> Outcome {
    for size in share::SIZES {
        let name = share::sized(size);
        check_whole(fs, &name, size, 1 << 20)?;
        check_pieces(fs, &name, size)?;
    }
    Ok(())
}

/// Reads a file from begin to end in blocks, checks every byte and reports its SHA-256 to the host.
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
