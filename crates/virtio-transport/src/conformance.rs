//! Tests that every transport must pass, against a device that obeys the specification to the letter, and against one
//! that breaks it in one point. They are named after the clause of virtio 1.3.
//!
//! A transport's crate implements [`Subject`] in an integration test and calls [`conformance!`](crate::conformance!),
//! which makes a `#[test]` of each function here. [`Numbers`] and [`exercise`] are for tests with devices that answer
//! anything at all.

use alloc::{sync::Arc, vec::Vec};
use core::cell::Cell;

use spin::Mutex;

use crate::model::{Area, Device, Manners, Spec};
use crate::sequence::ResetTimeout;
use crate::{ConfigError, ConfigSpace, DeviceStatus, InterruptStatus, Transport};

/// The feature that every modern device has.
pub const VERSION_1: u64 = 1 << 32;
/// The status once the features are negotiated.
pub const READY: DeviceStatus = DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER).union(DeviceStatus::FEATURES_OK);
const GREETED: DeviceStatus = DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER);

/// A transport under test.
pub trait Subject {
    /// Its type.
    type Transport: Transport;

    /// How many bytes of configuration it takes a file system device's for.
    const CONFIG_LEN: usize;

    /// Whether [`Transport::queue_unset`] stops a queue.
    const STOPS_QUEUES: bool;

    /// Opens a device.
    fn open(device: &Device) -> Self::Transport;

    /// Sets how often the status is read before a reset counts as failed.
    fn set_poll_limit(transport: &mut Self::Transport, polls: u32);

    /// Resets the device and waits as long as the limit allows.
    ///
    /// # Errors
    ///
    /// It did not reset.
    fn reset(transport: &mut Self::Transport) -> Result<(), ResetTimeout>;

    /// Resets the device and waits as long as `keep_waiting` says so.
    ///
    /// # Errors
    ///
    /// It did not reset.
    fn reset_while(transport: &mut Self::Transport, keep_waiting: &mut dyn FnMut() -> bool)
    -> Result<(), ResetTimeout>;
}

/// Makes a test of each function of [`conformance`](mod@crate::conformance) for a [`Subject`].
#[macro_export]
macro_rules! conformance {
    ($subject:ty) => {
        $crate::conformance!(@each $subject:
            s_5_device_ids_as_the_device_gives_them
            s_2_1_1_status_bits_go_one_at_a_time_and_stay
            s_2_1_2_a_reset_can_be_begun_without_waiting
            s_3_1_1_features_that_the_device_refuses
            s_6_1_a_driver_without_version_1_is_refused
            s_2_4_1_a_reset_is_waited_for_but_not_for_ever
            s_2_6_queues
            s_2_9_notifications_reach_the_queue
            s_2_5_configuration
            s_2_5_1_a_configuration_that_changes_is_read_anew_but_not_for_ever
        );
    };
    (@each $subject:ty: $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::$name::<$subject>();
            }
        )+
    };
}

/// Checks that the driver has made no mistake.
///
/// # Panics
///
/// If it has made one.
#[track_caller]
pub fn clean(device: &Device) {
    assert_eq!(device.mistakes(), [""; 0]);
}

/// The initialisation up to FEATURES_OK, with several status bits at once, as drivers do it.
///
/// # Panics
///
/// If the device does not offer these features.
pub fn negotiate(transport: &mut impl Transport, features: u64) {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(GREETED);
    assert_eq!(transport.read_device_features() & features, features);
    transport.write_driver_features(features);
    transport.set_status(READY);
}

fn new<S: Subject>(spec: Spec) -> (Device, S::Transport) {
    let device = Device::new(spec);
    let transport = S::open(&device);
    (device, transport)
}

/// See the name.
pub fn s_5_device_ids_as_the_device_gives_them<S: Subject>() {
    for id in [26, 16] {
        let (device, transport) = new::<S>(Spec::new(id));
        assert_eq!(transport.device_id(), id);
        clean(&device);
    }
}

