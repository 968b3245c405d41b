//! Generated devices that answer anything at all: no panic, no endless loop, no access outside the registers.
//!
//! `HOSTILE_DEVICES` sets how many, `HOSTILE_SEED` with which numbers.

use std::cell::{Cell, RefCell};

use transport_mmio::{MAX_REGIONS, MmioTransport};
use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::{
    Registers,
    conformance::{Numbers, exercise},
};

/// How many devices an ordinary run generates.
const DEVICES: u64 = 10_000;
/// How many accesses one device can cost here: 256 ids of five accesses, the waits that are allowed, and some more.
const ACCESSES: u64 = 5_000;

/// Registers that say what they like, mostly the same thing each time.
struct Hostile {
    size: usize,
    numbers: RefCell<Numbers>,
    said: RefCell<[Option<u32>; 64]>,
    /// Of 16 reads, how many give a new number.
    fickle: u64,
    accesses: Cell<u64>,
}

impl Hostile {
    fn check(&self, offset: usize, width: usize) {
        assert!(offset.is_multiple_of(width), "{width} bytes at {offset:#x}");
        assert!(offset + width <= self.size, "{width} bytes at {offset:#x} of {:#x}", self.size);
        self.accesses.set(self.accesses.get() + 1);
        assert!(self.accesses.get() <= ACCESSES, "too many accesses");
    }

    fn say(&self, offset: usize) -> u32 {
        let mut numbers = self.numbers.borrow_mut();
        let mut said = self.said.borrow_mut();
        let Some(said) = said.get_mut(offset / 4) else { return numbers.edge() };
        if numbers.below(16) < self.fickle {
            *said = None;
        }
        *said.get_or_insert_with(|| match offset {
            0 if numbers.below(64) > 0 => 0x7472_6976,
            4 if numbers.below(64) > 0 => 2,
            8 if numbers.below(64) > 0 => 26,
            _ => numbers.edge(),
        })
    }
}

impl Registers for Hostile {
    fn size(&self) -> usize {
        self.size
    }

    fn read8(&self, offset: usize) -> u8 {
        self.check(offset, 1);
        self.say(offset) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.check(offset, 2);
        self.say(offset) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.check(offset, 4);
        self.say(offset)
    }

    fn write8(&mut self, offset: usize, _: u8) {
        self.check(offset, 1);
    }

    fn write16(&mut self, offset: usize, _: u16) {
        self.check(offset, 2);
    }

    fn write32(&mut self, offset: usize, _: u32) {
        self.check(offset, 4);
        // Selectors change what the other registers say.
        if self.numbers.borrow_mut().below(2) == 0 {
            *self.said.borrow_mut() = [None; 64];
        }
    }
}

#[derive(Default, Debug)]
struct Tally {
    driven: u64,
    regions: u64,
    errors: u64,
    absent: u64,
}

fn check_region(region: ShmRegion) {
    assert!(region.len() > 0);
    assert_eq!(region.addr().checked_add(region.len()), Some(region.end()));
}

fn drive(numbers: &mut Numbers, tally: &mut Tally) {
    let sizes = [0, 1, 0xfc, 0xff, 0x100, 0x101, 0x128, 0x200, 0x1000];
    let mut pick = Numbers(numbers.next());
    let size = if pick.below(16) == 0 { sizes[pick.below(9) as usize] } else { 0x100 + pick.below(0x200) as usize };
    let registers = Hostile {
        size,
        numbers: RefCell::new(Numbers(pick.next())),
        said: RefCell::new([None; 64]),
        fickle: [0, 1, 16][pick.below(3) as usize],
        accesses: Cell::new(0),
    };
    let Ok(mut transport) = MmioTransport::new(registers) else { return };
    tally.driven += 1;
    transport.set_poll_limit(16);
    exercise(&mut transport, &mut pick, 0x300);

    match transport.shm_region(ShmId(pick.next() as u8)) {
        Ok(Some(region)) => check_region(region),
        Ok(None) => tally.absent += 1,
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let mut found: Vec<ShmRegion> = Vec::new();
    let mut visits = 0;
    transport.for_each_shm_region(&mut |region| {
        visits += 1;
        match region {
            Ok(region) => {
                check_region(region);
                assert!(found.iter().all(|other| !region.overlaps(&other.range())), "{region:?} {found:?}");
                found.push(region);
            }
            Err(ShmError::TooManyRegions { .. }) => assert_eq!(found.len(), MAX_REGIONS),
            Err(_) => tally.errors += 1,
        }
    });
    assert!(visits <= 256 && found.len() <= MAX_REGIONS);
    tally.regions += found.len() as u64;
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
    assert!(tally.driven > devices / 2, "{tally:?}");
    assert!(tally.regions > 0 && tally.errors > 0 && tally.absent > 0, "{tally:?}");
}
