//! The first file system of a Linux guest that runs one program only.
//!
//! The program is this package's own, linked statically:
//! `RUSTFLAGS="-C target-feature=+crt-static" cargo build --release -p linux-guest --target x86_64-unknown-linux-gnu`.
//! The kernel is any that has virtio over PCI, FUSE, virtio-fs and DAX built in, as Debian's cloud kernels have: then
//! it needs no modules. Its command line says what to do, see the program.

/// A field of the archive's headers: eight hexadecimal digits.
fn field(archive: &mut Vec<u8>, value: usize) {
    archive.extend_from_slice(format!("{value:08x}").as_bytes());
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// One entry of the archive. The number of a device is its major and minor one.
fn entry(archive: &mut Vec<u8>, name: &str, mode: usize, contents: &[u8], device: (usize, usize)) {
    archive.extend_from_slice(b"070701");
    let serial = archive.len();
    let (uid, gid, links, time) = (0, 0, 1, 0);
    for value in [serial, mode, uid, gid, links, time, contents.len(), 0, 0, device.0, device.1, name.len() + 1, 0] {
        field(archive, value);
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(contents);
    pad(archive);
}

/// An archive for `-initrd` in which the kernel finds `init` to run, a console, and folders to mount on.
///
/// The format is `newc`, which `cpio(5)` describes.
pub fn initramfs(init: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(init.len() + 4096);
    for folder in ["dev", "proc", "sys", "mnt"] {
        entry(&mut archive, folder, 0o40755, &[], (0, 0));
    }
    entry(&mut archive, "dev/console", 0o20600, &[], (5, 1));
    entry(&mut archive, "init", 0o100_755, init, (0, 0));
    entry(&mut archive, "TRAILER!!!", 0, &[], (0, 0));
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and contents, as a reader of the format finds them.
    fn entries(mut archive: &[u8]) -> Vec<(String, usize, Vec<u8>)> {
        let mut found = Vec::new();
        while archive.len() >= 110 {
            assert_eq!(&archive[..6], b"070701");
            let number = |index: usize| {
                let digits = std::str::from_utf8(&archive[6 + index * 8..14 + index * 8]).expect("digits");
                usize::from_str_radix(digits, 16).expect("hexadecimal")
            };
            let (mode, size, name_len) = (number(1), number(6), number(11));
            let name = String::from_utf8(archive[110..110 + name_len - 1].to_vec()).expect("UTF-8");
            let start = (110 + name_len).next_multiple_of(4);
            found.push((name, mode, archive[start..start + size].to_vec()));
            archive = &archive[(start + size).next_multiple_of(4)..];
        }
        assert!(archive.is_empty());
        found
    }

    #[test]
    fn the_archive_holds_what_the_kernel_looks_for() {
        for len in [0, 1, 2, 3, 4, 5000] {
            let init = vec![7; len];
            let found = entries(&initramfs(&init));
            assert!(found.contains(&("init".to_owned(), 0o100_755, init)));
            assert!(found.contains(&("dev/console".to_owned(), 0o20600, Vec::new())));
            assert_eq!(found.last().map(|(name, ..)| name.as_str()), Some("TRAILER!!!"));
        }
    }
}