/// See the name.
pub fn s_2_1_1_status_bits_go_one_at_a_time_and_stay<S: Subject>() {
    let (device, mut transport) = new::<S>(Spec::file_system("tag", 1));
    negotiate(&mut transport, VERSION_1);
    assert_eq!(transport.get_status(), READY);
    transport.finish_init();
    assert_eq!(transport.get_status(), READY | DeviceStatus::DRIVER_OK);
    // Bits that the caller leaves out stay set.
    transport.set_status(DeviceStatus::FAILED);
    assert_eq!(transport.get_status(), READY | DeviceStatus::DRIVER_OK | DeviceStatus::FAILED);
    S::reset(&mut transport).expect("the device resets");
    negotiate(&mut transport, VERSION_1);
    assert_eq!(device.driver_features(), VERSION_1);
    drop(transport);
    assert_eq!(device.status(), 0, "a transport that is dropped resets its device");
    clean(&device);
}

/// See the name.
pub fn s_2_1_2_a_reset_can_be_begun_without_waiting<S: Subject>() {
    let slow = Manners { reset_reads: 100, ..Manners::default() };
    let (device, mut transport) = new::<S>(Spec::new(26).with_manners(slow));
    negotiate(&mut transport, VERSION_1);
    let resets = device.resets();
    transport.begin_reset();
    assert_eq!(device.resets(), resets + 1);
    for _ in 0..100 {
        assert!(!transport.get_status().is_empty(), "nobody has read the status but this test");
    }
    assert!(transport.get_status().is_empty());
    transport.set_status(GREETED);
    assert_eq!(transport.get_status(), GREETED, "the sequence begins anew");
    clean(&device);

    let stuck = Manners { reset_reads: u32::MAX, ..Manners::default() };
    let (device, mut transport) = new::<S>(Spec::new(26).with_manners(stuck));
    transport.set_status(GREETED);
    transport.begin_reset();
    let resets = device.resets();
    drop(transport);
    assert_eq!(device.resets(), resets, "it was asked to reset already");
    clean(&device);
}

/// See the name.
pub fn s_3_1_1_features_that_the_device_refuses<S: Subject>() {
    let refuses = Manners { refuses_features: true, ..Manners::default() };
    let (device, mut transport) = new::<S>(Spec::new(26).with_manners(refuses));
    negotiate(&mut transport, VERSION_1);
    assert!(!transport.get_status().contains(DeviceStatus::FEATURES_OK));
    // Nor is it talked into DRIVER_OK.
    transport.set_status(READY | DeviceStatus::DRIVER_OK);
    assert_eq!(transport.get_status(), GREETED);
    transport.finish_init();
    assert_eq!(transport.get_status(), GREETED | DeviceStatus::FAILED);
    clean(&device);
}

/// See the name.
pub fn s_6_1_a_driver_without_version_1_is_refused<S: Subject>() {
    let (device, mut transport) = new::<S>(Spec::new(26));
    negotiate(&mut transport, 0);
    assert!(!transport.get_status().contains(DeviceStatus::FEATURES_OK));
    clean(&device);
}

/// See the name.
pub fn s_2_4_1_a_reset_is_waited_for_but_not_for_ever<S: Subject>() {
    let slow = Manners { reset_reads: 70, ..Manners::default() };
    let (device, mut transport) = new::<S>(Spec::new(26).with_manners(slow));
    negotiate(&mut transport, VERSION_1);
    S::reset(&mut transport).expect("it resets after a while");
    negotiate(&mut transport, VERSION_1);
    S::set_poll_limit(&mut transport, 50);
    assert_eq!(S::reset(&mut transport), Err(ResetTimeout { status: 0xb, polls: 50 }));
    clean(&device);

    let stuck = Manners { reset_reads: u32::MAX, ..Manners::default() };
    let (device, mut transport) = new::<S>(Spec::new(26).with_manners(stuck));
    negotiate(&mut transport, VERSION_1);
    let mut left = 7;
    let mut deadline = || {
        left -= 1;
        left > 0
    };
    assert_eq!(S::reset_while(&mut transport, &mut deadline), Err(ResetTimeout { status: 0xb, polls: 7 }));
    S::set_poll_limit(&mut transport, 10);
    transport.set_status(DeviceStatus::empty());
    assert!(!transport.get_status().is_empty(), "a failed reset shows");
    clean(&device);
}

