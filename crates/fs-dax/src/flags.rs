//! Flags of a mapping: what is asked for, what the file can do, what was agreed.

use crate::Error;

bitflags::bitflags! {
    /// Flags of a mapping, with the numbers of `asm-generic/mman*.h`.
    ///
    /// The two lowest bits are the type and not flags of their own; unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MapFlags: u32 {
        /// Stores reach the file. Flags that the file does not know are ignored.
        const SHARED = 0x01;
        /// Stores go to a copy.
        const PRIVATE = 0x02;
        /// As shared, but flags that the file does not know are refused.
        const SHARED_VALIDATE = 0x03;
        /// At this address and nowhere else.
        const FIXED = 0x10;
        /// No file at all.
        const ANONYMOUS = 0x20;
        /// Grows downwards.
        const GROWSDOWN = 0x100;
        /// Ignored since long ago.
        const DENYWRITE = 0x800;
        /// Ignored since long ago.
        const EXECUTABLE = 0x1000;
        /// Pages stay in memory.
        const LOCKED = 0x2000;
        /// No swap space is put aside.
        const NORESERVE = 0x4000;
        /// Page tables are filled in advance.
        const POPULATE = 0x8000;
        /// Filling in advance does not block.
        const NONBLOCK = 0x1_0000;
        /// An address good for a stack.
        const STACK = 0x2_0000;
        /// Huge pages of the system's own pool.
        const HUGETLB = 0x4_0000;
        /// A page becomes writable only once the metadata it needs to be found again is durable.
        const SYNC = 0x8_0000;
        /// At this address, unless something is there.
        const FIXED_NOREPLACE = 0x10_0000;
        const _ = !0;
    }
}

impl MapFlags {
    /// The bits that hold the type.
    pub const TYPE_MASK: u32 = 0x0f;

    /// Flags that every file accepts, because programs have always been able to pass them: the type, and all that were
    /// there before flags were validated.
    pub const LEGACY: Self = Self::SHARED_VALIDATE
        .union(Self::FIXED)
        .union(Self::ANONYMOUS)
        .union(Self::GROWSDOWN)
        .union(Self::DENYWRITE)
        .union(Self::EXECUTABLE)
        .union(Self::LOCKED)
        .union(Self::NORESERVE)
        .union(Self::POPULATE)
        .union(Self::NONBLOCK)
        .union(Self::STACK)
        .union(Self::HUGETLB);
}

/// What the embedder states about synchronous mappings of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SyncPolicy {
    /// SYNC is refused: through a virtio-fs window data is durable only after FUSE_FSYNC, and a SYNC that is accepted
    /// and not kept makes programs lose data.
    #[default]
    Refused,
    /// The host maps persistent memory persistently: what a store and a cache-line flush leave behind stays. SYNC is
    /// what it is on such a machine.
    PersistentHost,
    /// The weaker thing: before a page becomes writable its blocks are allocated and the file's metadata is durable;
    /// *data* is durable only after fsync or msync. A program gets this only where its embedder asked for it by this
    /// name.
    MetadataDurable,
}

/// What an agreed mapping keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SyncMode {
    /// Write faults need no sync.
    #[default]
    None,
    /// A write fault needs the metadata durable.
    Persistent,
    /// A write fault needs blocks allocated and the metadata durable.
    MetadataDurable,
}

/// Which flags a file supports beyond [`MapFlags::LEGACY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMapping {
    supported: MapFlags,
    sync: SyncPolicy,
}

/// Whose stores a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Stores reach the file.
    Shared,
    /// Stores go to a copy of the page.
    Private,
}

/// A mapping that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Shared or private.
    pub sharing: Sharing,
    /// What a write fault has to wait for. [`SyncMode::None`] also where SYNC was passed and, by its rules, ignored.
    pub sync: SyncMode,
    /// The flags that count, type included; those that were ignored are gone.
    pub flags: MapFlags,
}

impl Agreed {
    /// Whether the mapping is synchronous, in whichever mode.
    #[must_use]
    pub const fn is_sync(&self) -> bool {
        !matches!(self.sync, SyncMode::None)
    }
}

impl FileMapping {
    /// A file that is not mapped directly: no SYNC, whatever the policy.
    pub const NOT_DAX: Self = Self { supported: MapFlags::LEGACY, sync: SyncPolicy::Refused };

    /// A file that is mapped directly, under the embedder's policy.
    #[must_use]
    pub const fn dax(sync: SyncPolicy) -> Self {
        let supported = match sync {
            SyncPolicy::Refused => MapFlags::LEGACY,
            SyncPolicy::PersistentHost | SyncPolicy::MetadataDurable => MapFlags::LEGACY.union(MapFlags::SYNC),
        };
        Self { supported, sync }
    }

    /// The same, with more flags that the embedder handles itself. SYNC is not among them: only a policy gives it.
    #[must_use]
    pub const fn with(self, flags: MapFlags) -> Self {
        Self { supported: self.supported.union(flags.difference(MapFlags::SYNC)), ..self }
    }

    /// All flags that this file supports.
    #[must_use]
    pub const fn supported(&self) -> MapFlags {
        self.supported
    }

    /// Validates the flags of an mmap call. Under SHARED_VALIDATE each flag counts and an unknown one is refused; under
    /// SHARED and PRIVATE unknown ones, SYNC among them, are ignored, and what comes back says so.
    ///
    /// # Errors
    /// [`Error::MapType`] (EINVAL) for any other type; [`Error::UnsupportedFlags`] (EOPNOTSUPP).
    ///
    /// ```
    /// use fs_dax::{Errno, FileMapping, MapFlags, SyncMode, SyncPolicy};
    ///
    /// let file = FileMapping::dax(SyncPolicy::default());
    /// let strict = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
    /// assert_eq!(file.validate(strict.bits()).unwrap_err().errno(), Errno::EOPNOTSUPP);
    ///
    /// let lax = file.validate((MapFlags::SHARED | MapFlags::SYNC).bits())?;
    /// assert!(!lax.is_sync());
    ///
    /// let persistent = FileMapping::dax(SyncPolicy::PersistentHost).validate(strict.bits())?;
    /// assert_eq!(persistent.sync, SyncMode::Persistent);
    /// # Ok::<(), fs_dax::Error>(())
    /// ```
    pub const fn validate(&self, flags: u32) -> Result<Agreed, Error> {
        const SHARED: u32 = MapFlags::SHARED.bits();
        const PRIVATE: u32 = MapFlags::PRIVATE.bits();
        const SHARED_VALIDATE: u32 = MapFlags::SHARED_VALIDATE.bits();
        let (sharing, kept) = match flags & MapFlags::TYPE_MASK {
            SHARED => (Sharing::Shared, flags & MapFlags::LEGACY.bits()),
            PRIVATE => (Sharing::Private, flags & MapFlags::LEGACY.bits()),
            SHARED_VALIDATE => {
                let unsupported = flags & !self.supported.bits();
                if unsupported != 0 {
                    return Err(Error::UnsupportedFlags { unsupported });
                }
                (Sharing::Shared, flags)
            }
            _ => return Err(Error::MapType { flags }),
        };
        let sync = match self.sync {
            SyncPolicy::PersistentHost if kept & MapFlags::SYNC.bits() != 0 => SyncMode::Persistent,
            SyncPolicy::MetadataDurable if kept & MapFlags::SYNC.bits() != 0 => SyncMode::MetadataDurable,
            _ => SyncMode::None,
        };
        Ok(Agreed { sharing, sync, flags: MapFlags::from_bits_retain(kept) })
    }
}
