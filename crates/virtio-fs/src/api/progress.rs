//! Calls that go on until all bytes are there: from a server that moves next to nothing at a time, they would take for ever.

use fuse_proto::Errno;

use crate::Error;

/// So many steps may move as little as they like.
const FREE: u64 = 64;
/// Bytes that the others have to move, each on average.
const LEAST: u64 = 512;

/// What the steps of a call have moved.
#[derive(Debug)]
pub(super) struct Progress {
    steps: u64,
    bytes: u64,
}

impl Progress {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { steps: 0, bytes: 0 }
    }

    /// Notes a step that moved so many bytes.
    ///
    /// # Errors
    ///
    /// EIO if all of them together moved too little.
    pub(super) fn made(&mut self, bytes: usize) -> Result<(), Error> {
        self.steps += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes < self.steps.saturating_sub(FREE).saturating_mul(LEAST) {
            return Err(Error::refused(Errno::EIO, "the server moves next to nothing at a time"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_ends() {
        let mut progress = Progress::new();
        let steps = (0..100_000).take_while(|_| progress.made(1).is_ok()).count();
        assert_eq!(steps, 64);
    }

    #[test]
    fn pages_and_single_bytes_between_them_go_on() {
        let mut progress = Progress::new();
        for step in 0..100_000 {
            progress.made(if step % 4 == 0 { 4096 } else { 1 }).unwrap();
        }
    }
}