/// See the name.
pub fn s_2_6_queues<S: Subject>() {
    let (device, mut transport) = new::<S>(Spec::file_system("tag", 1));
    negotiate(&mut transport, VERSION_1);
    assert_eq!(transport.max_queue_size(1), 128);
    assert_eq!(transport.max_queue_size(2), 0);
    assert!(!transport.queue_used(1));
    let addresses = [0x1_2345_6000, 0x2_3456_7010, 0xf_ffff_f004];
    transport.queue_set(1, 64, addresses[0], addresses[1], addresses[2]);
    assert!(transport.queue_used(1));
    assert!(!transport.queue_used(0));
    let queue = device.queue(1).expect("there is one");
    assert_eq!((queue.size, queue.areas, queue.ready), (64, addresses, true));
    assert_eq!(queue.areas[Area::Device as usize], addresses[2]);
    transport.finish_init();
    transport.notify(1);
    transport.queue_unset(1);
    assert_eq!(transport.queue_used(1), !S::STOPS_QUEUES);
    clean(&device);
}

/// See the name.
pub fn s_2_9_notifications_reach_the_queue<S: Subject>() {
    let (device, mut transport) = new::<S>(Spec::file_system("tag", 40));
    let notified = Arc::new(Mutex::new(Vec::new()));
    let (list, interrupter) = (notified.clone(), device.clone());
    device.on_notify(move |queue| {
        list.lock().push(queue);
        interrupter.interrupt(1);
    });
    negotiate(&mut transport, VERSION_1);
    for queue in 0..=40 {
        transport.queue_set(queue, 128, 0x1000, 0x2000, 0x3000);
    }
    transport.finish_init();
    let order = [2, 0, 40, 31, 32, 1, 1];
    for queue in order {
        transport.notify(queue);
    }
    assert_eq!(*notified.lock(), order);
    assert_eq!(transport.ack_interrupt(), InterruptStatus::QUEUE_INTERRUPT);
    assert_eq!(device.pending(), 0);
    assert_eq!(transport.ack_interrupt(), InterruptStatus::empty());
    device.interrupt(3);
    assert_eq!(transport.ack_interrupt().bits(), 3);
    assert_eq!(device.pending(), 0);
    clean(&device);
}

/// See the name.
pub fn s_2_5_configuration<S: Subject>() {
    let (device, mut transport) = new::<S>(Spec::file_system("a tag", 3));
    let tag: [u8; 36] = transport.read_config_space(0).expect("there is a tag");
    assert!(tag.starts_with(b"a tag\0"));
    assert_eq!(transport.read_config_space::<u32>(36), Ok(3));
    assert_eq!(transport.read_config_space::<u16>(36), Ok(3));
    assert_eq!(transport.read_config_space::<u64>(32), Ok(3 << 32));
    transport.write_config_space(36, 0x0102_0304u32).expect("inside");
    transport.write_config_space(0, [b'b', b'c']).expect("inside");
    transport.write_config_space(34, 0xabcdu16).expect("inside");
    assert_eq!(device.config()[..2], *b"bc");
    assert_eq!(device.config()[34..], [0xcd, 0xab, 4, 3, 2, 1]);
    clean(&device);

    let size = S::CONFIG_LEN;
    let outside = |offset, len| ConfigError::Outside { offset, len, size };
    let unaligned = |offset, len| ConfigError::Unaligned { offset, len, width: len };
    assert_eq!(transport.read_config_space::<u32>(size), Err(outside(size, 4)));
    assert_eq!(transport.read_config_space::<u64>(size - 4), Err(outside(size - 4, 8)));
    assert_eq!(transport.read_config_space::<u8>(usize::MAX), Err(outside(usize::MAX, 1)));
    assert_eq!(transport.read_config_space::<u32>(38), Err(unaligned(38, 4)));
    assert_eq!(transport.write_config_space(usize::MAX - 3, 0u32), Err(outside(usize::MAX - 3, 4)));
    assert_eq!(transport.write_config_space(1, 0u16), Err(unaligned(1, 2)));
    let mut bytes = [0; 6];
    for width in [0, 3, 4, 8] {
        assert_eq!(
            transport.read_config(0, width, &mut bytes),
            Err(ConfigError::Unaligned { offset: 0, len: 6, width })
        );
    }
    clean(&device);
}

