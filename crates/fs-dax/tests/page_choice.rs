//! Page-size choice against a naive one, over every combination of small numbers, and at the real sizes.

use fs_dax::{Area, MappedRun, Page, PageSize, PageSizes, PhysAddr, Placement, VirtAddr, Wanted};

/// What a page of `len` bytes around `at` would show, byte by byte; `None` if one of the rules is broken.
fn naive_page(
    len: u64,
    base: u64,
    area: (u64, u64, u64),
    at: u64,
    eof: u64,
    run: (u64, u64, u64),
) -> Option<(u64, u64, u64)> {
    let (area_start, area_len, area_offset) = area;
    let (run_offset, run_phys, run_len) = run;
    let virt = at / len * len;
    let mut phys_of_first = None;
    let mut file_of_first = None;
    for byte in 0..len {
        let address = virt + byte;
        if address < area_start || address >= area_start + area_len {
            return None;
        }
        let file = address - area_start + area_offset;
        if file < run_offset || file >= run_offset + run_len {
            return None;
        }
        // Each base page of it holds a byte of the file.
        if byte % base == 0 && file >= eof {
            return None;
        }
        let phys = run_phys + (file - run_offset);
        if byte == 0 {
            phys_of_first = Some(phys);
            file_of_first = Some(file);
        }
    }
    let phys = phys_of_first?;
    (phys % len == 0).then_some((virt, phys, file_of_first?))
}

