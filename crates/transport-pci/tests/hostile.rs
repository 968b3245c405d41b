//! Generated devices that say and answer anything at all: no panic, no endless loop, no access outside what they claim.
//!
//! `HOSTILE_DEVICES` sets how many, `HOSTILE_SEED` with which numbers.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
};

use transport_pci::{MsixMessage, PciTransport, QueueVectors};
use virtio_shm::{ShmId, ShmRegion, ShmTransport};
use virtio_transport::{
    ConfigurationAccess, PciFunction, Registers,
    conformance::{Numbers, exercise},
};

/// How many devices an ordinary run generates.
const DEVICES: u64 = 50_000;
/// How often configuration space can be accessed to open one device: 48 capabilities of at most seven words, six BARs of
/// at most twelve accesses and their neighbours, and some more.
const CONFIG_ACCESSES: u64 = 600;
/// How many accesses to its registers one device can cost here.
const ACCESSES: u64 = 4_000;

const FUNCTION: PciFunction = PciFunction { bus: 0, device: 3, function: 0 };

const IMAGES: [(&[u8; 256], [u64; 6]); 3] = [
    (include_bytes!("../testdata/qemu-virtio-fs-64MiB.bin"), [0, 0x1000, 0x4000, 0, 64 << 20, 0]),
    (include_bytes!("../testdata/qemu-virtio-gpu-256MiB.bin"), [0, 0x1000, 0x4000, 0, 256 << 20, 0]),
    (include_bytes!("../testdata/qemu-virtio-gpu-8GiB.bin"), [0, 0x1000, 0x4000, 0, 8 << 30, 0]),
];

/// A configuration space that is wrong somewhere.
struct Space {
    words: [u32; 64],
    writable: [u32; 64],
    numbers: RefCell<Numbers>,
    /// Of 256 reads, how many give a new number.
    fickle: u64,
    accesses: Cell<u64>,
}

