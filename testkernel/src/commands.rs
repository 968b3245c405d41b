//! The commands of `mode=run`. Their output goes to the host byte for byte.

use crate::{
    benchmarks, cmdline,
    digest::Sha256,
    events::{self, Output},
    listing,
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, Stop},
    show,
    units::{Bytes, Mode, Time},
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
shell                 runs the commands that are typed, or piped in, one a line
";

/// Runs one command, with a session of its own.
///
/// # Errors
/// One sentence for whoever typed it.
pub(crate) fn run(machine: &Machine, words: &[String]) -> Outcome {
    let mut session = Session { machine, fs: None };
    let outcome = session.run(words);
    session.end()?;
    outcome
}

/// What a command does.
enum Action {
    /// Something without a file system.
    Alone(fn(&Machine) -> Outcome),
    /// Something with one.
    Mounted(fn(&Fs, &[&str]) -> Outcome),
}

/// Commands that share a file system, which the first one that needs it mounts.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    machine: &'a Machine,
    fs: Option<Fs>,
}

impl<'a> Session<'a> {
    /// One that has mounted nothing yet.
    pub(crate) fn new(machine: &'a Machine) -> Self {
        Self { machine, fs: None }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// One sentence for whoever typed it.
    pub(crate) fn run(&mut self, words: &[String]) -> Outcome {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // What is wrong with the command is said before anything is mounted.
        match action(&words)? {
            Action::Alone(action) => {
                // It may want the device for itself.
                self.end()?;
                action(self.machine)
            }
            Action::Mounted(action) => {
                let fs = match self.fs.take() {
                    Some(fs) => fs,
                    None => mount::mount(self.machine, Config::default())?,
                };
                let outcome = action(&fs, &words[1..]);
                self.fs = Some(fs);
                outcome
            }
        }
    }

    /// Unmounts.
    ///
    /// # Errors
    /// Those of the driver.
    pub(crate) fn end(&mut self) -> Outcome {
        match self.fs.take() {
            Some(fs) => Ok(fs.unmount()?),
            None => Ok(()),
        }
    }
}

/// The command that the words are.
fn action(words: &[&str]) -> Result<Action, Stop> {
    Ok(Action::Mounted(match words {
        ["help"] => return Ok(Action::Alone(help)),
        ["bench"] => return Ok(Action::Alone(benchmarks::run)),
        ["bench", "thrash"] => return Ok(Action::Alone(benchmarks::thrash)),
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
    }))
}

fn help(_: &Machine) -> Outcome {
    events::output(HELP.as_bytes());
    Ok(())
}

fn ls(fs: &Fs, words: &[&str]) -> Outcome {
    let path = words.first().copied().unwrap_or("/");
    let attr = fs.attr(path).map_err(|error| about(path, &error))?;
    if !attr.is_dir() {
        writeln!(Output, "{} {:>12} {path}", Mode(attr.mode), attr.size)?;
        return Ok(());
    }
    let (mut failed, mut first) = (0, None);
    for (entry, attr) in listing::list_each(fs, path).map_err(|error| about(path, &error))? {
        match attr {
            Ok(attr) => write!(Output, "{} {:>12} ", Mode(attr.mode), attr.size)?,
            Err(error) => {
                write!(Output, "?????????? {:>12} ", '?')?;
                failed += 1;
                first.get_or_insert(about(&String::from_utf8_lossy(&entry.name), &error));
            }
        }
        events::output(&entry.name);
        events::output(b"\n");
    }
    match first {
        Some(Stop::Fail(message)) if failed > 1 => Err(Stop::Fail(format!("{message}; and {} more", failed - 1))),
        Some(stop) => Err(stop),
        None => Ok(()),
    }
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
    writeln!(Output, "  size     {} ({})", attr.size, Bytes(attr.size))?;
    writeln!(Output, "  blocks   {}", attr.blocks)?;
    writeln!(Output, "  mode     {} ({:o})", Mode(attr.mode), attr.mode)?;
    writeln!(Output, "  inode    {}", attr.ino)?;
    writeln!(Output, "  links    {}", attr.nlink)?;
    writeln!(Output, "  owner    {}:{}", attr.uid, attr.gid)?;
    writeln!(Output, "  modified {}", Time { seconds: attr.mtime.secs, nanoseconds: attr.mtime.nanos })?;
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