/// See the name.
pub fn s_2_5_1_a_configuration_that_changes_is_read_anew_but_not_for_ever<S: Subject>() {
    let restless = Manners { config_changes: 5, ..Manners::default() };
    let (device, transport) = new::<S>(Spec::file_system("tag", 3).with_manners(restless));
    let reads = Cell::new(0);
    let read = || {
        reads.set(reads.get() + 1);
        transport.read_config_space::<u32>(36)
    };
    assert_eq!(transport.read_consistent(read), Ok(3));
    assert_eq!(reads.get(), 3);
    clean(&device);

    let never = Manners { config_changes: u32::MAX, ..Manners::default() };
    let (device, transport) = new::<S>(Spec::file_system("tag", 3).with_manners(never));
    let unstable = ConfigError::Unstable { tries: 1000 };
    assert_eq!(transport.read_consistent(|| transport.read_config_space::<u32>(36)), Err(unstable));
    clean(&device);
}

/// SplitMix64, for devices that answer anything at all.
#[derive(Clone, Debug)]
pub struct Numbers(
    /// The state, which is the seed at first.
    pub u64,
);

impl Numbers {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One of `from`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number of the kind that breaks arithmetic.
    pub fn edge(&mut self) -> u32 {
        match self.below(9) {
            0 => 0,
            1 => u32::MAX,
            2 => 1 << self.below(32),
            3 => (1u64 << self.below(33)).wrapping_sub(1) as u32,
            4 => self.below(16) as u32,
            5 => (self.next() as u32) & 0xffff_f000,
            6 => self.below(8) as u32 * 0x800,
            _ => self.next() as u32,
        }
    }
}

/// Makes every call that a driver makes, with arguments by `pick`. Whatever the device answers, no call panics.
///
/// `offsets`: up to where the configuration is accessed, most of the time.
pub fn exercise(transport: &mut impl Transport, pick: &mut Numbers, offsets: u64) {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(GREETED);
    let features = transport.read_device_features();
    transport.write_driver_features(features);
    transport.set_status(DeviceStatus::from_bits_retain(pick.next() as u32));
    transport.finish_init();
    for queue in [0, 1, pick.next() as u16] {
        let size = transport.max_queue_size(queue);
        transport.queue_set(queue, size, pick.next(), pick.next(), pick.next());
        let _ = transport.queue_used(queue);
        transport.notify(queue);
        transport.queue_unset(queue);
    }
    transport.ack_interrupt();
    let offset = if pick.below(8) == 0 { pick.next() as usize } else { pick.below(offsets) as usize };
    let _ = transport.read_config_space::<u8>(offset);
    let _ = transport.read_config_space::<u16>(offset);
    let _ = transport.read_config_space::<u32>(offset);
    let _ = transport.read_config_space::<u64>(offset);
    let _ = transport.read_config_space::<[u8; 36]>(offset);
    let _ = transport.write_config_space(offset, pick.next());
    let _ = transport.read_consistent(|| transport.read_config_space::<u8>(0));
    transport.begin_reset();
}
