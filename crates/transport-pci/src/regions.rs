//! The shared-memory capabilities of a device, and which of them count.

use virtio_shm::{Neighbour, ShmError, ShmId, ShmRegion};

use crate::{Note, note::Notes, span::Span};

/// The length of `virtio_pci_cap64`.
pub(crate) const CAP64_LEN: u8 = 24;
/// How many capabilities can have an id, which takes two words of those that there are for capabilities.
const WITH_ID: usize = (256 - 0x40) / 8;
/// How many capabilities can be as long as they must be. Capabilities share no bytes.
const LONG: usize = (256 - 0x40) / CAP64_LEN as usize;

/// What a shared-memory capability says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is too short to have an id.
    Nameless { cap_len: u8 },
    /// It has an id, but is too short to say where the region is.
    Short { id: ShmId, cap_len: u8 },
    /// It says where the region is.
    Long { id: ShmId, region: Result<ShmRegion, ShmError> },
}

/// A capability with an id.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ShmId,
    capability: u8,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Short {
        cap_len: u8,
    },
    /// An index into [`Regions::long`].
    Long(u8),
}

/// What the shared-memory capabilities of a device say, in the order of its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regions {
    entries: [Option<Entry>; WITH_ID],
    long: [Option<Result<ShmRegion, ShmError>>; LONG],
    /// The first capability that is too short to have an id, and its length.
    nameless: Option<(u8, u8)>,
}

impl Regions {
    pub(crate) const fn new() -> Self {
        Self { entries: [None; WITH_ID], long: [None; LONG], nameless: None }
    }

    /// Adds what the capability at offset `capability` says. There is a place for each that fits into the list.
    pub(crate) fn add(&mut self, capability: u8, found: Found) {
        let (id, place) = match found {
            Found::Nameless { cap_len } => {
                self.nameless.get_or_insert((capability, cap_len));
                return;
            }
            Found::Short { id, cap_len } => (id, Place::Short { cap_len }),
            Found::Long { id, region } => {
                let Some((index, free)) = (0..).zip(&mut self.long).find(|(_, place)| place.is_none()) else { return };
                *free = Some(region);
                (id, Place::Long(index))
            }
        };
        if let Some(free) = self.entries.iter_mut().find(|entry| entry.is_none()) {
            *free = Some(Entry { id, capability, place });
        }
    }

    /// Decides which capability counts for each id: the first one that is well-formed and has a region that overlaps neither
    /// one of the `structures` nor a region that counts; where there is none, the first one, with its error.
    pub(crate) fn settle(&mut self, structures: &[(Neighbour, Option<Span>)], notes: &mut Notes) {
        for index in 0..WITH_ID {
            let Some(entry) = self.entries[index] else { continue };
            let earlier = self.entries[..index].iter().flatten().find(|earlier| earlier.id == entry.id).copied();
            let taken = earlier.filter(|earlier| self.found(earlier).is_ok());
            if let Some(taken) = taken {
                let Entry { id, capability, .. } = entry;
                notes.add(Note::DuplicateRegion { id, capability, taken: taken.capability });
                self.entries[index] = None;
                continue;
            }
            let found = self.found(&entry).and_then(|region| self.check_apart(index, region, structures));
            if let Place::Long(place) = entry.place {
                self.long[usize::from(place)] = Some(found);
            }
            let dropped = match (found, earlier) {
                (Ok(_), Some(earlier)) => Some(earlier.capability),
                (Ok(_), None) => None,
                (Err(error), earlier) => {
                    notes.add(Note::MalformedRegion(error));
                    earlier.map(|_| entry.capability)
                }
            };
            for place in &mut self.entries {
                if place.is_some_and(|entry| Some(entry.capability) == dropped) {
                    *place = None;
                }
            }
        }
    }

    /// Checks that a region overlaps nothing that counts before `index`.
    fn check_apart(
        &self,
        index: usize,
        region: ShmRegion,
        structures: &[(Neighbour, Option<Span>)],
    ) -> Result<ShmRegion, ShmError> {
        let structures = structures.iter().filter_map(|&(neighbour, span)| Some((neighbour, span?.range())));
        let regions = self.entries[..index].iter().flatten().filter_map(|entry| {
            let other = self.found(entry).ok()?;
            Some((Neighbour::Region(other.id()), other.range()))
        });
        match structures.chain(regions).find(|(_, range)| region.overlaps(range)) {
            Some((other, range)) => Err(region.overlap(other, range)),
            None => Ok(region),
        }
    }

    fn found(&self, entry: &Entry) -> Result<ShmRegion, ShmError> {
        let (cap_len, region) = match entry.place {
            Place::Short { cap_len } => (cap_len, None),
            Place::Long(index) => (CAP64_LEN, self.long.get(usize::from(index)).copied().flatten()),
        };
        region.unwrap_or(Err(too_short(entry.capability, cap_len)))
    }

    /// The region with this id. If no capability has it, but there is one that is too short to have an id, that one's
    /// error.
    pub(crate) fn get(&self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        match self.entries.iter().flatten().find(|entry| entry.id == id) {
            Some(entry) => self.found(entry).map(Some),
            None => self.nameless().map_or(Ok(None), Err),
        }
    }

    /// One for each id, in the order of the list.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<ShmRegion, ShmError>> + '_ {
        self.entries.iter().flatten().map(|entry| self.found(entry))
    }

    /// The error of the first capability that is too short to have an id.
    pub(crate) fn nameless(&self) -> Option<ShmError> {
        self.nameless.map(|(capability, cap_len)| too_short(capability, cap_len))
    }
}

pub(crate) const fn too_short(capability: u8, cap_len: u8) -> ShmError {
    ShmError::CapabilityTooShort { capability, cap_len, need: CAP64_LEN }
}