// Long: nested loops over every parameter around one comparison.
#[test]
fn every_combination_of_small_numbers() {
    const BASE: u64 = 2;
    const HUGE: u64 = 4;
    let sizes = PageSizes::new(BASE, HUGE).unwrap();
    let step = if cfg!(miri) { 5 } else { 1 };
    let mut seen = [0u64; 6];
    for area_start in (0..=6).step_by(2) {
        for area_len in 0..=9 {
            for area_offset in (0..=6).step_by(2) {
                let area = Area::new(VirtAddr(area_start), area_len, area_offset).unwrap();
                for at in (0..16).step_by(step) {
                    for eof in (0..=14).step_by(step) {
                        for run_offset in (0..=6).step_by(step) {
                            for run_phys in 0..HUGE {
                                for run_len in (0..=9).step_by(step) {
                                    let run =
                                        MappedRun { file_offset: run_offset, phys: PhysAddr(run_phys), len: run_len };
                                    let naive = |len| {
                                        naive_page(
                                            len,
                                            BASE,
                                            (area_start, area_len, area_offset),
                                            at,
                                            eof,
                                            (run_offset, run_phys, run_len),
                                        )
                                    };
                                    let inside = at >= area_start && at < area_start + area_len;
                                    let past = inside && (at - area_start + area_offset) / BASE * BASE >= eof;
                                    for wanted in [Wanted::Largest, Wanted::Huge, Wanted::Base] {
                                        let got = sizes.place(&area, VirtAddr(at), eof, Some(&run), wanted);
                                        let huge = naive(HUGE).filter(|_| wanted != Wanted::Base && inside && !past);
                                        let base = naive(BASE).filter(|_| wanted != Wanted::Huge && inside && !past);
                                        let expected = if huge.is_some() { huge } else { base };
                                        let found = match got {
                                            Placement::Page(page) => {
                                                let len = if huge.is_some() { HUGE } else { BASE };
                                                assert_eq!(page.len, len);
                                                assert_eq!(sizes.bytes(page.size), len);
                                                Some((page.virt.0, page.phys.0, page.file_offset))
                                            }
                                            _ => None,
                                        };
                                        assert_eq!(
                                            found, expected,
                                            "{area:?} at {at} eof {eof} {run:?} {wanted:?}: {got:?}"
                                        );
                                        assert_eq!(got == Placement::OutsideArea, !inside);
                                        assert_eq!(got == Placement::PastEof, past);
                                        seen[match got {
                                            Placement::Page(_) => 0,
                                            Placement::Smaller => 1,
                                            Placement::PastEof => 2,
                                            Placement::Hole => 3,
                                            Placement::OutsideArea => 4,
                                            Placement::Misaligned => 5,
                                        }] += 1;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "each outcome was met: {seen:?}");
}

const MIB: u64 = 1 << 20;
const VIRT: u64 = 0x7f00_0020_0000;
const PHYS: u64 = 0x1_0020_0000;

/// A file of 8 MiB mapped at 2 MiB boundaries everywhere, with one thing changed.
struct Case {
    virt: u64,
    area_len: u64,
    eof: u64,
    phys: u64,
    run_offset: u64,
    run_len: u64,
}

const GOOD: Case = Case { virt: VIRT, area_len: 8 * MIB, eof: 8 * MIB, phys: PHYS, run_offset: 0, run_len: 8 * MIB };

fn place(case: Case, at: u64) -> Placement {
    let area = Area::new(VirtAddr(case.virt), case.area_len, 0).unwrap();
    let run = MappedRun { file_offset: case.run_offset, phys: PhysAddr(case.phys), len: case.run_len };
    PageSizes::SMALL_4K.place(&area, VirtAddr(case.virt + at), case.eof, Some(&run), Wanted::Largest)
}

fn size(case: Case, at: u64) -> PageSize {
    match place(case, at) {
        Placement::Page(page) => page.size,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_mebibytes_when_everything_fits() {
    let expected = Page {
        size: PageSize::Huge,
        len: 2 * MIB,
        virt: VirtAddr(VIRT + 2 * MIB),
        phys: PhysAddr(PHYS + 2 * MIB),
        file_offset: 2 * MIB,
    };
    for at in [2 * MIB, 2 * MIB + 1, 3 * MIB, 4 * MIB - 1] {
        assert_eq!(place(GOOD, at), Placement::Page(expected));
    }
}

#[test]
fn each_condition_alone_makes_it_four_kibibytes() {
    assert_eq!(size(Case { virt: VIRT + 4096, ..GOOD }, 3 * MIB), PageSize::Base, "virtual address");
    assert_eq!(size(Case { phys: PHYS + 4096, ..GOOD }, 3 * MIB), PageSize::Base, "physical address");
    assert_eq!(size(Case { area_len: 4 * MIB - 4096, ..GOOD }, 3 * MIB), PageSize::Base, "length of the area");
    assert_eq!(size(Case { run_len: 4 * MIB - 4096, ..GOOD }, 3 * MIB), PageSize::Base, "length of the extent");
    let late = Case { run_offset: 2 * MIB + 4096, phys: PHYS + 2 * MIB + 4096, run_len: 4 * MIB, ..GOOD };
    assert_eq!(size(late, 3 * MIB), PageSize::Base, "beginning of the extent");
    assert_eq!(size(Case { eof: 4 * MIB - 4096, ..GOOD }, 3 * MIB), PageSize::Base, "end of the file");
    // A file that ends in the last base page of the huge one still fills it.
    assert_eq!(size(Case { eof: 4 * MIB - 4095, ..GOOD }, 3 * MIB), PageSize::Huge);
}

#[test]
fn the_tail_page_and_what_comes_after() {
    let tail = || Case { eof: 5000, run_len: 8192, ..GOOD };
    assert_eq!(size(tail(), 4999), PageSize::Base);
    assert_eq!(size(tail(), 8191), PageSize::Base, "the rest of the last page can be touched");
    assert_eq!(place(tail(), 8192), Placement::PastEof);
    // A host that maps only up to the last byte leaves no whole page.
    assert_eq!(place(Case { eof: 5000, run_len: 5000, ..GOOD }, 4999), Placement::Hole);
    assert_eq!(place(Case { eof: 0, ..GOOD }, 0), Placement::PastEof);
}

#[test]
fn numbers_at_the_end_of_64_bits() {
    let top = u64::MAX - 4095;
    let area = Area::new(VirtAddr(top), 4095, 0).unwrap();
    let run = MappedRun { file_offset: 0, phys: PhysAddr(top), len: u64::MAX };
    // The page's last byte is not in the area.
    let got = PageSizes::SMALL_4K.place(&area, VirtAddr(top), u64::MAX, Some(&run), Wanted::Largest);
    assert_eq!(got, Placement::Misaligned);
    assert!(Area::new(VirtAddr(top), 4096, 0).is_err());
    assert!(Area::new(VirtAddr(0), 4096, top).is_err());
    assert!(PageSizes::new(4096, 4096).is_err());
    assert!(PageSizes::new(0, 4096).is_err());
    assert!(PageSizes::new(4096, 3 << 20).is_err());
}
