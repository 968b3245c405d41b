//! Finding the device, its features and its window; a session; and what libkrun's device is known to do differently.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use transport_mmio::MmioTransport;
use virtio_fs::{DaxStatus, MountError, OpenOptions};
use virtio_shm::{ShmId, ShmTransport};
use virtio_transport::model::Manners;
use virtio_transport::{DeviceStatus, Registers, Transport};

use crate::rig::content::{assert_same, content};
use crate::rig::ledger::{op, u64_at};
use crate::rig::logs;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    a_window_is_found_and_used,
    no_window_is_normal,
    dax_can_be_switched_off,
    interrupts_instead_of_polling,
    addresses_may_be_identical,
    a_device_can_be_mounted_again,
    a_drop_without_an_unmount_leaves_nothing_behind,
}

fn a_window_is_found_and_used(peer: Peer) {
    let data = content(1, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    assert_eq!(fs.dax_status(), DaxStatus::Active);
    let region = fs.window_region().expect("a window");
    let window = peer.window().expect("a window");
    assert_eq!((region.addr(), region.len()), (window.address, window.len));
    let (tag, queues, minor) = match peer.kind {
        Kind::Krun => ("krun", 1, 27),
        Kind::Strict => ("strict", 2, 33),
    };
    assert_eq!(fs.tag().as_str(), Some(tag));
    assert_eq!(fs.request_queues(), queues);
    assert_eq!(fs.protocol().minor(), minor);
    assert_same(&fs.read("file").unwrap(), &data, "through the window");
    let stats = fs.stats();
    assert!(stats.dax_read_bytes >= 2 << 20, "{stats:?}");
    peer.finish(fs);
}

fn no_window_is_normal(peer: Peer) {
    let peer = peer.with_window(None);
    let data = content(2, 300_000);
    peer.put("file", &data);
    let fs = peer.mount();
    assert_eq!(fs.dax_status(), DaxStatus::NoWindow);
    assert_same(&fs.read("file").unwrap(), &data, "by requests");
    fs.write("new", &data).unwrap();
    assert_same(&peer.get("new"), &data, "on the host");
    assert_eq!(fs.stats().dax_read_bytes, 0);
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    file.map(0, 4096).expect_err("nothing to map into");
    drop(file);
    peer.finish(fs);
}

fn dax_can_be_switched_off(peer: Peer) {
    peer.put("file", b"contents");
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    assert_eq!(fs.dax_status(), DaxStatus::SwitchedOff);
    assert_eq!(fs.read("file").unwrap(), b"contents");
    peer.finish(fs);
}

fn interrupts_instead_of_polling(peer: Peer) {
    let peer = peer.with_interrupts();
    // FORGETs go by a queue of their own, which is waited for too.
    let fs = peer.mount_with(peer.config().max_inodes(2)).unwrap();
    let started = Instant::now();
    for index in 0..50 {
        fs.write(format!("other-{index}"), b"").unwrap();
        let data = content(index, 5000);
        fs.write("file", &data).unwrap();
        assert_same(&fs.read("file").unwrap(), &data, index);
        fs.handle_interrupt();
    }
    assert!(peer.slept() > 0, "the driver never waited");
    if let Some(strict) = peer.if_strict() {
        assert!(strict.interrupts() > 0);
    }
    let deadline = peer.config().request_timeout;
    peer.finish(fs);
    assert!(started.elapsed() < deadline, "somebody slept until a deadline: an interrupt that never came");
}

fn addresses_may_be_identical(peer: Peer) {
    let peer = peer.with_identity();
    let data = content(3, 100_000);
    peer.put("file", &data);
    let fs = peer.mount();
    assert_same(&fs.read("file").unwrap(), &data, "the file");
    peer.finish(fs);
}

fn a_device_can_be_mounted_again(peer: Peer) {
    peer.put("file", &content(4, 5 << 20));
    for round in 0..3 {
        let fs = peer.mount();
        assert_same(&fs.read("file").unwrap(), &content(4, 5 << 20), round);
        fs.unmount().unwrap();
    }
    peer.end();
}

fn a_drop_without_an_unmount_leaves_nothing_behind(peer: Peer) {
    peer.put("file", &content(5, 5 << 20));
    let fs = peer.mount();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    let mut start = [0; 100];
    file.read_exact_at(&mut start, 0).unwrap();
    drop(fs);
    file.read_exact_at(&mut start, 1 << 20).expect("a file keeps its file system");
    drop(file);
    peer.end();
}

#[test]
fn what_the_device_offers_is_used() {
    for (indirect, event_idx) in [(false, false), (false, true), (true, false), (true, true)] {
        let peer = Peer::new(Kind::Strict).with_options(|options| {
            options.indirect = indirect;
            options.event_idx = event_idx;
            options.request_queues = 4;
        });
        let data = content(6, 1 << 20);
        peer.put("file", &data);
        let fs = peer.mount_with(peer.config().dax(false)).unwrap();
        assert_eq!(fs.features() & 1 << 28 != 0, indirect);
        assert_eq!(fs.features() & 1 << 29 != 0, event_idx);
        assert_eq!(fs.features() & 1 << 32, 1 << 32);
        assert_eq!(fs.request_queues(), 4);
        assert_same(&fs.read("file").unwrap(), &data, "by requests");
        peer.finish(fs);
    }
}

#[test]
fn queues_of_every_size_are_served() {
    for (size, indirect) in [(1, true), (2, true), (4, false), (8, false), (1024, true), (1024, false)] {
        let peer = Peer::new(Kind::Strict).with_options(|options| {
            options.queue_size = size;
            options.indirect = indirect;
        });
        let data = content(7, 1 << 20);
        peer.put("file", &data);
        let fs = peer.mount();
        assert_same(&fs.read("file").unwrap(), &data, size);
        fs.write("new", &data).unwrap();
        assert_same(&peer.get("new"), &data, size);
        peer.finish(fs);
    }
}

#[test]
fn a_queue_too_small_is_refused() {
    let peer = Peer::new(Kind::Strict).with_options(|options| {
        options.queue_size = 2;
        options.indirect = false;
    });
    let error = peer.mount_with(peer.config()).expect_err("no room for a chain");
    assert!(matches!(error, MountError::QueueTooSmall { queue: 0, size: 2 }), "{error:?}");
    peer.end();
}

#[test]
fn a_device_without_request_queues_is_refused() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.request_queues = 0);
    let error = peer.mount_with(peer.config()).expect_err("no request queue");
    assert!(matches!(error, MountError::NoRequestQueue), "{error:?}");
    peer.end();
}

