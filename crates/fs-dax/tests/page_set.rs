//! The bitmap of pages against a set of numbers.

use std::collections::BTreeSet;
use std::ops::Range;

use fs_dax::{DirtyRange, DirtyRange2M, Error, FileRange, PAGE_SIZE, PageSet};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Insert(Range<usize>),
    Remove(Range<usize>),
    Move(Range<usize>),
    MoveBack(Range<usize>),
    Clear,
}

fn range() -> impl Strategy<Value = Range<usize>> {
    // Past the capacity of 192 too, and the edges of words often.
    let edge =
        prop_oneof![3 => 0usize..260, 2 => prop::sample::select(vec![0usize, 1, 63, 64, 65, 127, 128, 191, 192])];
    (edge.clone(), edge).prop_map(|(start, end)| start..end)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => range().prop_map(Op::Insert),
        3 => range().prop_map(Op::Remove),
        2 => range().prop_map(Op::Move),
        2 => range().prop_map(Op::MoveBack),
        1 => Just(Op::Clear),
    ]
}

fn naive_runs(set: &BTreeSet<usize>, within: Range<usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for page in set.iter().copied().filter(|page| within.contains(page)) {
        match runs.last_mut() {
            Some(run) if run.end == page => run.end += 1,
            _ => runs.push(page..page + 1),
        }
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_with_a_set_of_numbers(ops in prop::collection::vec(op(), 1..40), within in range()) {
        const CAPACITY: usize = 192;
        let mut set = PageSet::new(vec![u64::MAX; 3]);
        let mut other = PageSet::new(vec![u64::MAX; 3]);
        let (mut model, mut model_other) = (BTreeSet::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Insert(pages) => {
                    let added = pages.clone().filter(|n| *n < CAPACITY && model.insert(*n)).count();
                    prop_assert_eq!(set.insert(pages), added);
                }
                Op::Remove(pages) => {
                    let removed = pages.clone().filter(|n| model.remove(n)).count();
                    prop_assert_eq!(set.remove(pages), removed);
                }
                Op::Move(pages) => {
                    let moved: Vec<_> = pages.clone().filter(|n| model.remove(n)).collect();
                    prop_assert_eq!(set.move_to(pages, &mut other), moved.len());
                    model_other.extend(moved);
                }
                Op::MoveBack(pages) => {
                    let moved: Vec<_> = pages.clone().filter(|n| model_other.remove(n)).collect();
                    prop_assert_eq!(other.move_to(pages, &mut set), moved.len());
                    model.extend(moved);
                }
                Op::Clear => {
                    set.clear();
                    model.clear();
                }
            }
            for (set, model) in [(&set, &model), (&other, &model_other)] {
                prop_assert_eq!(set.count(), model.len());
                prop_assert_eq!(set.is_empty(), model.is_empty());
                for page in 0..CAPACITY + 2 {
                    prop_assert_eq!(set.contains(page), model.contains(&page));
                }
                for within in [within.clone(), 0..CAPACITY, 0..usize::MAX] {
                    prop_assert_eq!(set.runs(within.clone()).collect::<Vec<_>>(), naive_runs(model, within));
                }
            }
        }
    }

    #[test]
    fn bytes_become_extents(
        start in 0u64..40,
        len in 0u64..9 * PAGE_SIZE,
        at in 0u64..8 * PAGE_SIZE,
        bytes in 0u64..3 * PAGE_SIZE,
    ) {
        let covered = FileRange::new(start * PAGE_SIZE, len).unwrap();
        let mut range = DirtyRange2M::new_2m(covered).unwrap();
        let marked = FileRange::new(start * PAGE_SIZE + at, bytes).unwrap();
        let fits = marked.end() <= covered.start() + len.next_multiple_of(PAGE_SIZE);
        let result = range.mark(marked);
        prop_assert_eq!(result.is_ok(), fits);
        if fits {
            let touched = |page: u64| {
                let begin = covered.start() + page * PAGE_SIZE;
                (begin..begin + PAGE_SIZE).contains(&marked.start()) && bytes > 0
                    || (begin > marked.start() && begin < marked.end())
            };
            let expected = (0..9).filter(|page| *page * PAGE_SIZE < len && touched(*page)).count();
            prop_assert_eq!(range.dirty_pages(), expected);
            prop_assert_eq!(result.unwrap(), expected);
            for run in range.dirty_runs(FileRange::ALL) {
                prop_assert!(run.start() % PAGE_SIZE == 0 && run.len() % PAGE_SIZE == 0 && run.start() >= covered.start());
            }
            let sum: u64 = range.dirty_runs(FileRange::ALL).map(|run| run.len()).sum();
            prop_assert_eq!(sum, expected as u64 * PAGE_SIZE);
        }
    }
}

#[test]
fn what_does_not_fit_the_other_stays() {
    let mut large = PageSet::new(vec![0u64; 2]);
    let mut small = PageSet::new(vec![0u64; 1]);
    large.insert(60..70);
    assert_eq!(large.move_to(0..128, &mut small), 4);
    assert_eq!((large.count(), small.count()), (6, 4));
}

#[test]
fn ranges_larger_than_two_mebibytes() {
    let covered = FileRange::new(8 << 20, 8 << 20).unwrap();
    let error = DirtyRange2M::new_2m(covered).unwrap_err();
    assert_eq!(error, Error::BitmapTooSmall { words: 8, len: 8 << 20 });
    let (mut dirty, mut writing) = (vec![0u64; 32], vec![0u64; 32]);
    let mut range = DirtyRange::new(covered, &mut dirty[..], &mut writing[..]).unwrap();
    assert_eq!(range.mark(covered).unwrap(), 2048);
    assert_eq!(range.mark(covered).unwrap(), 0);
    assert_eq!(range.dirty_runs(FileRange::ALL).collect::<Vec<_>>(), [covered]);
    assert_eq!(
        DirtyRange2M::new_2m(FileRange::new(5, 1).unwrap()).unwrap_err(),
        Error::Unaligned { value: 5, align: PAGE_SIZE }
    );
    let outside = FileRange::new((16 << 20) - 1, 2).unwrap();
    assert_eq!(range.mark(outside).unwrap_err(), Error::OutsideRange { marked: outside, covered });
}
