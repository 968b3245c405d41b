//! What was found in this session.

use std::cell::RefCell;

thread_local! {
    static FOUND: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes that a rule is broken; the first one of a session counts.
pub(crate) fn broken(what: impl FnOnce() -> String) {
    FOUND.with_borrow_mut(|found| {
        if found.is_none() {
            *found = Some(what());
        }
    });
}

/// Takes what was found since the last call.
pub(crate) fn take() -> Option<String> {
    FOUND.take()
}
