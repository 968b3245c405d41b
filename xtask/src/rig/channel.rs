//! What QEMU sends over its sockets, as one stream of messages.

use anyhow::{Context, Result};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    thread,
};

/// A socket that QEMU connects to when it starts, listening before QEMU does.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at a path.
    ///
    /// # Errors
    /// When the path is taken or too long.
    pub(crate) fn listen(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self { listener, path: path.to_path_buf() })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands the connection to a thread once QEMU has made it. The thread ends with the connection, or when this end is
    /// shut by [`unblock`].
    pub(crate) fn on_connection(self, action: impl FnOnce(UnixStream) + Send + 'static) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            if let Ok((stream, _)) = self.listener.accept() {
                action(stream);
            }
        })
    }
}

/// Lets a thread go that waits for a QEMU that will never connect.
pub(crate) fn unblock(path: &Path) {
    // If nobody listens any more there is nothing to unblock.
    let _ = UnixStream::connect(path);
}

/// Copies what comes in to a log and hands it on, until the end.
pub(crate) fn pump<M>(
    mut stream: UnixStream,
    mut log: File,
    sender: &Sender<M>,
    message: impl Fn(Vec<u8>) -> M,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        log.write_all(&buffer[..length])?;
        if sender.send(message(buffer[..length].to_vec())).is_err() {
            return Ok(());
        }
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes more bytes and gives the lines that are complete, without their ends.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        complete[..end]
            .split(|&byte| byte == b'\n')
            .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
            .collect()
    }

    /// What came after the last end of a line.
    pub(crate) fn unfinished(&self) -> Option<String> {
        (!self.rest.is_empty()).then(|| String::from_utf8_lossy(&self.rest).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"ab"), Vec::<String>::new());
        assert_eq!(lines.push(b"c\nd\r\n\ne"), ["abc", "d", ""]);
        assert_eq!(lines.unfinished().as_deref(), Some("e"));
        assert_eq!(lines.push(b"\n"), ["e"]);
        assert_eq!(lines.unfinished(), None);
    }

    #[test]
    fn a_thread_that_waits_in_vain_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::listen(&dir.path().join("s")).unwrap();
        let path = socket.path().to_path_buf();
        let thread = socket.on_connection(drop);
        unblock(&path);
        thread.join().unwrap();
        unblock(&path);
    }
}
