//! The parts in which threads meet, under a scheduler that tries many orders: the code as it is, with a lock at which the
//! scheduler may change threads.
#![expect(unsafe_code, reason = "implements unsafe traits")]

mod together;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::sync::OnceLock;

use fs_dax::PAGE_SIZE;
use fuse_proto::{NodeId, Opcode};
use lock_api::{GuardSend, Mutex, RawMutex};
use shuttle::sync::atomic::{AtomicBool, AtomicU64};
use shuttle::thread;
use virtio_shm::{ShmRegion, ShmTransport};
use virtio_transport::{ConfigError, DeviceStatus, DmaDirection, InterruptStatus, PhysAddr, Transport};

use crate::device::port::Port;
use crate::queue::channel::{Channel, DataPool, REPLY_BYTES, REQUEST_BYTES, RequestMeta};
use crate::queue::test_device::TestDevice;
use crate::rpc::connection::{Connection, Limits};
use crate::rpc::deadlines::Deadlines;
use crate::rpc::in_flight::InFlight;
use crate::rpc::request::Request;
use crate::test_memory::{TestMemory, device};
use crate::volume::dirty_pages::DirtyPages;
use crate::wait::wait_for;
use crate::{Error, Lock, Platform};

const ROUNDS: usize = 1000;
/// Looks after which a wait is one for something that never comes.
const MOST_LOOKS: usize = 200_000;
/// A deadline that never comes.
const NEVER: Duration = Duration::MAX;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A spin lock; every try is a point where another thread may go on.
struct ModelMutex(AtomicBool);

// SAFETY: only one thread at a time changes `false` to `true`, and that one has the lock until it changes it back.
unsafe impl RawMutex for ModelMutex {
    const INIT: Self = Self(AtomicBool::new(false));

    type GuardMarker = GuardSend;

    fn lock(&self) {
        while !self.try_lock() {
            thread::yield_now();
        }
    }

    fn try_lock(&self) -> bool {
        self.0.compare_exchange(false, true, SeqCst, SeqCst).is_ok()
    }

    unsafe fn unlock(&self) {
        self.0.store(false, SeqCst);
    }
}

impl Lock for ModelMutex {
    const DISABLES_INTERRUPTS: bool = false;
}

/// A clock that moves each time somebody looks at it.
#[derive(Default)]
struct ModelPlatform(AtomicU64);

// SAFETY: the window that it maps is memory of the process's own, of which nothing is taken back.
unsafe impl Platform for ModelPlatform {
    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        static MEMORY: OnceLock<usize> = OnceLock::new();
        let address = MEMORY.get_or_init(|| {
            let pages = usize::try_from(region.len()).expect("a small window") / virtio_transport::PAGE_SIZE;
            let memory = TestMemory::new().allocate(pages, DmaDirection::Both).expect("memory");
            memory.1.as_ptr().expose_provenance()
        });
        NonNull::new(core::ptr::with_exposed_provenance_mut(*address))
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, SeqCst))
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        for _ in 0..MOST_LOOKS {
            if ready() {
                // Once too often: what was found must not be looked for again.
                return ready();
            }
            if self.now() >= deadline {
                return ready();
            }
            thread::yield_now();
        }
        panic!("nobody ends this wait");
    }
}

/// A device that is set up, and is reset as soon as a reset is asked for.
struct ModelTransport;

impl ShmTransport for ModelTransport {}

impl Transport for ModelTransport {
    fn device_id(&self) -> u16 {
        virtio_shm::FILE_SYSTEM
    }

    fn read_device_features(&mut self) -> u64 {
        0
    }

    fn write_driver_features(&mut self, _features: u64) {}

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::empty()
    }

    fn set_status(&mut self, _status: DeviceStatus) {}

    fn begin_reset(&mut self) {}

    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        0
    }

    fn queue_set(&mut self, _queue: u16, _size: u32, _descriptors: PhysAddr, _driver: PhysAddr, _device: PhysAddr) {}

    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, _queue: u16) -> bool {
        false
    }

    fn notify(&mut self, _queue: u16) {}

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::QUEUE_INTERRUPT
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config(&self, _offset: usize, _width: usize, _bytes: &mut [u8]) -> Result<(), ConfigError> {
        Err(ConfigError::Missing)
    }

    fn write_config(&mut self, _offset: usize, _width: usize, _bytes: &[u8]) -> Result<(), ConfigError> {
        Err(ConfigError::Missing)
    }
}

