//! The configuration space of a modelled function.

use alloc::vec::Vec;

use virtio_transport::model::Spec;

/// How many BARs there are.
const BARS: usize = 6;

/// 256 bytes, and which of their bits can be written.
#[derive(Clone, Debug)]
pub(super) struct Space {
    words: [u32; 64],
    writable: [u32; 64],
}

/// A memory BAR as it is programmed now.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryBar {
    pub(super) addr: u64,
    pub(super) size: u64,
}

impl Space {
    /// The space with these bytes, of which the BARs have these sizes in bytes, 0 for one that doesn't exist.
    pub(super) fn new(image: &[u8; 256], sizes: [u64; BARS]) -> Self {
        let mut words = [0; 64];
        for (word, bytes) in words.iter_mut().zip(image.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        }
        let mut space = Self { words, writable: [0; 64] };
        // Of the command: I/O, memory, master, parity, system error, no INTx.
        space.writable[1] = 0x0547;
        // The interrupt line.
        space.writable[0x3c / 4] = 0xff;
        for (bar, size) in sizes.into_iter().enumerate().filter(|&(_, size)| size > 0) {
            let mask = !(size - 1);
            let low = space.words[4 + bar];
            let flags = if low & 1 != 0 { 3 } else { 0xf };
            space.writable[4 + bar] = mask as u32 & !flags;
            if low & 7 == 4 && bar + 1 < BARS {
                space.writable[5 + bar] = (mask >> 32) as u32;
            }
        }
        let mut at = image[0x34] & !3;
        for _ in 0..48 {
            if at < 0x40 {
                break;
            }
            if image[usize::from(at)] == 0x11 {
                space.writable[usize::from(at) / 4] = 0xc000_0000;
            }
            at = image[usize::from(at) + 1] & !3;
        }
        space
    }

    pub(super) fn word(&self, index: usize) -> u32 {
        self.words[index]
    }

    pub(super) fn writable(&self, index: usize) -> u32 {
        self.writable[index]
    }

    /// Writes as a driver does.
    pub(super) fn write(&mut self, index: usize, value: u32) {
        let mask = self.writable[index];
        self.words[index] = self.words[index] & !mask | value & mask;
    }

    /// Writes as the device's maker does.
    pub(super) fn patch(&mut self, offset: usize, bytes: &[u8]) {
        for (place, &byte) in (offset..256).zip(bytes) {
            let shift = 8 * (place % 4);
            let word = &mut self.words[place / 4];
            *word = *word & !(0xff << shift) | u32::from(byte) << shift;
        }
    }

    pub(super) fn set_writable(&mut self, index: usize, mask: u32) {
        self.writable[index] = mask;
    }

    pub(super) fn image(&self) -> [u8; 256] {
        let mut image = [0; 256];
        for (bytes, word) in image.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        image
    }

    pub(super) fn command(&self) -> u32 {
        self.words[1] & 0xffff
    }

    /// The memory BARs that have an address.
    pub(super) fn memory_bars(&self) -> Vec<MemoryBar> {
        let mut bars = Vec::new();
        let mut index = 0;
        while index < BARS {
            let (low, mask) = (self.words[4 + index], self.writable[4 + index]);
            let wide = low & 7 == 4 && index + 1 < BARS;
            let (high, high_mask) =
                if wide { (self.words[5 + index], self.writable[5 + index]) } else { (0, u32::MAX) };
            let mask = u64::from(high_mask) << 32 | u64::from(mask);
            let addr = u64::from(high) << 32 | u64::from(low & !0xf);
            if low & 1 == 0 && addr != 0 && mask as u32 | (mask >> 32) as u32 != 0 {
                bars.push(MemoryBar { addr, size: (!mask).wrapping_add(1) });
            }
            index += if wide { 2 } else { 1 };
        }
        bars
    }
}

/// The 16 bytes of a `virtio_pci_cap`, with what follows them.
fn capability(next: u8, kind: u8, bar: u8, id: u8, offset: u64, len: u64, more: &[u32]) -> Vec<u8> {
    let size = 16 + 4 * more.len() as u8;
    let mut bytes = Vec::from([9, next, size, kind, bar, id, 0, 0]);
    bytes.extend((offset as u32).to_le_bytes());
    bytes.extend((len as u32).to_le_bytes());
    for word in more {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// A space like QEMU's: MSI-X in BAR 1, the structures in BAR 2, all regions in BAR 4, the last capability first.
///
/// # Panics
///
/// If the regions don't fit into configuration space, or overflow.
pub(super) fn build(spec: &Spec, vectors: u16) -> ([u8; 256], [u64; BARS]) {
    let mut image = [0; 256];
    let mut put = |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &0x1af4u16.to_le_bytes());
    put(2, &(0x1040 + spec.device_id).to_le_bytes());
    // There are capabilities.
    put(6, &[0x10]);
    put(8, &[1, 0, 0x80, 0x01]);
    put(0x14, &0xfebd_5000u32.to_le_bytes());
    put(0x18, &0xfd00_000cu32.to_le_bytes());
    put(0x3c, &[11, 1]);

    let mut sizes = [0, 0x1000, 0x4000, 0, 0, 0];
    let mut at = 0x40;
    let mut last = 0;
    let mut add = |bytes: &dyn Fn(u8) -> Vec<u8>| {
        let bytes = bytes(last);
        put(at, &bytes);
        last = at as u8;
        at += bytes.len();
    };
    add(&|next| capability(next, 1, 2, 0, 0, 0x1000, &[]));
    add(&|next| capability(next, 3, 2, 0, 0x1000, 0x1000, &[]));
    if !spec.config.is_empty() {
        add(&|next| capability(next, 4, 2, 0, 0x2000, 0x1000, &[]));
    }
    add(&|next| capability(next, 2, 2, 0, 0x3000, 0x1000, &[4]));
    add(&|next| capability(next, 5, 0, 0, 0, 0, &[0]));
    if vectors > 0 {
        add(&|next| {
            let mut bytes = Vec::from([0x11, next]);
            bytes.extend((vectors - 1).to_le_bytes());
            bytes.extend([1, 0, 0, 0, 1, 8, 0, 0]);
            bytes
        });
    }
    let start = spec.regions.iter().map(|region| region.addr).min();
    let end = spec.regions.iter().map(|region| region.addr.checked_add(region.len).expect("a region that ends")).max();
    if let (Some(start), Some(end)) = (start, end) {
        // The least aligned block that holds them all.
        let mut size = 0x1000u64;
        while start & !(size - 1) != (end - 1) & !(size - 1) {
            size = size.checked_mul(2).expect("a block that holds the regions");
        }
        let base = start & !(size - 1);
        for region in &spec.regions {
            let offset = region.addr - base;
            let more = [(offset >> 32) as u32, (region.len >> 32) as u32];
            add(&|next| capability(next, 8, 4, region.id, offset, region.len, &more));
        }
        put(0x20, &(base | 0xc).to_le_bytes());
        sizes[4] = size;
    }
    put(0x34, &[last]);
    (image, sizes)
}
