//! The commands of `mode=run`. Their output goes to the host byte for byte.

use crate::{
    bench, cmdline,
    digest::Sha256,
    events::{self, Output},
    listing,
    mount::{self, Fs},
    scenarios::{Machine, Outcome, Stop},
    show,
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write;
use fuse_proto::Errno;
use virtio_fs::{Config, Error, File, OpenOptions};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// What `help` says.
const HELP: &str = "\
ls PATH               lists a folder
cat PATH              writes a file's bytes
sha256 PATH...        writes files' SHA-256, as sha256sum does
stat PATH             shows a file's attributes
map PATH OFFSET LEN   shows bytes of a file where they lie in the window, with no copy
write PATH TEXT       makes a file with this text
mounts                shows the device, the session and the window
stats                 shows what the driver did
bench                 measures, with files that it makes and removes
bench thrash          measures what needs a window smaller than 64 MiB
help                  shows this
";

/// Runs one command.
///
/// # Errors
/// One sentence for whoever typed it.
pub(crate) fn run(machine: &Machine, words: &[String]) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // What is wrong with the command is said before anything is mounted.
    let command: fn(&Fs, &[&str]) -> Outcome = match words.as_slice() {
        ["help"] => {
            events::output(HELP.as_bytes());
            return Ok(());
        }
        ["bench"] => return bench::run(machine),
        ["bench", "thrash"] => return bench::thrash(machine),
        ["ls"] | ["ls", _] => ls,
        ["cat", _] => cat,
        ["sha256", _, ..] => sha256,
        ["stat", _] => stat,
        ["map", _, _, _] => map,
        ["write", _, _] => write,
        ["mounts"] => mounts,
        ["stats"] => stats,
        [name @ ("ls" | "cat" | "sha256" | "stat" | "map" | "write" | "mounts" | "stats" | "bench" | "help"), ..] => {
            return Err(Stop::Fail(format!("{name}: wrong number of arguments; `help` shows what it takes")));
        }
        _ => {
            let name = words.first().copied().unwrap_or_default();
            return Err(Stop::Fail(format!("there is no command `{name}`; `help` shows those there are")));
        }
    };
    let fs = mount::mount(machine, Config::default())?;
    let outcome = command(&fs, &words[1..]);
    fs.unmount()?;
    outcome
}

fn ls(fs: &Fs, words: &[&str]) -> Outcome {
    let path = words.first().copied().unwrap_or("/");
    let attr = fs.attr(path).map_err(|error| about(path, &error))?;
    if !attr.is_dir() {
        writeln!(Output, "{} {:>12} {path}", show::Mode(attr.mode), attr.size)?;
        return Ok(());
    }
    for (entry, attr) in listing::list(fs, path).map_err(|error| about(path, &error))? {
        write!(Output, "{} {:>12} ", show::Mode(attr.mode), attr.size)?;
        events::output(&entry.name);
        events::output(b"\n");
    }
    Ok(())
}

fn cat(fs: &Fs, words: &[&str]) -> Outcome {
    each_block(fs, words[0], events::output)
}

fn sha256(fs: &Fs, words: &[&str]) -> Outcome {
    for path in words {
        let mut digest = Sha256::new();
        each_block(fs, path, |bytes| digest.update(bytes))?;
        writeln!(Output, "{}  {path}", digest.finish())?;
    }
    Ok(())
}

fn stat(fs: &Fs, words: &[&str]) -> Outcome {
    let path = words[0];
    let attr = fs.attr(path).map_err(|error| about(path, &error))?;
    writeln!(Output, "{path}")?;
    writeln!(Output, "  size     {}", attr.size)?;
    writeln!(Output, "  blocks   {}", attr.blocks)?;
    writeln!(Output, "  mode     {} ({:o})", show::Mode(attr.mode), attr.mode)?;
    writeln!(Output, "  inode    {}", attr.ino)?;
    writeln!(Output, "  links    {}", attr.nlink)?;
    writeln!(Output, "  owner    {}:{}", attr.uid, attr.gid)?;
    writeln!(Output, "  modified {}", show::Time(attr.mtime))?;
    Ok(())
}

fn map(fs: &Fs, words: &[&str]) -> Outcome {
    let path = words[0];
    let [offset, length] = [words[1], words[2]].map(cmdline::number);
    let (Some(offset), Some(length)) = (offset, length.and_then(|length| usize::try_from(length).ok())) else {
        return Err(Stop::Fail(format!("map: `{} {}` are not two numbers", words[1], words[2])));
    };
    let file = open(fs, path)?;
    let mut at = offset;
    let end = offset.saturating_add(length as u64);
    while at < end {
        let view = file.map(at, (end - at) as usize).map_err(|error| about(path, &error))?;
        writeln!(Output, "{path}: {} bytes from {at} are at physical address {:#x}", view.len(), view.phys_addr())?;
        let bytes: Vec<u8> = view.iter().collect();
        show::dump(&mut Output, at, &bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

fn write(fs: &Fs, words: &[&str]) -> Outcome {
    fs.write(words[0], words[1].as_bytes()).map_err(|error| about(words[0], &error))?;
    writeln!(Output, "{}: {} bytes written", words[0], words[1].len())?;
    Ok(())
}

fn mounts(fs: &Fs, _: &[&str]) -> Outcome {
    show::session(&mut Output, fs)?;
    Ok(())
}

fn stats(fs: &Fs, _: &[&str]) -> Outcome {
    show::stats(&mut Output, &fs.stats())?;
    Ok(())
}

fn open(fs: &Fs, path: &str) -> Result<File<spin::Mutex<()>>, Stop> {
    fs.open(path, OpenOptions::new().read(true)).map_err(|error| about(path, &error))
}

/// Calls `use_bytes` for every block of a file.
pub(crate) fn each_block(fs: &Fs, path: &str, mut use_bytes: impl FnMut(&[u8])) -> Outcome {
    let file = open(fs, path)?;
    let mut buffer = vec![0; BLOCK];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset).map_err(|error| about(path, &error))?;
        if count == 0 {
            return Ok(());
        }
        use_bytes(&buffer[..count]);
        offset += count as u64;
    }
}

/// An error with the path that it is about.
fn about(path: &str, error: &Error) -> Stop {
    let Error::Os(errno) = error else { return Stop::Fail(format!("{path}: {error}")) };
    let what = match *errno {
        Errno::ENOENT => "the share has no such file or folder",
        Errno::EACCES | Errno::EPERM => "the host does not let the daemon do this",
        Errno::EISDIR => "this is a folder",
        Errno::ENOTDIR => "a part of the path is no folder",
        Errno::EROFS => "the share is read-only",
        Errno::ENOSPC => "the host's disk is full",
        _ => "the host refused",
    };
    Stop::Fail(format!("{path}: {what} ({errno})"))
}
