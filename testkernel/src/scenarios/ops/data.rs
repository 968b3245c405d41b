//! What is done to a file's bytes.

use crate::{
    events,
    machine::Machine,
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        operations::{MAKE, READ, WRITE, begin, end, holds, refused},
    },
};
use alloc::{string::String, vec};
use core::fmt::Write;
use fuse_proto::{Errno, FallocateMode};
use testkernel_protocol::content::stream;
use virtio_fs::{OpenOptions, Sparse};

const MIB: u64 = 1 << 20;

/// A file is created, written, cut, stretched, appended to (sync `cut`), stretched, written and cut by megabytes (sync
/// `grown`), and cut when opened (sync `again`). The host looks at size and contents each time.
pub(crate) fn create_write_truncate(machine: &Machine) -> Outcome {
    const NAME: &str = "ops/truncated";
    let fs = begin(machine)?;
    refused("opening what isn't there", fs.open(NAME, WRITE), Errno::ENOENT)?;
    let new = WRITE.create_new(true);
    let file = fs.open(NAME, new)?;
    refused("creating what is there", fs.open(NAME, new), Errno::EEXIST)?;
    file.write_all_at(&stream("ops/data", 10_000), 0)?;
    file.set_len(6000)?;
    file.set_len(9000)?;
    let append = fs.open(NAME, OpenOptions::new().append(true))?;
    append.write_all_at(&stream("ops/data#2", 1000), 0)?;
    append.close()?;
    let mut expected = stream("ops/data", 6000);
    expected.resize(9000, 0);
    expected.extend(stream("ops/data#2", 1000));
    holds(&fs, NAME, &expected)?;
    ensure!(file.len()? == 10_000, "the file has {} bytes", file.len()?);
    wait_for_host("cut")?;

    file.set_len(4 * MIB)?;
    expected.resize(4 << 20, 0);
    holds(&fs, NAME, &expected)?;
    let pattern = stream("ops/data#3", 12_288);
    file.write_all_at(&pattern, MIB)?;
    file.set_len(MIB + 4096)?;
    file.set_len(3 * MIB)?;
    expected.truncate(3 << 20);
    expected[1 << 20..(1 << 20) + 4096].copy_from_slice(&pattern[..4096]);
    holds(&fs, NAME, &expected)?;
    wait_for_host("grown")?;

    let cut = fs.open(NAME, OpenOptions::new().read(true).write(true).truncate(true))?;
    ensure!(cut.len()? == 0 && file.len()? == 0, "a file that was cut when opened has {} bytes", cut.len()?);
    let mut byte = [0];
    ensure!(file.read_at(&mut byte, 0)? == 0, "a file that was cut when opened has a byte");
    cut.write_all_at(b"again", 3)?;
    holds(&fs, NAME, b"\0\0\0again")?;
    wait_for_host("again")?;
    refused("writing a file that is open for reading", fs.open(NAME, READ)?.write_at(b"x", 0), Errno::EBADF)?;
    refused("cutting a file that is open for reading", fs.open(NAME, READ)?.set_len(0), Errno::EBADF)?;
    drop((file, cut));
    end(&fs)
}

/// A file is allocated, written, punched and zeroed; sync `holes`: the host looks at size, contents, allocated blocks and
/// the holes. Info `map ops/holes`: data and holes as the driver learns them, which must be the host's.
pub(crate) fn fallocate_holes(machine: &Machine) -> Outcome {
    const NAME: &str = "ops/holes";
    let fs = begin(machine)?;
    let file = fs.open(NAME, MAKE)?;
    match file.allocate(FallocateMode::empty(), 0, 4 * MIB) {
        Err(error) if error.errno() == Errno::EOPNOTSUPP => {
            return Err(Stop::Skip("the host's file system allocates nothing".into()));
        }
        done => done?,
    }
    ensure!(file.len()? == 4 * MIB, "an allocated file has {} bytes", file.len()?);
    let mut expected = stream(NAME, 4 << 20);
    file.write_all_at(&expected, 0)?;
    holds(&fs, NAME, &expected)?;
    file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, MIB, MIB)?;
    expected[1 << 20..2 << 20].fill(0);
    holds(&fs, NAME, &expected)?;
    let zero = file.allocate(FallocateMode::ZERO_RANGE | FallocateMode::KEEP_SIZE, 3 * MIB, 4096);
    match &zero {
        Ok(()) => expected[3 << 20..(3 << 20) + 4096].fill(0),
        Err(error) => ensure!(error.errno() == Errno::EOPNOTSUPP, "zeroing a range: {error}"),
    }
    events::info("zeroed", &zero.is_ok());
    file.allocate(FallocateMode::KEEP_SIZE, 4 * MIB, MIB)?;
    ensure!(file.len()? == 4 * MIB, "allocating with KEEP_SIZE made it {} bytes", file.len()?);
    refused("allocating nothing", file.allocate(FallocateMode::empty(), 0, 0), Errno::EINVAL)?;
    holds(&fs, NAME, &expected)?;
    file.sync_all()?;
    wait_for_host("holes")?;
    tell_map(&fs, NAME)?;
    drop(file);
    end(&fs)
}