#[test]
fn a_device_that_refuses_all_features_is_refused() {
    let manners = Manners { refuses_features: true, ..Manners::default() };
    let peer = Peer::new(Kind::Strict).with_options(|options| options.manners = manners);
    let error = peer.mount_with(peer.config()).expect_err("features are refused");
    assert!(matches!(error, MountError::FeaturesRefused { .. }), "{error:?}");
    peer.end();
}

#[test]
fn a_configuration_that_never_rests_is_refused() {
    let manners = Manners { config_changes: u32::MAX, ..Manners::default() };
    let peer = Peer::new(Kind::Strict).with_options(|options| options.manners = manners);
    let error = peer.mount_with(peer.config()).expect_err("the configuration changes");
    assert!(matches!(error, MountError::ConfigUnstable { .. }), "{error:?}");
    peer.end();
}

#[test]
fn a_configuration_that_changes_a_few_times_is_read_in_the_end() {
    let manners = Manners { config_changes: 5, ..Manners::default() };
    let peer = Peer::new(Kind::Strict).with_options(|options| options.manners = manners);
    let fs = peer.mount();
    assert_eq!(fs.tag().as_str(), Some("strict"));
    peer.finish(fs);
}

#[test]
fn a_reset_that_takes_a_while_is_waited_for() {
    let manners = Manners { reset_reads: 100, ..Manners::default() };
    let peer = Peer::new(Kind::Strict).with_still_clock().with_options(|options| options.manners = manners);
    let fs = peer.mount();
    peer.put("file", b"contents");
    assert_eq!(fs.read("file").unwrap(), b"contents");
    peer.finish(fs);
}

#[test]
fn a_window_below_one_range_is_no_window() {
    let peer = Peer::new(Kind::Strict).with_window(Some(1 << 20));
    peer.put("file", b"contents");
    let fs = peer.mount();
    assert!(matches!(fs.dax_status(), DaxStatus::Unusable(_)), "{:?}", fs.dax_status());
    assert_eq!(fs.read("file").unwrap(), b"contents");
    peer.finish(fs);
}

#[test]
fn a_window_that_is_no_multiple_of_a_range_is_used_as_far_as_it_goes() {
    for kind in [Kind::Krun, Kind::Strict] {
        let peer = Peer::new(kind).with_window(Some((5 << 20) + 4096));
        let data = content(8, 9 << 20);
        peer.put("file", &data);
        let fs = peer.mount();
        assert_eq!(fs.dax_status(), DaxStatus::Active);
        assert_same(&fs.read("file").unwrap(), &data, "through two ranges");
        peer.finish(fs);
    }
}

#[test]
fn krun_answers_shm_id_1_as_id_0() {
    let peer = Peer::new(Kind::Krun);
    let mut transport = MmioTransport::new(peer.krun().registers()).unwrap();
    let first = transport.shm_region(ShmId(0)).unwrap().expect("the window");
    let second = transport.shm_region(ShmId(1)).unwrap().expect("libkrun's alias");
    assert_eq!((first.addr(), first.len()), (second.addr(), second.len()));
    assert_eq!(transport.shm_region(ShmId(2)), Ok(None), "base 0 and all ones as length");
    let mut regions = Vec::new();
    transport.for_each_shm_region(&mut |region| regions.push(region.unwrap()));
    assert_eq!(regions, [first], "reported once");
    drop(transport);
    peer.end();
}

