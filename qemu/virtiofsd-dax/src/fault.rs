//! Faults made on purpose, so that tests can see how a guest takes them.

use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::opcode;

/// What to do with a request instead of serving it, or besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Answer this errno and do nothing.
    Refuse(i32),
    /// Do it, and answer that it failed: the guest cannot know.
    Unknown,
    /// Do it, and answer something else: a header that may be wrong, and noise after it. In the first session only.
    Lie,
    /// Wait before doing it.
    Delay(Duration),
    /// Never answer it; others are served.
    Lose,
    /// Never answer anything again.
    Hang,
    /// End the daemon as a crash does.
    Crash,
}

/// One fault: what happens to which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Requests of this number only.
    opcode: Option<u32>,
    action: Action,
    /// Only the so manieth of them, from 1 on: the first and the last.
    nth: Option<(u64, u64)>,
    seen: u64,
}

/// Errors by the names that a fault is written with.
const ERRORS: [(&str, i32); 14] = [
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("ENXIO", libc::ENXIO),
    ("EAGAIN", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EACCES", libc::EACCES),
    ("EBUSY", libc::EBUSY),
    ("EINVAL", libc::EINVAL),
    ("ENOSPC", libc::ENOSPC),
    ("EROFS", libc::EROFS),
    ("ENOSYS", libc::ENOSYS),
    ("ESTALE", libc::ESTALE),
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rule, nth) = match text.split_once('@') {
            Some((rule, nth)) => {
                let bad = || format!("what follows the @ of \"{text}\" must be a number from 1 on, or two as in 3-5");
                (rule, Some(parse_nth(nth).ok_or_else(bad)?))
            }
            None => (text, None),
        };
        let (name, action) = rule
            .split_once(':')
            .ok_or_else(|| format!("\"{text}\" is not REQUEST:ACTION, REQUEST:ACTION@N or REQUEST:ACTION@N-M"))?;
        let opcode = if name.eq_ignore_ascii_case("any") {
            None
        } else {
            Some(opcode::by_name(name).ok_or_else(|| format!("\"{name}\" is no request of FUSE"))?)
        };
        Ok(Fault { opcode, action: parse_action(action)?, nth, seen: 0 })
    }
}

fn parse_nth(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

fn parse_action(text: &str) -> Result<Action, String> {
    if let Some(milliseconds) = text.strip_prefix("delay-") {
        let number = milliseconds.parse().map_err(|_| format!("\"{milliseconds}\" is no number of milliseconds"))?;
        return Ok(Action::Delay(Duration::from_millis(number)));
    }
    match text {
        "unknown" => Ok(Action::Unknown),
        "lie" => Ok(Action::Lie),
        "lose" => Ok(Action::Lose),
        "hang" => Ok(Action::Hang),
        "crash" => Ok(Action::Crash),
        _ => match ERRORS.iter().find(|(name, _)| *name == text) {
            Some(&(_, errno)) => Ok(Action::Refuse(errno)),
            None => {
                Err(format!("\"{text}\" is none of unknown, lie, delay-MS, lose, hang, crash and the errors EIO, ..."))
            }
        },
    }
}

/// All faults of a run.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Faults that are looked at in this order.
    pub fn new(faults: Vec<Fault>) -> Self {
        Faults(faults)
    }

    /// What happens to a request that has come: the first that applies. Lies end with the first session.
    pub fn next(&mut self, opcode: u32) -> Option<Action> {
        if opcode == opcode::DESTROY {
            self.0.retain(|fault| fault.action != Action::Lie);
        }
        let mut action = None;
        for fault in self.0.iter_mut().filter(|fault| fault.opcode.is_none_or(|only| only == opcode)) {
            fault.seen += 1;
            if fault.nth.is_none_or(|(first, last)| (first..=last).contains(&fault.seen)) {
                action = action.or(Some(fault.action));
            }
        }
        action
    }
}

/// Noise for a lie, the same each time for a request of this number: 32 bits a call.
pub fn noise(unique: u64) -> impl FnMut() -> u32 {
    let mut state = unique.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        // xorshift64, by its upper half.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    }
}

/// Waits, by a call that the daemon is allowed even when its system calls are filtered.
pub fn wait(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Does nothing for ever.
pub fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let read = |text: &str| text.parse::<Fault>();
        let fault = |opcode, action, nth| Ok(Fault { opcode, action, nth, seen: 0 });
        assert_eq!(read("fsync:EIO@3"), fault(Some(20), Action::Refuse(libc::EIO), Some((3, 3))));
        assert_eq!(read("setupmapping:ENOSYS"), fault(Some(48), Action::Refuse(libc::ENOSYS), None));
        assert_eq!(read("removemapping:unknown@2"), fault(Some(49), Action::Unknown, Some((2, 2))));
        assert_eq!(read("any:delay-20"), fault(None, Action::Delay(Duration::from_millis(20)), None));
        assert_eq!(read("any:hang@100"), fault(None, Action::Hang, Some((100, 100))));
        assert_eq!(read("lookup:lie@3-5"), fault(Some(1), Action::Lie, Some((3, 5))));
        for bad in [
            "",
            "fsync",
            "fsync:",
            "fsync:eio",
            "nothing:EIO",
            "fsync:EIO@0",
            "fsync:EIO@x",
            "fsync:EIO@0-2",
            "fsync:EIO@3-2",
            "fsync:EIO@3-",
            "any:delay-x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn they_count_their_own_requests() -> Result<(), String> {
        let mut faults = Faults::new(vec!["read:EIO@2".parse()?, "any:lose@4".parse()?]);
        let answers: Vec<_> = [15, 20, 15, 15, 15].into_iter().map(|opcode| faults.next(opcode)).collect();
        assert_eq!(answers, [None, None, Some(Action::Refuse(libc::EIO)), Some(Action::Lose), None]);
        let mut faults = Faults::new(vec!["read:lie@2-3".parse()?, "write:lie".parse()?, "write:EIO".parse()?]);
        let answers: Vec<_> = (0..4).map(|_| faults.next(15)).collect();
        assert_eq!(answers, [None, Some(Action::Lie), Some(Action::Lie), None]);
        let answers: Vec<_> = [16, opcode::DESTROY, 16].into_iter().map(|opcode| faults.next(opcode)).collect();
        assert_eq!(answers, [Some(Action::Lie), None, Some(Action::Refuse(libc::EIO))]);
        Ok(())
    }
}
