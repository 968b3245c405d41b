//! The machine-readable record of a run: one JSON object a line, each written as it happens.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::opcode;
use crate::window::{Mapping, WindowError};

/// What became of a mapping that was asked for.
fn outcome(result: Result<(), WindowError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(WindowError::Refused) => "refused",
        Err(WindowError::NotRunning) => "not_running",
        Err(WindowError::Lost) => "lost",
    }
}

/// One request as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The virtqueue it came in.
    pub queue: usize,
    /// FUSE's number of the request.
    pub opcode: u32,
    /// The node it names.
    pub node: u64,
    /// The number that pairs it with its reply.
    pub unique: u64,
    /// Who asked.
    pub uid: u32,
    /// 0 or a negative errno, from the reply's header.
    pub error: i32,
    /// Bytes of the reply, 0 if it has none.
    pub len: usize,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    requests: Vec<u64>,
    set_up: u64,
    removed: u64,
    live: usize,
    live_at_destroy: Option<usize>,
    barriers: u64,
    lookups: i64,
    closed: bool,
}

/// Counts, and writes lines if there is a file to write them to. Shared; nothing is waited for while it is locked but
/// the write of a line.
#[derive(Debug)]
pub struct Record(Mutex<State>);

impl Record {
    /// A record that is written to `file`, or only counted.
    pub fn new(file: Option<File>) -> Self {
        Record(Mutex::new(State { file, requests: vec![0; opcode::COUNT], ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered.
    pub fn request(&self, request: &Request) {
        let mut state = self.state();
        let index = usize::try_from(request.opcode).unwrap_or(0);
        if let Some(count) = state.requests.get_mut(index) {
            *count += 1;
        }
        let Request { queue, opcode, node, unique, uid, error, len } = *request;
        let name = opcode::name(opcode);
        state.line(|| {
            format!(
                "{{\"event\":\"request\",\"queue\":{queue},\"opcode\":\"{name}\",\"number\":{opcode},\
                 \"nodeid\":{node},\"unique\":{unique},\"uid\":{uid},\"error\":{error},\"len\":{len}}}\n"
            )
        });
    }

    /// The front end was asked to map.
    pub fn map<F>(&self, mapping: &Mapping<'_, F>, result: Result<(), WindowError>) {
        let mut state = self.state();
        if result.is_ok() {
            state.set_up += 1;
            state.live += 1;
        }
        state.mapping("map", mapping, outcome(result));
    }

    /// The front end was asked to unmap.
    pub fn unmap<F>(&self, mapping: &Mapping<'_, F>, result: Result<(), WindowError>) {
        let mut state = self.state();
        // A removal is refused for want of a mapping: then the front end had dropped it by itself.
        let result = match result {
            Ok(()) => "ok",
            Err(WindowError::Refused) => "absent",
            other => outcome(other),
        };
        if matches!(result, "ok" | "absent") {
            state.removed += 1;
            state.live = state.live.saturating_sub(1);
        }
        state.mapping("unmap", mapping, result);
    }

    /// The front end was asked for a barrier.
    pub fn barrier(&self) {
        self.state().barriers += 1;
    }

    /// The guest ends its session, or begins a new one: `true` for DESTROY. What is live now, it left behind.
    pub fn session(&self, destroy: bool) {
        let mut state = self.state();
        let live = state.live;
        if destroy {
            state.live_at_destroy = Some(live);
        } else {
            state.lookups = 0;
        }
        state.line(|| {
            let what = if destroy { "destroy" } else { "init" };
            format!("{{\"event\":\"{what}\",\"live\":{live}}}\n")
        });
    }

    /// References to nodes that the guest got (positive) or gave back (negative).
    pub fn lookups(&self, change: i64) {
        self.state().lookups += change;
    }

    /// The last line. Later calls of anything write nothing.
    pub fn summary(&self) {
        let mut state = self.state();
        let mut line = String::from("{\"event\":\"summary\"");
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            ",\"set_up\":{},\"removed\":{},\"live\":{},\"live_at_destroy\":",
            state.set_up, state.removed, state.live
        );
        match state.live_at_destroy {
            Some(live) => _ = write!(line, "{live}"),
            None => line.push_str("null"),
        }
        let _ =
            write!(line, ",\"barriers\":{},\"lookups_outstanding\":{},\"requests\":{{", state.barriers, state.lookups);
        let mut comma = "";
        for (index, &count) in state.requests.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let name = opcode::name(u32::try_from(index).unwrap_or(u32::MAX));
            let _ = write!(line, "{comma}\"{name}\":{count}");
            comma = ",";
        }
        line.push_str("}}\n");
        state.line(|| line);
        state.closed = true;
    }
}

impl State {
    fn mapping<F>(&mut self, event: &str, mapping: &Mapping<'_, F>, result: &str) {
        let &Mapping { node, file_offset, window_offset, len, .. } = mapping;
        self.line(|| {
            format!(
                "{{\"event\":\"{event}\",\"window_offset\":{window_offset},\"len\":{len},\"nodeid\":{node},\
                 \"file_offset\":{file_offset},\"writable\":true,\"result\":\"{result}\"}}\n"
            )
        });
    }

    fn line(&mut self, text: impl FnOnce() -> String) {
        if self.closed {
            return;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(text().as_bytes())
        {
            log::error!("the record cannot be written and ends here: {error}");
            self.file = None;
        }
    }
}
