//! What must hold, whatever the bytes are.

use famfs::layout::{
    DirRecord, Entry, ExtentList, FileRecord, Format, LOG_HEADER_LEN, LogHeader, PathField, Piece, RawMap, Record,
    Superblock, UNIT, Uuid,
};
use famfs::{Event, MapContext, Tree, check};
use fs_dax::{DeviceOffset, Error, WindowMemory, check_inside};

/// Memory that is 0 but for a beginning of superblock and of log.
struct Memory {
    superblock: Vec<u8>,
    log: Vec<u8>,
    len: u64,
}

impl WindowMemory for Memory {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        check_inside(offset, into.len() as u64, self.len)?;
        for (at, byte) in (offset.0..).zip(into) {
            let (part, at) = if at < UNIT { (&self.superblock, at) } else { (&self.log, at - UNIT) };
            *byte = part.get(at as usize).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        Err(Error::OutOfWindow { offset, len: from.len() as u64, window_len: 0 })
    }
}

/// Numbers out of the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Mostly multiples of the unit, at times anything.
    fn offset(&mut self) -> u64 {
        match self.byte() {
            0 => self.number(),
            units => u64::from(units) * UNIT,
        }
    }

    fn piece(&mut self) -> Piece {
        Piece { device: u64::from(self.byte() / 100), offset: self.offset(), len: self.offset() }
    }

    fn map(&mut self) -> RawMap {
        let (kind, count) = (self.byte(), self.byte() % 20);
        let pieces = std::array::from_fn(|_| self.piece());
        match kind % 4 {
            0 => RawMap::Unknown { kind: u32::from(kind) },
            1 | 2 => RawMap::Simple { count: u32::from(count), extents: pieces },
            _ => RawMap::Interleaved {
                maps: u32::from(kind < 200),
                count: u64::from(count),
                chunk: self.offset(),
                strips: pieces,
            },
        }
    }

    fn path(&mut self) -> PathField {
        let len = usize::from(self.byte() % 8);
        let mut bytes: Vec<u8> = (0..len).map(|_| b"ab/.m\xff"[usize::from(self.byte() % 6)]).collect();
        bytes.truncate(79);
        match famfs::layout::Path::new(&bytes) {
            Ok(path) => path.field(),
            Err(_) => famfs::layout::Path::new(b"a").expect("a right path").field(),
        }
    }
}

fn superblock_of(format: Format) -> Superblock {
    Superblock {
        format,
        log_offset: UNIT,
        log_len: UNIT,
        alloc_unit: UNIT,
        omf_minor: format.omf_minor().unwrap_or(0),
        uuid: Uuid([1; 16]),
        device_uuid: Uuid::default(),
        system_uuid: Uuid([2; 16]),
        flags: 0,
        device_len: 200 * UNIT,
        device_name: [0; 64],
    }
}

/// A superblock of any bytes, also with a right checksum over wrong numbers: what is accepted has sane numbers, and is
/// written as it was read.
pub fn superblock(data: &[u8]) {
    let _ = Superblock::parse(data, data.len() as u64);
    let mut input = Input(data);
    let format = if input.byte() & 1 == 0 { Format::V46 } else { Format::V48 };
    let wild = Superblock {
        log_offset: input.offset(),
        log_len: input.offset(),
        device_len: input.offset(),
        alloc_unit: if format == Format::V46 { UNIT } else { input.offset() },
        ..superblock_of(format)
    };
    if let Ok(parsed) = Superblock::parse(&wild.encode(), u64::MAX) {
        assert_eq!(parsed, wild);
        assert!(parsed.log_end() <= parsed.device_len && parsed.slots() > 0);
        let last = parsed.entry_offset(parsed.slots() - 1) + format.entry_len() as u64;
        assert!(last <= parsed.log_end());
        let header: [u8; LOG_HEADER_LEN] = std::array::from_fn(|_| input.byte());
        let _ = LogHeader::parse(&header, &parsed);
        assert!(LogHeader::parse(&LogHeader::encode_empty(&parsed), &parsed).is_ok());
    }
}

/// A log of entries with right checksums and any contents, and one of any bytes: replay ends, every file lies in the
/// device behind the log, and no two share a byte.
pub fn log(data: &[u8]) {
    let mut input = Input(data);
    let format = if input.byte() & 1 == 0 { Format::V46 } else { Format::V48 };
    let superblock = superblock_of(format);
    let mut log = LogHeader::encode_empty(&superblock).to_vec();
    let mut index = 0;
    while !input.0.is_empty() && index < 50 {
        let record = match input.byte() % 3 {
            0 => Record::Mkdir(DirRecord { uid: 0, gid: 0, mode: u32::from(input.byte()) << 4, path: input.path() }),
            _ => {
                let (path, map) = (input.path(), input.map());
                Record::File(FileRecord { size: input.offset(), flags: 2, uid: 0, gid: 0, mode: 0o644, path, map })
            }
        };
        if let Some(bytes) = record.encode(format, index) {
            assert_eq!(Entry::parse(format, index, &bytes).map(|entry| entry.index), Ok(index));
            log.extend_from_slice(&bytes[..format.entry_len()]);
            index += 1;
        }
    }
    log[32..40].copy_from_slice(&index.to_le_bytes());
    log[40..48].copy_from_slice(&(index + u64::from(input.byte())).to_le_bytes());
    let memory = Memory { superblock: superblock.encode().to_vec(), log, len: 200 * UNIT };
    let mut events = 0;
    let checked = check(&memory, |superblock| [superblock.device_len], &mut |_: Event| events += 1);
    let checked = checked.expect("superblock and header are right");
    assert!(checked.entries <= superblock.slots() && events <= 4 * (index + 4));
    disjoint(&checked.tree);
    let torn = Memory { superblock: superblock.encode().to_vec(), log: data.to_vec(), len: data.len() as u64 + UNIT };
    let _ = check(&torn, |superblock| [superblock.device_len], &mut |_| {});
}

fn disjoint(tree: &Tree) {
    let mut end = tree.superblock().log_end();
    for (first, last) in tree.occupied(fs_dax::DeviceIndex(0)) {
        assert!(end <= first && first < last && last <= tree.superblock().device_len);
        end = last;
    }
}

/// Any map: what is accepted resolves every byte of the file to one of its own extents, inside the device.
pub fn maps(data: &[u8]) {
    let mut input = Input(data);
    let superblock = superblock_of(Format::V48);
    let context = MapContext { superblock: &superblock, devices: &[200 * UNIT, 100 * UNIT] };
    let (map, size) = (input.map(), input.offset());
    let Ok(map) = context.check::<ExtentList>(&map, size, |_| None) else { return };
    assert_eq!(map.size(), size);
    let mut probes = vec![0, size.saturating_sub(1), size, size / 2, u64::MAX];
    probes.extend((0..16).map(|_| input.offset()));
    for offset in probes {
        let segment = map.resolve(offset, u64::MAX);
        assert_eq!(segment.len == 0, offset >= size);
        if segment.len == 0 {
            continue;
        }
        assert!(segment.len <= size - offset);
        let own = map.extents().iter().any(|extent| {
            extent.device == segment.device
                && extent.offset <= segment.offset
                && segment.offset.0 + segment.len <= extent.offset.0 + extent.len
        });
        assert!(own, "{segment:?} is in none of the extents");
        let (start, run) = map.run_around(offset).expect("inside the file");
        assert!(start <= offset && offset - start < run.len);
    }
}
