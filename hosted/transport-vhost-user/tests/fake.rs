//! The front end against a back end that speaks the protocol byte by byte, and can be wrong.

#[path = "fake_back_end/mod.rs"]
mod fake_back_end;

use std::sync::mpsc::channel;
use std::time::Duration;

use fake_back_end::{Fake, Offer, PAGE, SHMEM_MAP, SHMEM_UNMAP, file};
use transport_vhost_user::{Asked, ConnectError, Connection, ControlError, GoneReason, Options, Refusal};
use virtio_fs::{Config, ConfigSpace as _, DeviceStatus, Interrupts, ShmId, ShmTransport as _, Transport, VirtioFs};

/// As long as no test that passes ever waits.
const LONG: Duration = Duration::from_secs(60);

fn options() -> Options {
    let mut options = Options::default();
    options.record = true;
    options.memory = 8 << 20;
    options.timeout = LONG;
    options
}

fn connect(offer: Offer) -> (Fake, Connection) {
    let (fake, socket) = Fake::start(offer);
    let connection = Connection::over(socket, &options()).expect("a connection");
    (fake, connection)
}

fn refusal(offer: Offer) -> ConnectError {
    let (_fake, socket) = Fake::start(offer);
    Connection::over(socket, &options()).expect_err("no connection")
}

const READY: DeviceStatus = DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER).union(DeviceStatus::FEATURES_OK);

/// A device with two running queues.
fn running(connection: &Connection) -> impl Transport {
    let mut transport = connection.transport();
    let features = transport.read_device_features();
    transport.write_driver_features(features);
    transport.set_status(READY);
    for queue in 0..2 {
        let base = 0x1_0000_0000 + u64::from(queue) * 0x1_0000;
        transport.queue_set(queue, 64, base, base + 0x1000, base + 0x2000);
        assert!(transport.queue_used(queue));
    }
    transport.set_status(READY | DeviceStatus::DRIVER_OK);
    assert_eq!(transport.get_status(), READY | DeviceStatus::DRIVER_OK);
    transport
}

#[test]
fn what_is_missing_is_named() {
    let lacks = |error: ConnectError, name| match error {
        ConnectError::Lacks { feature, .. } => assert_eq!(feature, name),
        other => panic!("{other}"),
    };
    lacks(refusal(Offer { features: 1 << 30, ..Offer::default() }), "VIRTIO_F_VERSION_1");
    lacks(refusal(Offer { features: 1 << 32, ..Offer::default() }), "VHOST_USER_F_PROTOCOL_FEATURES");
    let error = refusal(Offer { queues: 1, ..Offer::default() });
    assert!(matches!(error, ConnectError::TooFewQueues { queues: 1 }), "{error}");
    for window in [4095, u64::MAX, 1 << 60] {
        let error = refusal(Offer { window: Some(window), ..Offer::default() });
        assert!(matches!(error, ConnectError::Window { len, .. } if len == window), "{error}");
    }
}

#[test]
fn paths_that_are_no_sockets_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("nothing");
    let error = Connection::open(&nothing, &options()).expect_err("nothing is there");
    assert!(matches!(&error, ConnectError::NoSocket { path } if *path == nothing), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let error = Connection::open(&file, &options()).expect_err("nobody listens");
    assert!(matches!(&error, ConnectError::Connect { path, .. } if *path == file), "{error}");
}

#[test]
fn a_back_end_that_says_nothing_is_given_up() {
    let quick = Duration::from_millis(50);
    // The first request has a way of its own.
    for request in [15, 1, 17, 44] {
        let (_fake, socket) = Fake::start(Offer { silent: Some(request), ..Offer::default() });
        let mut options = options();
        options.timeout = quick;
        let error = Connection::over(socket, &options).expect_err("no answer");
        let ConnectError::Control(ControlError::Gone { reason, .. }) = error else { panic!("{error}") };
        assert_eq!(reason, GoneReason::Silent(quick), "request {request}");
    }
}

#[test]
fn a_back_end_that_goes_during_the_negotiation_is_noticed() {
    for request in [15, 1, 24, 44] {
        let error = refusal(Offer { closes: Some(request), ..Offer::default() });
        let ConnectError::Control(ControlError::Gone { reason, .. }) = error else { panic!("{error}") };
        assert_eq!(reason, GoneReason::Closed, "request {request}");
    }
}