#[test]
fn krun_has_no_region_without_a_window() {
    let peer = Peer::new(Kind::Krun).with_window(None);
    let mut transport = MmioTransport::new(peer.krun().registers()).unwrap();
    for id in [0, 1, 2, 255] {
        assert_eq!(transport.shm_region(ShmId(id)), Ok(None));
    }
    drop(transport);
    peer.end();
}

#[test]
fn krun_takes_status_bits_one_at_a_time_only() {
    let peer = Peer::new(Kind::Krun);
    let mut registers = peer.krun().registers();
    let said = logs::expecting(|| registers.write32(0x70, 3));
    assert!(said.iter().any(|line| line.contains("status transition")), "{said:?}");
    assert_eq!(registers.read32(0x70), 0);
    let mut transport = MmioTransport::new(registers).unwrap();
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.get_status(), DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER, "the transport splits it");
    drop(transport);
    peer.end();
}

#[test]
fn krun_keeps_mappings_over_a_reset() {
    let mut peer = Peer::new(Kind::Krun);
    peer.put("file", &content(9, 2 << 20));
    let fs = peer.mount_with(peer.config().request_timeout(Duration::from_secs(5)).max_timeouts(1)).unwrap();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    let map = file.map(0, 4096).unwrap();
    let offset = map.phys_addr() - peer.window().unwrap().address;
    assert!(peer.window().unwrap().readable(offset));
    drop((map, file));
    peer.krun().registers().write32(0x70, 0);
    assert!(peer.window().unwrap().readable(offset), "what only a driver's REMOVEMAPPING takes away");
    // The driver knows nothing of this reset: to it the device is one that stopped answering.
    peer.leaks();
    drop(fs);
    peer.end();
}

#[test]
fn krun_takes_all_its_mappings_down_at_unmount() {
    let peer = Peer::new(Kind::Krun).with_window(Some(8 << 20));
    peer.put("file", &content(10, 8 << 20));
    let fs = peer.mount();
    fs.read("file").unwrap();
    let window = peer.window().unwrap().clone();
    assert!((0..4).any(|range| window.readable(range << 21)));
    fs.unmount().unwrap();
    assert!((0..4).all(|range| !window.readable(range << 21)), "a mapping outlived the session");
    drop(fs);
    peer.end();
}

#[test]
fn eight_devices_at_a_time() {
    std::thread::scope(|scope| {
        for index in 0..8 {
            scope.spawn(move || {
                let kind = if index % 2 == 0 { Kind::Krun } else { Kind::Strict };
                let peer = Peer::new(kind).with_window(Some(8 << 20));
                let data = content(index, 12 << 20);
                peer.put("file", &data);
                let fs = peer.mount();
                assert_same(&fs.read("file").unwrap(), &data, index);
                peer.finish(fs);
            });
        }
    });
}

#[test]
fn a_server_that_never_answers_init_is_given_up() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.strict().stop();
    let config = peer.config().request_timeout(Duration::from_millis(50));
    let error = peer.mount_with(config).expect_err("INIT is never answered");
    assert!(matches!(error, MountError::Request(virtio_fs::Error::TimedOut { .. })), "{error:?}");
    peer.end();
}

#[test]
fn mappings_are_aligned_as_the_server_wants() {
    const ALIGNMENT: u64 = 64 << 10;
    let peer = Peer::new(Kind::Strict).with_window(Some(8 << 20));
    let data = content(11, (5 << 20) + 100_000);
    peer.put("file", &data);
    let mappings = Arc::new(Mutex::new(Vec::new()));
    let list = mappings.clone();
    peer.strict().watch(move |request| {
        match request.opcode() {
            op::INIT => {
                return Act::Alter(Box::new(|answer| {
                    answer.bytes[16 + 12 + 3] |= 4;
                    answer.bytes[16 + 30..][..2].copy_from_slice(&16_u16.to_le_bytes());
                }));
            }
            op::SETUPMAPPING => list.lock().unwrap().push([48, 56, 72].map(|at| u64_at(&request.bytes, at))),
            _ => {}
        }
        Act::Serve
    });
    let fs = peer.mount();
    assert_same(&fs.read("file").unwrap(), &data, "read");
    let file = fs.open("file", OpenOptions::new().read(true).write(true)).unwrap();
    file.write_all_at(b"grown", data.len() as u64).unwrap();
    file.write_all_at(b"inside", 5 << 20).unwrap();
    assert_eq!(&peer.get("file")[5 << 20..][..6], b"inside");
    let mappings = mappings.lock().unwrap();
    assert!(mappings.len() >= 3);
    assert!(mappings.iter().flatten().all(|number| number % ALIGNMENT == 0), "{mappings:x?}");
    drop((mappings, file));
    peer.finish(fs);
}
