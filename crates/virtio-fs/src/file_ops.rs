//! What is done to a file as a whole: open, sizes, attributes, allocation, synchronisation.

use alloc::sync::Arc;
use alloc::vec::Vec;

use dax_window::{InvalidateKind, Writeback, WritebackTicket};
use fs_dax::{FileRange, MetadataChange, UnmapCause};
use fuse_proto::{Attr, Errno, FallocateMode, FileHandle, InitFlags};
use lock_api::RawMutex;

use crate::dax_io::{Dax, PINNED};
use crate::dirt::Taken;
use crate::inode::Inode;
use crate::shared::Shared;
use crate::stats::Counters;
use crate::wait::wait_for;
use crate::{Credentials, Error, File, OpenOptions, SetAttr};

/// Write-backs that one FSYNC covers at most; more dirty ranges take another FSYNC.
const WRITEBACKS_AT_ONCE: usize = 8;

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// See [`crate::VirtioFs::open`].
    pub(crate) fn open_path(
        self: &Arc<Self>,
        who: Credentials,
        path: &[u8],
        options: OpenOptions,
    ) -> Result<File<R>, Error> {
        // The server refuses a name that exists, so it need not be asked whether it does. A path that ends in / is an error
        // that depends on what it names.
        let ask_first = !options.must_create() || path.ends_with(b"/");
        let walked = self.walk_components(who, path, options.follows(), ask_first)?;
        match walked.inode {
            Some(_) if options.must_create() => Err(Error::Os(Errno::EEXIST)),
            Some(inode) => self.open_inode(who, &inode, options),
            None if !options.creates() => Err(Error::Os(Errno::ENOENT)),
            None if walked.must_be_dir => {
                Err(Error::refused(Errno::EISDIR, "a file cannot have a name that ends in /"))
            }
            None => self.create_file(who, &walked.parent, &walked.name, options),
        }
    }

    /// Creates `name` in a directory and opens it.
    pub(crate) fn create_file(
        self: &Arc<Self>,
        who: Credentials,
        parent: &Arc<Inode<R>>,
        name: &[u8],
        options: OpenOptions,
    ) -> Result<File<R>, Error> {
        let (entry, opened) = self.op_create(who, parent.nodeid, name, options)?;
        let inode = self.adopt(parent, name, &entry)?;
        parent.expire_attr();
        Ok(File::new(self.clone(), inode, Some(opened), who, options))
    }

    /// Opens a file that exists.
    pub(crate) fn open_inode(
        self: &Arc<Self>,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        options: OpenOptions,
    ) -> Result<File<R>, Error> {
        if inode.is_dir() {
            return Err(Error::refused(Errno::EISDIR, "a directory cannot be opened as a file"));
        }
        if inode.is_symlink() {
            return Err(Error::refused(Errno::ELOOP, "a symbolic link where none may be"));
        }
        let atomic = self.protocol.has(InitFlags::ATOMIC_O_TRUNC);
        if options.truncates() && atomic {
            let (opened, _) = self.changing_size(inode, 0, || self.op_open(who, inode.nodeid, options.flags(true)))?;
            return Ok(File::new(self.clone(), inode.clone(), opened, who, options));
        }
        let opened = self.op_open(who, inode.nodeid, options.flags(false))?;
        let file = File::new(self.clone(), inode.clone(), opened, who, options);
        if options.truncates() {
            self.set_size(who, inode, file.fh, 0)?;
        }
        Ok(file)
    }

    /// Carries out something that cuts the file to `size`: nothing past it is mapped meanwhile. Returns with it what
    /// [`Inode::size_changes`] said when it was done.
    fn changing_size<T>(
        &self,
        inode: &Inode<R>,
        size: u64,
        change: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        self.check_alive(inode)?;
        // Private copies are installed with no hold on the window: they learn from the layout that the file was cut.
        let _layout = inode.layout.change();
        let _epoch = inode.epoch.change(MetadataChange::SizeChange);
        let frozen = self.freeze(inode.key, FileRange::from(size), InvalidateKind::Remove, UnmapCause::Truncate)?;
        inode.note_size_change();
        inode.note_truncate();
        let result = change();
        if result.is_ok() {
            // Before anybody is let in again: whoever comes first must not go by the old size.
            inode.set_size(size);
            self.take_copies(inode.key, FileRange::from(size));
        }
        inode.note_truncate();
        inode.note_size_change();
        inode.expire_attr();
        let since = inode.size_changes();
        self.thaw(frozen);
        result.map(|value| (value, since))
    }

    /// Cuts or stretches a file.
    pub(crate) fn set_size(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        fh: Option<FileHandle>,
        size: u64,
    ) -> Result<(), Error> {
        self.set_attr(who, inode, fh, &SetAttr { size: Some(size), ..SetAttr::default() }).map(drop)
    }

    /// Changes attributes.
    pub(crate) fn set_attr(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        fh: Option<FileHandle>,
        changes: &SetAttr,
    ) -> Result<Attr, Error> {
        let send = || self.op_setattr(who, inode.nodeid, fh, changes);
        let Some(size) = changes.size else {
            let since = inode.size_changes();
            let (attr, valid) = send()?;
            self.take_attr(inode, &attr, valid, since);
            return Ok(attr);
        };
        if i64::try_from(size).is_err() {
            return Err(Error::refused(Errno::EFBIG, "a size past the largest offset"));
        }
        let ((attr, valid), since) = self.changing_size(inode, size, send)?;
        self.take_attr(inode, &attr, valid, since);
        Ok(attr)
    }

    /// See [`File::allocate`].
    pub(crate) fn allocate(&self, file: &File<R>, mode: FallocateMode, offset: u64, len: u64) -> Result<(), Error> {
        let inode = &file.inode;
        self.check_alive(inode)?;
        let end = offset
            .checked_add(len)
            .filter(|&end| len > 0 && i64::try_from(end).is_ok())
            .ok_or(Error::refused(Errno::EINVAL, "an empty range or one past the largest offset"))?;
        let moves = mode.intersects(FallocateMode::COLLAPSE_RANGE | FallocateMode::INSERT_RANGE);
        let takes = mode.intersects(FallocateMode::PUNCH_HOLE | FallocateMode::ZERO_RANGE);
        let _epoch =
            inode.epoch.change(if moves || takes { MetadataChange::Deallocate } else { MetadataChange::Allocate });
        let _layout = (moves || takes).then(|| inode.layout.change());
        let frozen = if moves {
            self.freeze(inode.key, FileRange::from(offset), InvalidateKind::Remove, UnmapCause::Truncate)?
        } else if takes {
            // The host keeps mappings coherent with a hole: they stay, nobody may be in them, page tables let go.
            self.freeze(inode.key, FileRange::between(offset, end), InvalidateKind::Quiesce, UnmapCause::Punch)?
        } else {
            None
        };
        let cuts = inode.truncate_seq();
        inode.note_size_change();
        if moves {
            inode.note_truncate();
        }
        let result = self.op_fallocate(file.who, inode.nodeid, file.fh.unwrap_or_default(), mode, offset, len);
        if result.is_ok() {
            if moves {
                self.take_copies(inode.key, FileRange::from(offset));
            }
            if mode.contains(FallocateMode::COLLAPSE_RANGE) {
                // Before anybody is let in again, as when a file is cut.
                inode.set_size(inode.size().saturating_sub(len));
            } else if !moves && !mode.contains(FallocateMode::KEEP_SIZE) {
                inode.grow_to(offset, end, cuts);
            }
            if moves || mode.contains(FallocateMode::PUNCH_HOLE) {
                inode.note_hole();
            }
        }
        if moves {
            inode.note_truncate();
        }
        inode.note_size_change();
        inode.expire_attr();
        self.thaw(frozen);
        result?;
        if moves || self.needs_prealloc(inode) {
            // Where the holes are now, the server knows.
            self.refresh_attr(file.who, inode, file.fh)?;
        }
        Ok(())
    }

    /// See [`File::copy_range`].
    pub(crate) fn copy_range(
        &self,
        from: &File<R>,
        offset: u64,
        to: &File<R>,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, Error> {
        self.check_alive(&from.inode)?;
        self.check_alive(&to.inode)?;
        let _epoch = to.inode.epoch.change(MetadataChange::CopyFileRange);
        let cuts = to.inode.truncate_seq();
        to.inode.note_size_change();
        let result = self.op_copy_file_range(from, offset, to, to_offset, len);
        if let Ok(copied) = &result
            && *copied > 0
        {
            to.inode.grow_to(to_offset, to_offset.saturating_add(*copied), cuts);
        }
        to.inode.note_size_change();
        to.inode.expire_attr();
        result
    }

    /// See [`File::sync_all`].
    pub(crate) fn sync_file(&self, file: &File<R>, data_only: bool) -> Result<(), Error> {
        self.sync_bytes(file, FileRange::between(0, u64::MAX), data_only)
    }

    /// Makes the stores to some bytes of a file durable.
    ///
    /// The order matters: dirty pages are taken, then write-protected, so that a store after that is a fault that makes its
    /// page dirty again; then FSYNC; then what was taken is clean, or dirty again if FSYNC failed.
    pub(crate) fn sync_bytes(&self, file: &File<R>, bytes: FileRange, data_only: bool) -> Result<(), Error> {
        self.check_mounted()?;
        let inode = &file.inode;
        self.check_alive(inode)?;
        let mut from = bytes.start();
        loop {
            let taken = self.take_dirty_pages(inode, bytes)?;
            let mut tickets = Vec::new();
            let more = match &self.dax {
                Some(dax) => self.collect_dirty(dax, inode, &mut from, bytes.end(), &mut tickets),
                None => Ok(false),
            };
            self.write_protect(inode, &taken.runs);
            let epoch = inode.epoch.seen();
            let result = more.and_then(|more| {
                let fh = file.fh.unwrap_or_default();
                self.op_fsync(file.who, inode.nodeid, fh, data_only).map(|answered| (more, answered))
            });
            let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);
            inode.dirt.lock().finish(taken.writeback.write_protected().flushed(), reply);
            if let Some(dax) = &self.dax {
                for ticket in tickets {
                    dax.with(|window| window.end_writeback(ticket, result.is_ok()));
                }
            }
            let (more, answered) = result?;
            if !more {
                if answered {
                    inode.epoch.synced(epoch);
                }
                return Ok(());
            }
        }
    }

    /// Takes the dirty pages of a file for write-back, waiting for another write-back to end.
    fn take_dirty_pages(&self, inode: &Inode<R>, bytes: FileRange) -> Result<Taken, Error> {
        let deadline = self.now().saturating_add(self.config.window_timeout);
        let taken = wait_for(&*self.connection.platform, deadline, || {
            self.connection.process();
            inode.dirt.lock().begin(bytes)
        });
        taken.ok_or(Error::refused(Errno::EBUSY, "a write-back did not end before the deadline"))
    }

    /// Takes the dirty ranges of a file for write-back, from the offset `from` on; returns whether there are more.
    ///
    /// Stores into the window are in the host's page cache already; what is left is FSYNC.
    fn collect_dirty(
        &self,
        dax: &Dax<R>,
        inode: &Inode<R>,
        from: &mut u64,
        end: u64,
        tickets: &mut Vec<WritebackTicket>,
    ) -> Result<bool, Error> {
        let deadline = self.now().saturating_add(self.config.window_timeout);
        while tickets.len() < WRITEBACKS_AT_ONCE {
            match dax.with(|window| window.begin_writeback(inode.key, FileRange::between(*from, end))) {
                Writeback::Clean => return Ok(false),
                Writeback::Further(offset) => *from = offset.0,
                Writeback::Ranges(ticket) => {
                    let rest = ticket.rest();
                    tickets.push(ticket);
                    match rest {
                        Some(offset) => *from = offset.0,
                        None => return Ok(false),
                    }
                }
                Writeback::Remove(ticket) => {
                    if !self.remove(dax, ticket) {
                        return Err(PINNED);
                    }
                }
                // Others write the rest back or remove it: what was taken so far goes first.
                Writeback::Wait(_) if !tickets.is_empty() => return Ok(true),
                Writeback::Wait(wait) => {
                    if !self.wait_for(dax, wait, deadline) {
                        return Err(Error::refused(Errno::EBUSY, "a write-back did not end before the deadline"));
                    }
                }
            }
        }
        Ok(true)
    }

    /// Makes pages read-only in all page tables.
    fn write_protect(&self, inode: &Inode<R>, runs: &[FileRange]) {
        let Some(owner) = self.dax.as_ref().and_then(Dax::owner) else { return };
        for run in runs {
            Counters::add(&self.counters.protected_pages, run.len().div_ceil(fs_dax::PAGE_SIZE));
            owner.write_protect(inode.key, *run);
        }
    }

    /// Takes the pages of a file that was marked failed out of all page tables.
    pub(crate) fn unmap_failed(&self, inode: &Inode<R>) {
        let Some(owner) = self.dax.as_ref().and_then(Dax::owner) else { return };
        let _layout = inode.layout.change();
        owner.unmap(inode.key, FileRange::between(0, u64::MAX), UnmapCause::Failure);
    }

    /// See [`crate::VirtioFs::unmount`].
    pub(crate) fn unmount(&self) -> Result<(), Error> {
        use core::sync::atomic::Ordering;

        let maps = self.maps.load(Ordering::Acquire);
        if maps > 0 {
            return Err(Error::Busy { maps });
        }
        if self.unmounted.swap(true, Ordering::AcqRel) {
            return Err(Error::Unmounted);
        }
        let drained = self.drain_window();
        if drained.is_ok()
            && let Some(dax) = &self.dax
        {
            dax.memory.unmap(&*self.connection.platform);
        }
        if !self.connection.is_dead() {
            // Late replies are answers to requests about inodes that are not forgotten yet.
            self.connection.quiesce();
            self.settle_late();
        }
        let root = self.take_root();
        let inodes = self.inodes.lock().drain();
        for (inode, owed) in &inodes {
            self.owe_forget(inode.nodeid, *owed);
        }
        drop((root, inodes));
        self.flush_forgets();
        let destroyed = if self.connection.is_dead() {
            Err(Error::Dead)
        } else {
            self.connection.quiesce();
            self.op_destroy()
        };
        self.connection.stop();
        drained.and(destroyed)
    }

    /// Removes all mappings; nothing uses the window afterwards.
    fn drain_window(&self) -> Result<(), Error> {
        let Some(dax) = &self.dax else { return Ok(()) };
        let deadline = self.now().saturating_add(self.config.window_timeout);
        dax.with(|window| window.begin_drain());
        loop {
            match dax.with(|window| window.drain_step()) {
                dax_window::Step::Clear => return Ok(()),
                dax_window::Step::Remove(ticket) => {
                    if !self.remove(dax, ticket) {
                        return Err(PINNED);
                    }
                }
                dax_window::Step::Wait(wait) => {
                    if !self.wait_for(dax, wait, deadline) {
                        return Err(Error::refused(Errno::EBUSY, "ranges of the window stayed in use"));
                    }
                }
            }
        }
    }
}
