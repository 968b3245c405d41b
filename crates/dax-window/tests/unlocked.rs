//! Uses without the lock: the range of the last use is a guess, and no more.

use dax_window::{Access, Config, FileKey, Hits, HostRules, Outcome, Request, Run, Stream, Window, WindowOffset};

const MIB: u64 = 1 << 20;
const END: u64 = 1 << 40;
const A: FileKey = FileKey(1);
/// Its key ends as that of [`A`] does.
const LIKE_A: FileKey = FileKey(1 | 1 << 32);

/// A window of so many ranges on a host that replaces mappings, which takes one step.
fn window(ranges: u64) -> Window {
    let mut config = Config::new(ranges * 2 * MIB);
    config.host = HostRules::REPLACING;
    config.read_ahead.max_ranges = 0;
    config.guard = None;
    Window::on_heap(config).unwrap()
}

/// Maps bytes that are not mapped.
fn map(window: &mut Window, request: Request) {
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &request) else { panic!("no set-up") };
    let hold = window.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
    window.release(hold);
    window.check_invariants().unwrap();
}

/// Where bytes are in the window, by a use without the lock.
fn place(hits: &Hits, request: Request) -> Option<WindowOffset> {
    let used = hits.enter(0, || Run::None, &request)?;
    let place = used.window_offset();
    hits.leave(used);
    Some(place)
}

#[test]
fn a_range_that_holds_another_chunk_by_now_is_not_used() {
    let mut window = window(1);
    let hits = window.hits();
    let [first, second] = [0, 64 * MIB].map(|offset| Request::read(A, offset, 64, END));
    map(&mut window, first);
    assert_eq!([first, second].map(|it| place(&hits, it)), [Some(WindowOffset(0)), None]);
    map(&mut window, second);
    assert_eq!(place(&hits, first), None);
}

#[test]
fn a_range_that_holds_another_file_by_now_is_not_used() {
    let mut window = window(1);
    let hits = window.hits();
    let [ours, like_ours] = [A, LIKE_A].map(|file| Request::read(file, 0, 64, END));
    map(&mut window, ours);
    assert_eq!([ours, like_ours].map(|it| place(&hits, it)), [Some(WindowOffset(0)), None]);
    map(&mut window, like_ours);
    assert_eq!(place(&hits, ours), None);
    assert_eq!(place(&hits, like_ours), Some(WindowOffset(0)));
}