/// The queue for FORGETs and one for requests, of four slots, and their devices.
fn queues() -> ([Channel<ModelMutex>; 2], [TestDevice; 2]) {
    let hiprio = Channel::new(&TestMemory::new(), 0, 4, false, false).expect("memory");
    let requests = Channel::new(&TestMemory::new(), 1, 16, false, false).expect("memory");
    let devices = [TestDevice::new(hiprio.layout()), TestDevice::new(requests.layout())];
    ([hiprio, requests], devices)
}

/// A connection with these queues and some buffers of 64 bytes.
fn connection_of(channels: [Channel<ModelMutex>; 2], buffers: usize, timeout: Duration) -> Connection<ModelMutex> {
    let pool = DataPool::new(&TestMemory::new(), buffers, 64).expect("memory");
    let deadlines = Deadlines { short: timeout, long: timeout };
    let limits = Limits { data_buffer_size: 64, deadlines, max_timeouts: u32::MAX };
    let port = Arc::new(Port::<ModelMutex>::new(Box::new(ModelTransport)));
    Connection::new(Arc::new(ModelPlatform::default()), port, Box::new(channels), None, pool, limits)
}

/// A connection, and the device of its requests.
fn connection(buffers: usize, timeout: Duration) -> (Connection<ModelMutex>, TestDevice) {
    let (channels, [_, device]) = queues();
    (connection_of(channels, buffers, timeout), device)
}

/// Answers requests with their own numbers, in reverse order, until `stop` is set; then those that are left.
fn serve(mut device: TestDevice, stop: &AtomicBool) {
    loop {
        let last = stop.load(SeqCst);
        for head in device.available().into_iter().rev() {
            let (mut at, mut written) = (head, 0);
            let unique: u64 = device::read(device.descriptor(head).0);
            loop {
                let (address, len, flags, next) = device.descriptor(at);
                if flags & WRITE != 0 {
                    device::write(address, unique);
                    written += len;
                }
                thread::yield_now();
                if flags & NEXT == 0 {
                    break;
                }
                at = next;
            }
            device.give_back(head.into(), written);
        }
        if last {
            return;
        }
        thread::yield_now();
    }
}

/// A request with this number, for the device above.
fn request<'a>(opcode: Opcode, unique: u64, parts: &[&'a [u8]], reply_data: usize) -> Request<'a> {
    let meta = RequestMeta { opcode, node: NodeId(1), unique };
    Request { meta, parts: parts.iter().copied().collect(), reply_len: 16, reply_data }
}

