//! Memory that hosts share through caches that keep nothing coherent: a line that was not written back is lost, a line
//! that was not invalidated is stale.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fs_dax::{Capabilities, DeviceOffset, Error, PhysAddr, SharedMemory, WindowMemory, check_inside};

/// What happens between two steps.
type Meanwhile = Box<dyn FnOnce()>;

pub(crate) const LINE: u64 = 64;
/// How many moments are kept of the beginning of what a host does, and how many of the end.
const MOMENTS: usize = 100;
type Line = [u8; LINE as usize];

/// What all hosts share; lines that were never stored are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Medium {
    lines: BTreeMap<u64, Line>,
}

impl Medium {
    fn line(&self, number: u64) -> Line {
        self.lines.get(&number).copied().unwrap_or([0; LINE as usize])
    }

    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        (offset..offset + len as u64).map(|at| self.line(at / LINE)[(at % LINE) as usize]).collect()
    }

    pub(crate) fn store(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let mut line = self.line(at / LINE);
            line[(at % LINE) as usize] = *byte;
            self.put(at / LINE, line);
        }
    }

    fn put(&mut self, number: u64, line: Line) {
        if line == [0; LINE as usize] {
            self.lines.remove(&number);
        } else {
            self.lines.insert(number, line);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    line: Line,
}

/// What a host has done up to a moment: what it shares, and which of its lines the medium does not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) medium: Medium,
    pub(crate) pending: BTreeMap<u64, Line>,
}

impl Moment {
    /// The medium if the lines chosen by the bits of `subset` left the cache at this moment, and the host then died.
    pub(crate) fn crashed(&self, subset: u64) -> Medium {
        let mut medium = self.medium.clone();
        for (bit, (number, line)) in self.pending.iter().enumerate() {
            if subset >> bit & 1 != 0 {
                medium.put(*number, *line);
            }
        }
        medium
    }
}

/// One host's view of the memory.
#[derive(Clone)]
pub(crate) struct Host {
    medium: Rc<RefCell<Medium>>,
    cache: Rc<RefCell<BTreeMap<u64, Cached>>>,
    dirty: Rc<RefCell<BTreeSet<u64>>>,
    moments: Rc<RefCell<Option<Vec<Moment>>>>,
    reads: Rc<RefCell<u64>>,
    meanwhile: Rc<RefCell<Option<Meanwhile>>>,
    len: u64,
    phys: u64,
    writable: bool,
}

impl Host {
    /// The first host on `len` bytes of empty memory at physical address `phys`.
    pub(crate) fn new(len: u64, phys: u64) -> Self {
        Self::on(Medium::default(), len, phys)
    }

    /// The first host on this memory.
    pub(crate) fn on(medium: Medium, len: u64, phys: u64) -> Self {
        Self {
            medium: Rc::new(RefCell::new(medium)),
            cache: Rc::default(),
            dirty: Rc::default(),
            moments: Rc::default(),
            reads: Rc::default(),
            meanwhile: Rc::default(),
            len,
            phys,
            writable: true,
        }
    }

    /// Another host, with a cache of its own.
    pub(crate) fn other(&self) -> Self {
        let mut other = Self::on(Medium::default(), self.len, self.phys);
        other.medium = Rc::clone(&self.medium);
        other
    }

    /// Has others do something right after this host's next write-back.
    pub(crate) fn meanwhile(&self, others: impl FnOnce() + 'static) {
        *self.meanwhile.borrow_mut() = Some(Box::new(others));
    }

    pub(crate) fn read_only(self) -> Self {
        Self { writable: false, ..self }
    }

    /// As much of the memory as this host has.
    pub(crate) fn cut(self, len: u64) -> Self {
        Self { len, ..self }
    }

    pub(crate) fn medium(&self) -> std::cell::RefMut<'_, Medium> {
        self.medium.borrow_mut()
    }

    /// From now on, keeps what the memory is like before each store, write-back and fence.
    pub(crate) fn record(&self) {
        *self.moments.borrow_mut() = Some(Vec::new());
    }

    pub(crate) fn recorded(&self) -> Vec<Moment> {
        self.moment();
        self.moments.borrow_mut().take().unwrap()
    }

    /// How many lines were fetched from the memory since the last call.
    pub(crate) fn fetched(&self) -> u64 {
        self.reads.replace(0)
    }

    fn moment(&self) {
        if let Some(moments) = &mut *self.moments.borrow_mut() {
            let cache = self.cache.borrow();
            let dirty = self.dirty.borrow();
            let pending = dirty.iter().map(|number| (*number, cache[number].line)).collect();
            moments.push(Moment { medium: self.medium.borrow().clone(), pending });
            // Of a long history, the beginning and the end are what matters.
            if moments.len() > 2 * MOMENTS {
                moments.remove(MOMENTS);
            }
        }
    }

    fn cached(&self, number: u64) -> std::cell::RefMut<'_, Cached> {
        std::cell::RefMut::map(self.cache.borrow_mut(), |cache| {
            cache.entry(number).or_insert_with(|| {
                *self.reads.borrow_mut() += 1;
                Cached { line: self.medium.borrow().line(number) }
            })
        })
    }

    fn each_line(&self, offset: DeviceOffset, len: u64, mut each: impl FnMut(u64)) -> Result<(), Error> {
        check_inside(offset, len, self.len)?;
        if len > 0 {
            (offset.0 / LINE..=(offset.0 + len - 1) / LINE).for_each(&mut each);
        }
        Ok(())
    }

    fn write_line_back(&self, number: u64) {
        if self.dirty.borrow_mut().remove(&number) {
            self.medium.borrow_mut().put(number, self.cache.borrow()[&number].line);
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("len", &self.len).field("phys", &self.phys).finish_non_exhaustive()
    }
}

impl WindowMemory for Host {
    fn len(&self) -> u64 {
        self.len
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        check_inside(offset, into.len() as u64, self.len)?;
        let mut at = offset.0;
        let mut rest = into;
        while !rest.is_empty() {
            let within = (at % LINE) as usize;
            let (part, after) = rest.split_at_mut(rest.len().min(LINE as usize - within));
            part.copy_from_slice(&self.cached(at / LINE).line[within..within + part.len()]);
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// Line by line, in rising order: a crash may come between any two.
    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        check_inside(offset, from.len() as u64, self.len)?;
        assert!(self.writable, "a store to read-only memory");
        let mut at = offset.0;
        let mut rest = from;
        while !rest.is_empty() {
            self.moment();
            let within = (at % LINE) as usize;
            let (part, after) = rest.split_at(rest.len().min(LINE as usize - within));
            let mut cached = self.cached(at / LINE);
            cached.line[within..within + part.len()].copy_from_slice(part);
            self.dirty.borrow_mut().insert(at / LINE);
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }
}

impl SharedMemory for Host {
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error> {
        assert_eq!(offset.0 % 8, 0);
        self.write(offset, &value.to_le_bytes())
    }

    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        self.each_line(offset, len, |number| {
            self.moment();
            self.write_line_back(number);
        })?;
        let others = self.meanwhile.borrow_mut().take();
        if let Some(others) = others {
            others();
        }
        Ok(())
    }

    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        self.each_line(offset, len, |number| {
            self.write_line_back(number);
            self.cache.borrow_mut().remove(&number);
        })
    }

    fn fence(&self) {
        self.moment();
    }

    fn phys(&self, offset: DeviceOffset, len: u64) -> Result<PhysAddr, Error> {
        check_inside(offset, len, self.len)?;
        Ok(PhysAddr(self.phys + offset.0))
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}
