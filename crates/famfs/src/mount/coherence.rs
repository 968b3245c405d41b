//! Who keeps the hosts' caches coherent.

use fs_dax::{Capabilities, DeviceOffset, Error, PhysAddr, SharedMemory, WindowMemory, check_inside};

/// Whether one host's stores reach the other hosts by themselves. The embedder says so; nothing can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Coherence {
    /// The hardware keeps all caches coherent: guests of one machine over one piece of its memory.
    Hardware,
    /// Lines are written back and invalidated where the protocol needs it.
    #[default]
    Software,
}

/// Memory with what was said about it.
#[derive(Debug)]
pub(crate) struct Shared<M> {
    memory: M,
    coherence: Coherence,
}

impl<M> Shared<M> {
    pub(crate) const fn new(memory: M, coherence: Coherence) -> Self {
        Self { memory, coherence }
    }

    pub(crate) const fn memory(&self) -> &M {
        &self.memory
    }
}

impl<M: SharedMemory> WindowMemory for Shared<M> {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        self.memory.read(offset, into)
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        self.memory.write(offset, from)
    }
}

impl<M: SharedMemory> SharedMemory for Shared<M> {
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error> {
        self.memory.load_u64(offset)
    }

    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error> {
        self.memory.store_u64(offset, value)
    }

    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        match self.coherence {
            Coherence::Hardware => check_inside(offset, len, self.len()),
            Coherence::Software => self.memory.write_back(offset, len),
        }
    }

    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        match self.coherence {
            Coherence::Hardware => check_inside(offset, len, self.len()),
            Coherence::Software => self.memory.invalidate(offset, len),
        }
    }

    fn fence(&self) {
        self.memory.fence();
    }

    fn phys(&self, offset: DeviceOffset, len: u64) -> Result<PhysAddr, Error> {
        self.memory.phys(offset, len)
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }
}
