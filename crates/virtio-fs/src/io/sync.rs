//! Making stores durable.

use core::time::Duration;

use fs_dax::FileRange;
use fuse_proto::{Errno, Opcode};

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::space;
use crate::volume::commits::{Round, Turn, Wanted};
use crate::volume::dirty_pages::Taken;
use crate::volume::inode::Inode;
use crate::{Error, Lock};

/// How long to sleep at most before looking whether somebody else is done: the device does not wake those who wait for others.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl<R: Lock> FileIo<R> {
    /// Makes the stores to some bytes of a file durable, by an FSYNC that begins now or by one that others wait for too.
    pub(crate) fn sync(&self, file: &OpenFile<R>, bytes: FileRange, data_only: bool) -> Result<(), Error> {
        self.volume.check_mounted()?;
        let inode = &file.inode;
        self.volume.check_alive(inode)?;
        let round = inode.commits.lock().join(Wanted { bytes, data_only });
        let result = match self.turn(inode, round) {
            Turn::Ended(result) => result,
            Turn::Lead(wanted) => {
                let result = self.commit(file, wanted);
                inode.commits.lock().end(round, &result, &file.errors_returned);
                result
            }
        };
        let error = inode.commits.lock().error_for(&file.errors_returned);
        result.and_then(|()| error.map_or(Ok(()), |errno| Err(Error::Os(errno))))
    }

    /// After a write through the window to a file that needs its writes durable when they return. Returns whether the server
    /// makes anything durable.
    pub(super) fn sync_write(&self, file: &OpenFile<R>, bytes: FileRange) -> Result<bool, Error> {
        self.sync(file, bytes, !file.options.is_sync())?;
        Ok(!self.rpc().is_unsupported(Opcode::FSYNC))
    }

    /// Waits for what becomes of a round. Whoever carries the one before out does not wait for anybody, and has deadlines.
    fn turn(&self, inode: &Inode<R>, round: Round) -> Turn {
        loop {
            let soon = self.rpc().now().saturating_add(LOOK_AGAIN);
            if let Some(turn) = self.rpc().wait_for(soon, || inode.commits.lock().turn(round)) {
                return turn;
            }
        }
    }

    /// Makes stores durable for all that wait for it.
    ///
    /// The order matters: dirty pages are taken, then write-protected, so that a store after that is a fault that makes its
    /// page dirty again; then FSYNC; then what was taken is clean, or dirty again if FSYNC failed.
    fn commit(&self, file: &OpenFile<R>, Wanted { bytes, data_only }: Wanted) -> Result<(), Error> {
        let inode = &file.inode;
        let mut from = Some(bytes.start());
        while let Some(start) = from {
            let taken = self.take_dirty_pages(inode, bytes)?;
            let begun = self.store_pages_again(file, &taken.runs).and_then(|()| {
                let bytes = FileRange::between(start, bytes.end());
                self.window().map(|window| window.begin_writeback(inode.key, bytes)).transpose()
            });
            let ranges = begun.inspect(|ranges| self.store_ranges_again(inode, ranges.as_ref()));
            self.write_protect(inode, &taken.runs);
            self.volume.flush_times(&file.handle, inode);
            inode.fold_stores();
            let epoch = inode.epoch.seen();
            let result = ranges.and_then(|ranges| {
                let answered = space::fsync(self.rpc(), &file.handle, data_only);
                from = ranges.as_ref().and_then(|ranges| ranges.rest());
                if let (Some(window), Some(ranges)) = (self.window(), ranges) {
                    window.end_writeback(ranges, answered.is_ok());
                }
                answered
            });
            if result.is_err() {
                inode.note_sync_failed(true);
            }
            let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);
            inode.dirty_pages.lock().finish(taken.writeback.write_protected().flushed(), reply);
            if result? && from.is_none() {
                inode.epoch.synced(epoch);
            }
        }
        if bytes == FileRange::ALL {
            inode.note_sync_failed(false);
        }
        Ok(())
    }

    /// Makes dirty pages read-only in all page tables. A fault that was decided before and is not installed yet starts again.
    fn write_protect(&self, inode: &Inode<R>, runs: &[FileRange]) {
        let Some(window) = self.window() else { return };
        if !runs.is_empty() {
            inode.note_stores();
            let _layout = inode.layout.change();
            window.write_protect(inode.key, runs);
        }
    }

    /// Takes the dirty pages of a file for write-back, waiting for another write-back to end.
    fn take_dirty_pages(&self, inode: &Inode<R>, bytes: FileRange) -> Result<Taken, Error> {
        // As long as the one that is under way may take.
        let now = self.rpc().now();
        let deadline = now.saturating_add(self.rpc().connection().patience().max(self.settings.timeout));
        match self.rpc().wait_for(deadline, || inode.dirty_pages.lock().begin(bytes)) {
            Some(taken) => Ok(taken),
            None if self.rpc().now() < deadline => Err(Error::Cancelled),
            None => Err(Error::refused(Errno::EBUSY, "a write-back did not end before the deadline")),
        }
    }
}
