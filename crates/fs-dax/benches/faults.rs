//! What is on the way of a fault or of a writeback.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fs_dax::{
    Area, DeviceIndex, DeviceOffset, DirtyRange2M, Extent, FileMap, FileRange, InodeDirt, MapRules, MappedRun,
    PageSizes, PhysAddr, VirtAddr, Wanted,
};

const MIB: u64 = 1 << 20;

fn extents() -> [Extent; 16] {
    std::array::from_fn(|index| Extent {
        device: DeviceIndex(0),
        offset: DeviceOffset((index as u64 + 1) * 8 * MIB),
        len: 4 * MIB,
    })
}

fn maps(c: &mut Criterion) {
    let devices = [1024 * MIB];
    let rules = MapRules::default();
    let simple = FileMap::simple(extents(), 64 * MIB, &rules, &devices).unwrap();
    let strips = FileMap::interleaved(extents(), 2 * MIB, 64 * MIB, &rules, &devices).unwrap();
    c.bench_function("resolve/first_of_16_extents", |b| b.iter(|| simple.resolve(black_box(4096), 4096)));
    c.bench_function("resolve/last_of_16_extents", |b| b.iter(|| simple.resolve(black_box(63 * MIB), 4096)));
    c.bench_function("resolve/interleaved_16_strips", |b| b.iter(|| strips.resolve(black_box(63 * MIB), 4096)));
}

fn pages(c: &mut Criterion) {
    let area = Area::new(VirtAddr(1 << 40), 64 * MIB, 0).unwrap();
    let run = MappedRun { file_offset: 4 * MIB, phys: PhysAddr(1 << 32), len: 2 * MIB };
    c.bench_function("place/huge", |b| {
        b.iter(|| {
            let at = VirtAddr((1 << 40) + 5 * MIB);
            PageSizes::SMALL_4K.place(&area, black_box(at), 64 * MIB, Some(&run), Wanted::Largest)
        });
    });
}

fn dirty(c: &mut Criterion) {
    let mut range = DirtyRange2M::new_2m(FileRange::between(0, 2 * MIB)).unwrap();
    let page = FileRange::between(0x5000, 0x6000);
    c.bench_function("dirty/mark_one_page", |b| b.iter(|| range.mark(black_box(page))));

    let mut scattered = range.clone();
    for extent in (0..512).step_by(2) {
        scattered.mark(FileRange::between(extent * 4096, extent * 4096 + 1)).unwrap();
    }
    c.bench_function("dirty/runs_256_single_pages", |b| {
        b.iter(|| black_box(&scattered).dirty_runs(FileRange::ALL).count());
    });
    let mut whole = range.clone();
    whole.mark(FileRange::between(0, 2 * MIB)).unwrap();
    c.bench_function("dirty/runs_one_of_2m", |b| {
        b.iter(|| black_box(&whole).dirty_runs(FileRange::ALL).count());
    });

    let mut inode = InodeDirt::new();
    c.bench_function("writeback/one_page", |b| {
        b.iter(|| {
            range.mark(page).unwrap();
            let mut writeback = inode.begin().unwrap();
            writeback.take(&mut range, FileRange::ALL);
            let writeback = writeback.write_protected().flushed();
            inode.finish(writeback, Ok(())).unwrap().apply(&mut range).unwrap();
        });
    });
}

#[cfg(target_arch = "x86_64")]
fn flush(c: &mut Criterion) {
    let Some(flush) = fs_dax::X86Flush::detect() else { return };
    let flusher = fs_dax::Flusher::new(flush);
    let mut buffer = vec![0u8; 2 << 20];
    let mut round = 0;
    c.bench_function(&format!("flush/{}_2m_stored_before", flush.name()), |b| {
        b.iter(|| {
            round += 1;
            buffer.fill(round as u8);
            flusher.write_back_value(black_box(&buffer[..]));
            flusher.fence();
        });
    });
    c.bench_function("flush/none_2m_stored_before", |b| {
        b.iter(|| {
            round += 1;
            buffer.fill(round as u8);
            black_box(&buffer[..]);
        });
    });
}

#[cfg(not(target_arch = "x86_64"))]
fn flush(_: &mut Criterion) {}

criterion_group!(benches, maps, pages, dirty, flush);
criterion_main!(benches);
