//! A back end that answers each request by a script, and has no device behind it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use vmm_sys_util::sock_ctrl_msg::ScmSocket as _;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const SHMEM_MAP: u32 = 9;
pub(crate) const SHMEM_UNMAP: u32 = 10;
const SHARED_OBJECT_REMOVE: u32 = 7;
const NEED_REPLY: u32 = 1 << 3;
const REPLY: u32 = 1 << 2;
const HEADER: usize = 12;
const DEADLINE: Duration = Duration::from_secs(60);

/// What it offers, and what it does wrong.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) features: u64,
    pub(crate) protocol: u64,
    pub(crate) queues: u64,
    pub(crate) window: Option<u64>,
    /// The request that it never answers.
    pub(crate) silent: Option<u32>,
    /// The request at which it closes the connection.
    pub(crate) closes: Option<u32>,
    /// The request that it answers with an error.
    pub(crate) refuses: Option<u32>,
}

impl Offer {
    pub(crate) const WINDOW: u64 = 16 << 20;
}

impl Default for Offer {
    fn default() -> Self {
        // MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD, SHARED_OBJECT, SHMEM by both numbers.
        let protocol = [0, 3, 5, 9, 10, 18, 21, 22].iter().map(|bit| 1 << bit).sum();
        Self {
            features: 1 << 32 | 1 << 30,
            protocol,
            queues: 2,
            window: Some(Self::WINDOW),
            silent: None,
            closes: None,
            refuses: None,
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<u32>>,
    more: Condvar,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fake {
    seen: Arc<Seen>,
    socket: UnixStream,
    channels: Receiver<UnixStream>,
}

/// A file of this many bytes.
pub(crate) fn file(len: u64) -> File {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(len).expect("room");
    file
}

impl Fake {
    /// One that serves the other end of the socket returned.
    pub(crate) fn start(offer: Offer) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let seen = Arc::new(Seen::default());
        let (found, channels) = channel();
        let serving = Serving { offer, socket: ours.try_clone().expect("a descriptor"), seen: seen.clone(), found };
        std::thread::spawn(move || serving.run());
        (Self { seen, socket: ours, channels }, theirs)
    }

    /// The requests so far, by number.
    pub(crate) fn requests(&self) -> Vec<u32> {
        self.seen.requests.lock().expect("no panic").clone()
    }

    /// Waits until a request was answered.
    pub(crate) fn wait_for(&self, request: u32) {
        let requests = self.seen.requests.lock().expect("no panic");
        let missing = |requests: &mut Vec<u32>| !requests.contains(&request);
        let (_requests, waited) = self.seen.more.wait_timeout_while(requests, DEADLINE, missing).expect("no panic");
        assert!(!waited.timed_out(), "request {request} never came");
    }

    /// Goes.
    pub(crate) fn close(&self) {
        self.socket.shutdown(std::net::Shutdown::Both).expect("it was open");
    }

    /// The channel by which it asks.
    pub(crate) fn channel(&self) -> Channel {
        Channel(self.channels.recv_timeout(DEADLINE).expect("SET_BACKEND_REQ_FD"))
    }
}

struct Serving {
    offer: Offer,
    socket: UnixStream,
    seen: Arc<Seen>,
    found: Sender<UnixStream>,
}

impl Serving {
    /// Serves until the connection is over.
    fn run(mut self) {
        while let Some((request, flags, body, file)) = self.receive() {
            if let (21, Some(file)) = (request, file) {
                // The test may have ended.
                let _ = self.found.send(UnixStream::from(std::os::fd::OwnedFd::from(file)));
            }
            let Offer { silent, closes, refuses, .. } = self.offer;
            if closes == Some(request) {
                let _ = self.socket.shutdown(std::net::Shutdown::Both);
                return;
            }
            let mut requests = self.seen.requests.lock().expect("no panic");
            requests.push(request);
            self.seen.more.notify_all();
            drop(requests);
            let answer = match self.answer(request, &body) {
                _ if silent == Some(request) => None,
                _ if refuses == Some(request) => Some(1u64.to_ne_bytes().to_vec()),
                Some(answer) => Some(answer),
                None => (flags & NEED_REPLY != 0).then(|| 0u64.to_ne_bytes().to_vec()),
            };
            if let Some(answer) = answer {
                let header = [request, 1 | REPLY, answer.len() as u32].map(u32::to_ne_bytes).concat();
                if self.socket.write_all(&[header, answer].concat()).is_err() {
                    return;
                }
            }
        }
    }

    fn receive(&mut self) -> Option<(u32, u32, Vec<u8>, Option<File>)> {
        let mut header = [0; HEADER];
        // The file comes with the first byte; of several only the first is kept, and only one is ever needed.
        let (count, file) = self.socket.recv_with_fd(&mut header).ok()?;
        if count == 0 {
            return None;
        }
        self.socket.read_exact(&mut header[count..]).ok()?;
        let word =
            |index: usize| u32::from_ne_bytes([header[index], header[index + 1], header[index + 2], header[index + 3]]);
        let mut body = vec![0; word(8) as usize];
        self.socket.read_exact(&mut body).ok()?;
        Some((word(0), word(4), body, file))
    }

    /// The answers that are more than an acknowledgement.
    fn answer(&self, request: u32, body: &[u8]) -> Option<Vec<u8>> {
        let number = |number: u64| Some(number.to_ne_bytes().to_vec());
        match request {
            1 => number(self.offer.features),
            15 => number(self.offer.protocol),
            17 => number(self.offer.queues),
            11 => Some(body.to_vec()),
            24 => {
                let mut config = body.to_vec();
                config[12..18].copy_from_slice(b"theirs");
                config[48..52].copy_from_slice(&1u32.to_le_bytes());
                Some(config)
            }
            44 => {
                let mut regions = vec![0; 8 + 256 * 8];
                if let Some(window) = self.offer.window {
                    regions[..4].copy_from_slice(&1u32.to_ne_bytes());
                    regions[8..16].copy_from_slice(&window.to_ne_bytes());
                }
                Some(regions)
            }
            _ => None,
        }
    }
}

/// See [`Fake::channel`].
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Asks for a mapping, or for its end; returns the answer.
    pub(crate) fn ask(
        &self,
        request: u32,
        shmid: u8,
        file_offset: u64,
        offset: u64,
        len: u64,
        file: Option<&File>,
    ) -> u64 {
        let mut body = vec![shmid, 0, 0, 0, 0, 0, 0, 0];
        for number in [file_offset, offset, len, 1] {
            body.extend(number.to_ne_bytes());
        }
        self.exchange(request, &body, file)
    }

    /// Asks for the end of an object that nobody shares.
    pub(crate) fn barrier(&self) -> u64 {
        self.exchange(SHARED_OBJECT_REMOVE, &[7; 16], None)
    }

    /// Sends what is no request; returns whether the channel is closed then.
    pub(crate) fn nonsense(&self) -> bool {
        (&self.0).write_all(&[0xff; HEADER]).expect("sent");
        self.0.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        (&self.0).read(&mut [0; 1]).is_ok_and(|count| count == 0)
    }

    fn exchange(&self, request: u32, body: &[u8], file: Option<&File>) -> u64 {
        let header = [request, 1 | NEED_REPLY, body.len() as u32].map(u32::to_ne_bytes).concat();
        let message = [&header, body].concat();
        match file {
            Some(file) => {
                use std::os::fd::AsRawFd as _;
                let sent = self.0.send_with_fd(&message[..], file.as_raw_fd()).expect("sent");
                assert_eq!(sent, message.len());
            }
            None => (&self.0).write_all(&message).expect("sent"),
        }
        self.0.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut reply = [0; HEADER + 8];
        (&self.0).read_exact(&mut reply).expect("an answer");
        u64::from_ne_bytes(reply[HEADER..].try_into().expect("eight bytes"))
    }
}