/// A million bytes from the middle of one file are copied to another on the host, and from one place of it to another
/// (sync `copied`), with none of them coming by here.
pub(crate) fn copy_range(machine: &Machine) -> Outcome {
    const FROM: &str = "files/size-5243003";
    const TO: &str = "ops/copied";
    const LENGTH: u64 = 1_000_000;
    let fs = begin(machine)?;
    let from = fs.open(FROM, READ)?;
    let to = fs.open(TO, MAKE)?;
    let before = fs.stats();
    for (source, offset, to_offset) in [(&from, 123_456, 0), (&to, 0, 2 * LENGTH)] {
        let mut done = 0;
        while done < LENGTH {
            let count = source.copy_range(offset + done, &to, to_offset + done, LENGTH - done)?;
            ensure!(count > 0, "nothing was copied at {done}");
            done += count;
        }
    }
    let after = fs.stats();
    let moved = after.request_read_bytes + after.request_write_bytes + after.dax_read_bytes + after.dax_write_bytes
        - (before.request_read_bytes + before.request_write_bytes + before.dax_read_bytes + before.dax_write_bytes);
    ensure!(moved == 0, "{moved} bytes came by here");
    ensure!(to.len()? == 3 * LENGTH, "the copy has {} bytes", to.len()?);
    let mut expected = stream(FROM, (123_456 + LENGTH) as usize);
    expected.drain(..123_456);
    let mut copy = expected.clone();
    copy.resize(2 * LENGTH as usize, 0);
    copy.append(&mut expected);
    holds(&fs, TO, &copy)?;
    wait_for_host("copied")?;
    drop((from, to));
    end(&fs)
}

/// Info `map NAME` of a sparse file and of one without holes: data and holes, which must be the host's.
pub(crate) fn lseek_sparse(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    tell_map(&fs, "files/sparse-67108864")?;
    tell_map(&fs, "files/size-4097")?;
    let file = fs.open("files/size-4097", READ)?;
    refused("data at the end", file.seek_sparse(4097, Sparse::Data), Errno::ENXIO)?;
    refused("a hole at the end", file.seek_sparse(4097, Sparse::Hole), Errno::ENXIO)?;
    drop(file);
    end(&fs)
}

/// A file without a name is written and read, or the server says that it has no such thing. The host sees no name.
pub(crate) fn tmpfile(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    match fs.lookup("ops")?.create_unnamed(WRITE) {
        Ok(file) => {
            file.write_all_at(&stream("unnamed", 5000), 0)?;
            let mut back = vec![0; 5000];
            file.read_exact_at(&mut back, 0)?;
            ensure!(back == stream("unnamed", 5000), "a file without a name does not give what was written");
            events::info("tmpfile", &"made");
        }
        Err(error) => {
            ensure!(error.errno() == Errno::EOPNOTSUPP, "a file without a name: {error}");
            events::info("tmpfile", &"unsupported");
        }
    }
    let count = fs.read_dir("ops")?.count();
    ensure!(count == 0, "{count} names in a folder where none was made");
    end(&fs)
}

/// Tells the host the data and the holes of a file: `data 0 4096 hole 4096 8192`.
fn tell_map(fs: &Fs, name: &str) -> Outcome {
    let file = fs.open(name, READ)?;
    let size = file.len()?;
    let mut map = String::new();
    let mut at = 0;
    while at < size {
        let data = match file.seek_sparse(at, Sparse::Data) {
            Ok(offset) => offset,
            Err(error) if error.errno() == Errno::ENXIO => size,
            Err(error) => return Err(error.into()),
        };
        let (kind, next) = if data > at { ("hole", data) } else { ("data", file.seek_sparse(at, Sparse::Hole)?) };
        ensure!(next > at && next <= size, "{name}: after {at} comes {next}");
        // Writing to a string cannot fail.
        let _ = write!(map, "{kind} {at} {next} ");
        at = next;
    }
    events::info(&alloc::format!("map {name}"), &map.trim_end());
    Ok(())
}