impl Space {
    fn generate(numbers: &mut Numbers) -> Self {
        let (image, sizes) = numbers.pick(&IMAGES);
        let mut words = [0; 64];
        for (word, bytes) in words.iter_mut().zip(image.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let mut writable = [0; 64];
        writable[1] = 0x0547;
        for (bar, size) in sizes.into_iter().enumerate().filter(|&(_, size)| size > 0) {
            let mask = !(size - 1);
            writable[4 + bar] = mask as u32 & !0xf;
            if words[4 + bar] & 7 == 4 {
                writable[5 + bar] = (mask >> 32) as u32;
            }
        }
        let fickle = numbers.pick(&[0, 0, 0, 1, 8]);
        let mut space =
            Self { words, writable, numbers: RefCell::new(numbers.clone()), fickle, accesses: Cell::new(0) };
        for _ in 0..numbers.below(7) {
            space.mutate(numbers);
        }
        space
    }

    /// Where the capabilities are, whether or not the list still reaches them.
    fn heads(&self) -> Vec<usize> {
        (0x40..0x100).step_by(4).filter(|&at| matches!(self.byte(at), 0x09 | 0x11)).collect()
    }

    fn byte(&self, at: usize) -> u8 {
        (self.words[at / 4] >> (8 * (at % 4))) as u8
    }

    fn set_byte(&mut self, at: usize, value: u8) {
        let shift = 8 * (at % 4);
        let word = &mut self.words[at / 4 % 64];
        *word = *word & !(0xff << shift) | u32::from(value) << shift;
    }

    fn mutate(&mut self, numbers: &mut Numbers) {
        let heads = self.heads();
        let head = if heads.is_empty() { 0x40 } else { numbers.pick(&heads) };
        match numbers.below(12) {
            // A field of a capability.
            0 => self.set_byte(head + 1, numbers.edge() as u8),
            1 => self.set_byte(head + 2, numbers.edge() as u8),
            2 => self.set_byte(head + 3, numbers.below(12) as u8),
            3 => self.set_byte(head + 4, numbers.below(8) as u8),
            4 => self.set_byte(head + 5, numbers.below(3) as u8),
            5 | 6 => {
                let word = head / 4 + 2 + numbers.below(4) as usize;
                self.words[word % 64] = numbers.edge();
            }
            // A BAR, or its size.
            7 => self.words[4 + numbers.below(6) as usize] = numbers.edge(),
            8 => self.writable[4 + numbers.below(6) as usize] = !numbers.edge().wrapping_sub(1) & !0xf,
            // One capability more.
            9 => {
                let at = 0x40 + 4 * numbers.below(48) as usize;
                let first = self.byte(0x34);
                self.set_byte(0x34, at as u8);
                let kind = numbers.pick(&[1, 2, 3, 4, 8, 8, 8]);
                for (index, byte) in [9, first, 24, kind, numbers.below(6) as u8, 0].into_iter().enumerate() {
                    self.set_byte(at + index, byte);
                }
                for word in 2..6 {
                    self.words[(at / 4 + word) % 64] = if numbers.below(2) == 0 { numbers.edge() } else { 0 };
                }
            }
            // Anything anywhere; rarely the identity, else nothing else gets tested.
            10 => self
                .set_byte(if numbers.below(8) == 0 { 0 } else { 4 } + numbers.below(60) as usize, numbers.next() as u8),
            _ => self.set_byte(0x40 + numbers.below(192) as usize, numbers.next() as u8),
        }
    }

    /// The memory that the BARs decode, by an arithmetic of its own.
    fn decoded(&self) -> Vec<Range<u128>> {
        let mut ranges = Vec::new();
        let mut bar = 0;
        while bar < 6 {
            let low = self.words[4 + bar];
            let wide = low & 7 == 4;
            if wide && bar == 5 {
                break;
            }
            if low & 1 == 0 {
                let written =
                    |index: usize| u128::from(self.words[index] & !self.writable[index] | self.writable[index]);
                let mask = (written(4 + bar) & !0xf) | if wide { written(5 + bar) } else { 0xffff_ffff } << 32;
                let high = if wide { u128::from(self.words[5 + bar]) } else { 0 };
                let start = high << 32 | u128::from(low & !0xf);
                ranges.push(start..start + (1 << 64) - mask);
            }
            bar += if wide { 2 } else { 1 };
        }
        ranges
    }

    /// Whether a capability in the list says that a region with this id is `range`.
    fn claims(&self, region: &ShmRegion) -> bool {
        let field = |at: usize| u128::from(self.words[at / 4]);
        let mut at = usize::from(self.byte(0x34) & 0xfc);
        for _ in 0..48 {
            if at == 0 {
                break;
            }
            let has_id = self.byte(at) == 9 && self.byte(at + 2) >= 6 && self.byte(at + 3) == 8;
            if has_id && self.byte(at + 5) == region.id().0 {
                let bar = usize::from(self.byte(at + 4)).min(5);
                let base = u128::from(self.words[4 + bar] & !0xf)
                    | if self.words[4 + bar] & 7 == 4 && bar < 5 { u128::from(self.words[5 + bar]) << 32 } else { 0 };
                let (offset, len) = if self.byte(at + 2) < 24 {
                    (0, 0)
                } else {
                    (field(at + 8) | field(at + 16) << 32, field(at + 12) | field(at + 20) << 32)
                };
                // The first well-formed one counts, so any may.
                if u128::from(region.addr()) == base + offset && u128::from(region.len()) == len {
                    return true;
                }
            }
            at = usize::from(self.byte(at + 1) & 0xfc);
        }
        false
    }
}

/// A handle to a space, as the transport gets it.
#[derive(Clone)]
struct Access(Rc<RefCell<Space>>);

impl Access {
    fn word(&self, function: PciFunction, offset: u8, width: u8) -> u32 {
        assert_eq!(function, FUNCTION);
        assert!(offset.is_multiple_of(width));
        let space = self.0.borrow();
        space.accesses.set(space.accesses.get() + 1);
        assert!(space.accesses.get() <= CONFIG_ACCESSES, "too many accesses");
        let mut numbers = space.numbers.borrow_mut();
        if numbers.below(256) < space.fickle && offset > 4 {
            return numbers.edge();
        }
        space.words[usize::from(offset) / 4] >> (8 * (offset % 4))
    }