#[test]
fn shared_memory_is_known_by_either_number() {
    for (shmem, window) in [(1 << 21, true), (1 << 22, true), (1 << 21 | 1 << 22, true), (0, false)] {
        let protocol = Offer::default().protocol & !(1 << 21 | 1 << 22) | shmem;
        let (_fake, connection) = connect(Offer { protocol, ..Offer::default() });
        assert_eq!(connection.window_len().is_some(), window, "{shmem:#x}");
        let region = connection.transport().shm_region(ShmId::FS_DAX_WINDOW).expect("well-formed");
        assert_eq!(region.map(|region| region.len()), window.then_some(Offer::WINDOW), "{shmem:#x}");
    }
}

#[test]
fn the_configuration_is_the_back_ends_or_the_monitors() {
    let (_fake, connection) = connect(Offer::default());
    let transport = connection.transport();
    let tag: [u8; 36] = transport.read_config_space(0).expect("a tag");
    assert_eq!(&tag[..6], b"theirs");
    assert_eq!(transport.read_config_space::<u32>(36), Ok(1));
    assert!(transport.read_config_space::<u32>(40).is_err());
    assert!(transport.read_config_space::<u32>(38).is_err());

    let protocol = Offer::default().protocol & !(1 << 9);
    let (_fake, connection) = connect(Offer { protocol, queues: 4, ..Offer::default() });
    let transport = connection.transport();
    let tag: [u8; 36] = transport.read_config_space(0).expect("a tag");
    assert_eq!(&tag[..6], b"share\0");
    assert_eq!(transport.read_config_space::<u32>(36), Ok(3));
}

#[test]
fn queues_are_set_up_in_order_and_stopped_by_a_reset() {
    let (fake, connection) = connect(Offer::default());
    let mut transport = running(&connection);
    assert_eq!(transport.max_queue_size(1), 256);
    assert_eq!(transport.max_queue_size(2), 0);
    transport.set_status(DeviceStatus::empty());
    assert!(transport.get_status().is_empty() && !transport.queue_used(0));
    let setup = [8, 10, 9, 13, 12];
    let mut expected = vec![2, 5];
    expected.extend(setup.iter().chain(&setup));
    expected.extend([18, 18, 18, 11, 18, 11]);
    let seen = fake.requests();
    let start = seen.iter().position(|&request| request == 2).expect("SET_FEATURES");
    assert_eq!(seen[start..], expected);
}

#[test]
fn a_refused_request_shows_where_virtio_has_a_place_for_it() {
    let (_fake, connection) = connect(Offer { refuses: Some(2), ..Offer::default() });
    let mut transport = connection.transport();
    transport.set_status(READY);
    assert!(!transport.get_status().contains(DeviceStatus::FEATURES_OK));
    let (_fake, connection) = connect(Offer { refuses: Some(12), ..Offer::default() });
    let mut transport = connection.transport();
    transport.set_status(READY);
    transport.queue_set(0, 64, 0x1_0000_0000, 0x1_0000_1000, 0x1_0000_2000);
    assert!(!transport.queue_used(0));
    let (_fake, connection) = connect(Offer { refuses: Some(18), ..Offer::default() });
    let mut transport = connection.transport();
    transport.set_status(READY);
    transport.queue_set(0, 64, 0x1_0000_0000, 0x1_0000_1000, 0x1_0000_2000);
    transport.set_status(READY | DeviceStatus::DRIVER_OK);
    assert!(transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET));
}