/// Runs threads beside a device, which may count together, and then looks what is left.
fn beside_a_device<const THREADS: usize>(
    buffers: usize,
    timeout: Duration,
    act: impl Fn(&Arc<Connection<ModelMutex>>, &AtomicU64, u64) + Send + Sync + 'static,
    end: impl Fn(&Connection<ModelMutex>, &AtomicU64) + Send + Sync + 'static,
) {
    let act = Arc::new(act);
    let run = move || {
        let (connection, device) = connection(buffers, timeout);
        let connection = Arc::new(connection);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let count = Arc::new(AtomicU64::new(0));
        let server = thread::spawn(move || serve(device, &stopped));
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|index| {
                let (connection, count, act) = (connection.clone(), count.clone(), act.clone());
                thread::spawn(move || act(&connection, &count, index))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        stop.store(true, SeqCst);
        server.join().expect("no panic");
        connection.process();
        end(&connection, &count);
        connection.stop();
    };
    shuttle::check_random(run, ROUNDS);
}

#[test]
fn everybody_gets_his_own_answer() {
    beside_a_device::<3>(
        2,
        NEVER,
        |connection, _, index| {
            for round in 0..2 {
                let unique = 2 + index * 100 + round * 2;
                let header = unique.to_le_bytes();
                let parts: [&[u8]; 1] = [&header];
                let outgoing = request(Opcode::READ, unique, &parts, 32);
                let submitted = connection.submit(1, &outgoing, true, false).expect("a queue").expect("patience");
                connection.kick(1);
                connection.handle_interrupt();
                let mut data = [0; 32];
                let mut head = [0; REPLY_BYTES];
                let received = InFlight::new(connection, submitted).wait(&mut head, &mut data).expect("an answer");
                assert_eq!((&received.head[..8], received.data_len), (&header[..], 32));
                assert_eq!(data[..8], header, "data of its own");
            }
        },
        |connection, _| assert!(connection.is_idle(2), "slots and buffers are all free"),
    );
}

#[test]
fn what_is_given_up_costs_neither_slot_nor_buffer_nor_look_up() {
    // So short that some requests are answered in time, some late, and some given up at once.
    const SENT: u64 = 3 * 3;
    beside_a_device::<3>(
        1,
        Duration::from_millis(20),
        |connection, seen, index| {
            for round in 0..SENT / 3 {
                let unique = 2 + index * 100 + round * 2;
                let header = unique.to_le_bytes();
                let parts: [&[u8]; 1] = [&header];
                let outgoing = request(Opcode::READDIRPLUS, unique, &parts, 32);
                let submitted = match connection.submit(1, &outgoing, true, false) {
                    Ok(submitted) => submitted.expect("patience"),
                    Err(Error::TimedOut { .. }) => {
                        seen.fetch_add(1, SeqCst);
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                connection.kick(1);
                match InFlight::new(connection, submitted).wait(&mut [0; REPLY_BYTES], &mut [0; 32]) {
                    Ok(_) => {
                        seen.fetch_add(1, SeqCst);
                    }
                    Err(Error::TimedOut { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        },
        |connection, seen| {
            let late = connection.take_orphans();
            assert!(late.iter().all(|late| late.bytes[..8] == late.meta.unique.to_le_bytes()), "{late:?}");
            assert_eq!(seen.load(SeqCst) + late.len() as u64, SENT, "answered, late, or never sent");
            assert!(connection.is_idle(1), "slots and buffers are all free");
        },
    );
}

#[test]
fn two_buffers_are_taken_at_once_or_not_at_all() {
    beside_a_device::<3>(
        2,
        NEVER,
        |connection, _, index| {
            let unique = 2 + index * 2;
            let header = unique.to_le_bytes();
            let bulk = [0; 64];
            // Longer than a slot's own buffer together: the second part goes to a buffer, as does the answer.
            let fill = [0; REQUEST_BYTES - 16];
            let parts: [&[u8]; 3] = [&header, &fill, &bulk];
            let outgoing = request(Opcode::IOCTL, unique, &parts, 32);
            let submitted = connection.submit(1, &outgoing, true, false).expect("a queue").expect("patience");
            connection.kick(1);
            InFlight::new(connection, submitted).wait(&mut [0; REPLY_BYTES], &mut [0; 32]).expect("an answer");
        },
        |connection, _| assert!(connection.is_idle(2), "slots and buffers are all free"),
    );
}

#[test]
fn each_dirty_page_is_written_back_once() {
    let run = || {
        let dirty_pages = Arc::new(Mutex::<ModelMutex, _>::new(DirtyPages::new()));
        let platform = Arc::new(ModelPlatform::default());
        let written = Arc::new(AtomicU64::new(0));
        let all = fs_dax::FileRange::between(0, u64::MAX);
        let threads: Vec<_> = (0..3_u64)
            .map(|index| {
                let (dirty_pages, platform, written) = (dirty_pages.clone(), platform.clone(), written.clone());
                thread::spawn(move || {
                    dirty_pages.lock().mark(fs_dax::FileRange::between(index * PAGE_SIZE, (index + 1) * PAGE_SIZE));
                    let taken = wait_for(&*platform, NEVER, || dirty_pages.lock().begin(all)).expect("a turn");
                    written.fetch_add(taken.runs.iter().map(|run| run.len() / PAGE_SIZE).sum(), SeqCst);
                    thread::yield_now();
                    dirty_pages.lock().finish(taken.writeback.write_protected().flushed(), Ok(()));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((written.load(SeqCst), dirty_pages.lock().pages()), (3, 0));
    };
    shuttle::check_random(run, ROUNDS);
}