    fn write(&self, function: PciFunction, offset: u8, data: u32) {
        assert_eq!(function, FUNCTION);
        let mut space = self.0.borrow_mut();
        space.accesses.set(space.accesses.get() + 1);
        assert!(offset == 4 || space.words[1] & 3 == 0, "BAR written while it is decoded");
        let index = usize::from(offset) / 4;
        let mask = space.writable[index];
        space.words[index] = space.words[index] & !mask | data & mask;
    }
}

impl ConfigurationAccess for Access {
    fn read8(&self, function: PciFunction, offset: u8) -> u8 {
        self.word(function, offset, 1) as u8
    }

    fn read16(&self, function: PciFunction, offset: u8) -> u16 {
        self.word(function, offset, 2) as u16
    }

    fn read32(&self, function: PciFunction, offset: u8) -> u32 {
        self.word(function, offset, 4)
    }

    fn write8(&mut self, _: PciFunction, offset: u8, _: u8) {
        panic!("8 bits at {offset:#x} written");
    }

    fn write16(&mut self, function: PciFunction, offset: u8, value: u16) {
        assert_eq!(offset, 4, "{offset:#x} written by 16 bits");
        self.write(function, offset, value.into());
    }

    fn write32(&mut self, function: PciFunction, offset: u8, value: u32) {
        assert!((0x10..0x28).contains(&offset) && offset.is_multiple_of(4), "{offset:#x} written by 32 bits");
        self.write(function, offset, value);
    }
}

/// Registers that answer what they like.
struct Hostile {
    size: usize,
    numbers: RefCell<Numbers>,
    accesses: Rc<Cell<u64>>,
    /// Mostly 0, which lets a reset succeed.
    quiet: bool,
}

impl Hostile {
    fn access(&self, offset: usize, width: usize) -> u32 {
        assert!(offset.is_multiple_of(width), "{width} bytes at {offset:#x}");
        assert!(offset + width <= self.size, "{width} bytes at {offset:#x} of {:#x}", self.size);
        self.accesses.set(self.accesses.get() + 1);
        assert!(self.accesses.get() <= ACCESSES, "too many accesses");
        let mut numbers = self.numbers.borrow_mut();
        if self.quiet && numbers.below(4) > 0 { 0 } else { numbers.edge() }
    }
}

impl Registers for Hostile {
    fn size(&self) -> usize {
        self.size
    }

    fn read8(&self, offset: usize) -> u8 {
        self.access(offset, 1) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.access(offset, 2) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.access(offset, 4)
    }

    fn write8(&mut self, offset: usize, _: u8) {
        self.access(offset, 1);
    }

    fn write16(&mut self, offset: usize, _: u16) {
        self.access(offset, 2);
    }