#[test]
fn mappings_are_made_and_refused_as_qemu_does() {
    let (fake, connection) = connect(Offer::default());
    let _transport = running(&connection);
    let channel = fake.channel();
    let four = file(4 * PAGE);
    let odd = file(PAGE + 1);
    let empty = file(0);
    let map = |file: &_, file_offset, offset, len| channel.ask(SHMEM_MAP, 0, file_offset, offset, len, Some(file));
    let unmap = |offset, len| channel.ask(SHMEM_UNMAP, 0, 0, offset, len, None);
    assert_eq!(map(&four, PAGE, 0, 2 * PAGE), 0);
    assert_eq!(map(&four, 0, PAGE, PAGE), 1, "overlap, also of the same pages");
    assert_eq!(map(&four, 0, Offer::WINDOW - PAGE, 2 * PAGE), 1, "past the window");
    assert_eq!(map(&four, 4 * PAGE, 8 * PAGE, PAGE), 1, "past the end of the file");
    assert_eq!(map(&odd, PAGE, 8 * PAGE, PAGE), 1, "a partial page");
    assert_eq!(map(&empty, 0, 8 * PAGE, PAGE), 1);
    assert_eq!(empty.metadata().expect("it is open").len(), 0, "nobody made it longer");
    assert_eq!(channel.ask(SHMEM_MAP, 1, 0, 8 * PAGE, PAGE, Some(&four)), 1, "another region");
    assert_eq!(unmap(0, PAGE), 1, "part of a mapping");
    assert_eq!(unmap(8 * PAGE, PAGE), 1, "nothing");
    assert_eq!(channel.barrier(), 1, "no such object");
    assert_eq!(connection.mappings(), [(0, 2 * PAGE)]);
    assert_eq!(unmap(0, 2 * PAGE), 0);
    assert_eq!(connection.mappings(), []);

    let events = connection.take_events();
    assert!(matches!(events[0].asked, Asked::Map { window_offset: 0, file_offset: PAGE, len, .. } if len == 2 * PAGE));
    assert!(matches!(events[1].outcome, Err(Refusal::Overlap { other: 0, .. })));
    assert!(matches!(events[2].outcome, Err(Refusal::Outside { .. })));
    for event in &events[3..6] {
        assert!(matches!(event.outcome, Err(Refusal::PastEnd { .. })), "{event:?}");
    }
    assert!(matches!(events[6].outcome, Err(Refusal::NoRegion { shmid: 1 })));
    assert_eq!(events[9].asked, Asked::Barrier);
    let counts = connection.counts();
    assert_eq!((counts.maps, counts.unmaps, counts.barriers, counts.refused), (1, 1, 1, 8));
}

#[test]
fn nothing_is_mapped_while_the_device_does_not_run() {
    let (fake, connection) = connect(Offer::default());
    let channel = fake.channel();
    let pages = file(PAGE);
    assert_eq!(channel.ask(SHMEM_MAP, 0, 0, 0, PAGE, Some(&pages)), 1);
    let mut transport = running(&connection);
    assert_eq!(channel.ask(SHMEM_MAP, 0, 0, 0, PAGE, Some(&pages)), 0);
    transport.set_status(DeviceStatus::empty());
    assert_eq!(connection.mappings(), [], "a reset takes all away");
    assert_eq!(channel.ask(SHMEM_MAP, 0, 0, 0, PAGE, Some(&pages)), 1);
    let refused: Vec<_> = connection.take_events().into_iter().filter_map(|event| event.outcome.err()).collect();
    assert_eq!(refused, [Refusal::NotRunning; 2]);
}

#[test]
fn nonsense_on_the_channel_closes_it() {
    let (fake, connection) = connect(Offer::default());
    let _transport = running(&connection);
    let channel = fake.channel();
    assert!(channel.nonsense(), "the channel is closed");
    assert_eq!(connection.gone(), None, "the device lives on");
}

#[test]
fn a_back_end_that_goes_ends_every_wait() {
    let (fake, connection) = connect(Offer::default());
    let (told, tells) = channel();
    connection.on_gone(move |reason| told.send(reason).expect("the test listens"));
    let config = Config::default().interrupts(Interrupts::Deferred).request_timeout(LONG);
    let mount = std::thread::scope(|scope| {
        let mount =
            scope.spawn(|| VirtioFs::mount(connection.transport(), connection.memory(), connection.platform(), config));
        // Nobody serves the queues: the driver waits for the answer to INIT by then, or soon.
        fake.wait_for(18);
        fake.close();
        mount.join().expect("no panic")
    });
    assert!(mount.is_err());
    assert_eq!(tells.recv_timeout(LONG), Ok(GoneReason::Closed));
    assert_eq!(connection.gone(), Some(GoneReason::Closed));
}