    fn write32(&mut self, offset: usize, _: u32) {
        self.access(offset, 4);
    }
}

#[derive(Default, Debug)]
struct Tally {
    opened: u64,
    refused: u64,
    regions: u64,
    malformed: u64,
    notes: u64,
    without_msix: u64,
}

fn inside(range: &Range<u64>, ranges: &[Range<u128>]) -> bool {
    ranges.iter().any(|outer| outer.start <= u128::from(range.start) && u128::from(range.end) <= outer.end)
}

// Long: what a driver does with one device, from opening it to letting go of it.
fn drive(numbers: &mut Numbers, tally: &mut Tally) {
    let mut pick = Numbers(numbers.next());
    let space = Space::generate(&mut pick);
    let honest = space.fickle == 0;
    let before = space.words;
    let mut access = Access(Rc::new(RefCell::new(space)));
    let accesses = Rc::new(Cell::new(0));
    let mut mapped: Vec<Range<u64>> = Vec::new();
    let mut registers = pick.clone();
    let quiet = pick.below(8) > 0;
    let opened = PciTransport::with_mapper(&mut access, FUNCTION, 16, |_, addr, len| {
        let range = addr..addr.checked_add(len as u64).expect("inside the address space");
        assert!(len > 0 && len <= 16 << 20);
        assert!(mapped.iter().all(|other| range.end <= other.start || other.end <= range.start));
        mapped.push(range);
        let numbers = RefCell::new(Numbers(registers.next()));
        Ok(Hostile { size: len, numbers, accesses: accesses.clone(), quiet })
    });

    let space = access.0.borrow();
    if honest {
        assert_eq!(space.words[0], before[0]);
        assert_eq!(space.words[2..], before[2..], "only the command may have changed");
        let decoded = space.decoded();
        assert!(mapped.iter().all(|range| inside(range, &decoded)), "{mapped:x?} {decoded:x?}");
    }
    let mut transport = match opened {
        Ok(transport) => transport,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            tally.refused += 1;
            return;
        }
    };
    tally.opened += 1;
    tally.notes += transport.notes().count() as u64 + transport.notes_dropped() as u64;
    for note in transport.notes() {
        assert!(!note.to_string().is_empty());
    }

    let mut found: Vec<ShmRegion> = Vec::new();
    let mut errors = 0;
    transport.for_each_shm_region(&mut |region| match region {
        Ok(region) => found.push(region),
        Err(_) => errors += 1,
    });
    tally.regions += found.len() as u64;
    tally.malformed += errors;
    for (index, region) in found.iter().enumerate() {
        assert!(region.len() > 0 && region.addr().checked_add(region.len()) == Some(region.end()));
        assert!(mapped.iter().all(|range| !region.overlaps(range)), "{region:x?} {mapped:x?}");
        assert!(found[..index].iter().all(|other| !region.overlaps(&other.range()) && other.id() != region.id()));
        assert_eq!(transport.shm_region(region.id()), Ok(Some(*region)));
        if honest {
            assert!(inside(&region.range(), &space.decoded()), "{region:x?} {:x?}", space.decoded());
            assert!(space.claims(region), "{region:x?} {:x?}", space.words);
        }
    }
    let _ = transport.shm_region(ShmId(pick.next() as u8));
    drop(space);

    let _ = transport.assign_vectors(Some(pick.below(2) as u16), QueueVectors::From(pick.below(4) as u16));
    exercise(&mut transport, &mut pick, 0x1100);
    for queue in [0, 1, pick.next() as u16] {
        let _ = transport.set_queue_vector(queue, Some(pick.below(4) as u16));
    }
    let vector = pick.edge() as u16;
    let _ = transport.set_config_vector(Some(vector));
    let _ = transport.set_msix_message(vector, MsixMessage { address: pick.next(), data: pick.edge() });
    let _ = transport.mask_msix(transport.msix_vectors().wrapping_sub(1), true);
    tally.without_msix += u64::from(transport.msix_vectors() == 0);
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn generated_devices() {
    let devices = from_environment("HOSTILE_DEVICES", DEVICES);
    let mut numbers = Numbers(from_environment("HOSTILE_SEED", 26));
    let mut tally = Tally::default();
    for _ in 0..devices {
        drive(&mut numbers, &mut tally);
    }
    println!("{devices} devices: {tally:?}");
    // The generator reaches all the outcomes.
    assert!(tally.opened > devices / 4 && tally.refused > devices / 4, "{tally:?}");
    let rare = devices / 100;
    assert!(
        tally.regions > rare && tally.malformed > rare && tally.notes > rare && tally.without_msix > rare,
        "{tally:?}"
    );
}
