//! Mounts that fail, interrupts before there is a session, and what a device offers too much of.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use transport_mmio::MmioTransport;
use transport_mmio::model::MmioModel;
use virtio_fs::{
    Config, DaxStatus, Device as FsDevice, DmaDirection, DmaMemory, InterruptHandle, InterruptStatus, Interrupts,
    MountError, PAGE_SIZE, PhysAddr, Platform, ShmError, ShmId, ShmRegion, VirtioFs,
};
use virtio_transport::model::{Device, Manners, Spec};

use crate::rig::footprint::heap_of;
use crate::rig::peer::{Kind, Peer};
use crate::rig::platform::TestPlatform;
use crate::rig::ram::UnrelatedMemory;

/// A clock that goes on by a millisecond each time it is read, and a line that is looked at in each wait.
#[derive(Default)]
struct Steps {
    clock: AtomicU64,
    line: Option<(Device, InterruptHandle)>,
    /// How often the line was high.
    interrupts: Arc<AtomicU64>,
}

// SAFETY: it maps nothing.
unsafe impl Platform for Steps {
    fn now(&self) -> Duration {
        Duration::from_millis(self.clock.fetch_add(1, Ordering::Relaxed))
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if let Some((device, interrupt)) = &self.line {
                while device.pending() != 0 {
                    self.interrupts.fetch_add(1, Ordering::Relaxed);
                    assert!(self.interrupts.load(Ordering::Relaxed) < 1000, "the line never falls");
                    assert_eq!(interrupt.handle().status, InterruptStatus::QUEUE_INTERRUPT);
                }
            }
            if ready() {
                return true;
            }
            if self.now() >= deadline {
                return false;
            }
        }
    }
}

/// Memory that looks at the device whenever some is freed.
#[derive(Clone)]
struct Watched {
    device: Device,
    /// How many allocations succeed.
    allowed: Arc<AtomicUsize>,
    pages: Arc<AtomicUsize>,
    mistakes: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    fn new(device: &Device, allowed: usize) -> Self {
        let (allowed, pages) = (Arc::new(AtomicUsize::new(allowed)), Arc::default());
        Self { device: device.clone(), allowed, pages, mistakes: Arc::default() }
    }
}

// SAFETY: it is that of `UnrelatedMemory`.
unsafe impl DmaMemory for Watched {
    fn allocate(&self, pages: usize, direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        self.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
        self.pages.fetch_add(pages, Ordering::Relaxed);
        UnrelatedMemory.allocate(pages, direction)
    }

    unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
        let range = paddr..paddr + (pages * PAGE_SIZE) as u64;
        for index in 0..self.device.spec().queues.len() as u16 {
            let queue = self.device.queue(index).expect("there is one");
            if queue.ready && queue.areas.iter().any(|area| range.contains(area)) {
                self.mistakes.lock().expect("no panic").push(format!("queue {index} lost its memory"));
            }
        }
        self.pages.fetch_sub(pages, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { UnrelatedMemory.free(paddr, vaddr, pages) }
    }

    unsafe fn map_mmio(&self, _: PhysAddr, _: usize) -> Option<NonNull<u8>> {
        None
    }
}

fn transport(device: &Device) -> MmioTransport<MmioModel> {
    MmioTransport::new(MmioModel::new(device)).expect("a good device")
}

/// Mounts a device that answers no request; returns why that failed, and the memory.
fn fail(spec: Spec, allowed: usize) -> (MountError, Watched) {
    let device = Device::new(spec);
    let memory = Watched::new(&device, allowed);
    let config = Config::small().request_timeout(Duration::from_millis(50)).max_request_queues(4);
    let error = VirtioFs::mount(transport(&device), memory.clone(), Steps::default(), config).unwrap_err();
    assert_eq!(device.mistakes(), [""; 0]);
    assert_eq!(*memory.mistakes.lock().expect("no panic"), [""; 0], "{error}");
    (error, memory)
}

#[test]
fn a_mount_that_fails_resets_the_device_before_it_frees_queues() {
    let spec = || Spec::file_system("tag", 3);
    // The fourth queue is missing: three are ready by then.
    let (error, memory) = fail(Spec { queues: vec![128; 3], ..spec() }, usize::MAX);
    assert!(matches!(error, MountError::QueueTooSmall { queue: 3, size: 0 }), "{error:?}");
    assert_eq!(memory.pages.load(Ordering::Relaxed), 0);
    // INIT is never answered.
    let (error, memory) = fail(spec(), usize::MAX);
    assert!(matches!(error, MountError::Request(virtio_fs::Error::TimedOut { .. })), "{error:?}");
    assert_eq!(memory.pages.load(Ordering::Relaxed), 0);
    // There is ever more memory, until there is enough.
    let enough = (0..100).find(|&allowed| {
        let (error, memory) = fail(spec(), allowed);
        assert_eq!(memory.pages.load(Ordering::Relaxed), 0);
        !matches!(error, MountError::NoDmaMemory)
    });
    assert!(enough.is_some_and(|enough| enough > 3), "{enough:?}");
}

#[test]
fn a_device_that_does_not_reset_keeps_the_memory_of_its_queues() {
    let device = Device::new(Spec { queues: vec![128; 3], ..Spec::file_system("tag", 3) });
    let memory = Watched::new(&device, usize::MAX);
    // It is stuck from the second reset on: the one after the failure.
    let breaker = device.clone();
    let broken = Stuck { inner: transport(&device), device: breaker };
    let error = VirtioFs::mount(broken, memory.clone(), Steps::default(), Config::small().max_request_queues(4));
    assert!(matches!(error.unwrap_err(), MountError::QueueTooSmall { queue: 3, size: 0 }));
    assert_eq!(*memory.mistakes.lock().expect("no panic"), [""; 0]);
    assert!(memory.pages.load(Ordering::Relaxed) > 0, "it may still write there");
}

/// A transport of a device that ignores a reset once it has queues.
struct Stuck {
    inner: MmioTransport<MmioModel>,
    device: Device,
}

impl virtio_fs::ShmTransport for Stuck {}

impl virtio_fs::Transport for Stuck {
    fn device_id(&self) -> u16 {
        self.inner.device_id()
    }
    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }
    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }
    fn get_status(&self) -> virtio_fs::DeviceStatus {
        self.inner.get_status()
    }
    fn set_status(&mut self, status: virtio_fs::DeviceStatus) {
        self.inner.set_status(status);
    }
    fn begin_reset(&mut self) {
        if self.device.queue(0).is_none_or(|queue| !queue.ready) {
            self.inner.begin_reset();
        }
    }
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }
    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        self.inner.queue_set(queue, size, descriptors, driver, device);
    }
    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }
    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }
    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }
    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }
    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), virtio_fs::ConfigError> {
        self.inner.read_config(offset, width, bytes)
    }
    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), virtio_fs::ConfigError> {
        self.inner.write_config(offset, width, bytes)
    }
}

#[test]
fn a_reset_that_never_ends_is_left_after_its_time_not_after_a_million_reads() {
    let manners = Manners { reset_reads: u32::MAX, ..Manners::default() };
    let device = Device::new(Spec::file_system("tag", 1).with_manners(manners));
    device.set_status(1);
    let steps = Steps::default();
    let error = VirtioFs::mount(transport(&device), UnrelatedMemory, steps, Config::small()).unwrap_err();
    assert!(matches!(error, MountError::ResetTimeout { status: 1 }), "{error:?}");
    assert_eq!(device.resets(), 1);
}

#[test]
fn interrupts_are_acknowledged_before_there_is_a_session() {
    let spec = Spec::file_system("tag", 1);
    let device = Device::new(spec);
    let line = device.clone();
    device.on_notify(move |_| line.interrupt(1));
    let mounted = FsDevice::new(transport(&device), UnrelatedMemory);
    let interrupt = mounted.interrupt();
    // Somebody else's interrupt on the same line.
    assert_eq!(interrupt.handle(), virtio_fs::Interrupted::default());
    device.interrupt(1);
    assert_eq!(interrupt.handle().status, InterruptStatus::QUEUE_INTERRUPT);
    assert_eq!(device.pending(), 0);

    let interrupts = Arc::default();
    let steps = Steps {
        line: Some((device.clone(), interrupt.clone())),
        interrupts: Arc::clone(&interrupts),
        ..Steps::default()
    };
    let config = Config::small().request_timeout(Duration::from_millis(50)).interrupts(Interrupts::Deferred);
    let error = mounted.mount(steps, config).unwrap_err();
    assert!(matches!(error, MountError::Request(virtio_fs::Error::TimedOut { .. })), "{error:?}");
    assert!(interrupts.load(Ordering::Relaxed) > 0);
    // The device is gone, and the handle harmless.
    device.interrupt(1);
    assert_eq!(interrupt.handle(), virtio_fs::Interrupted::default());
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn interrupts_are_switched_off_and_on() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let count = |path: &str| {
        let before = peer.strict().interrupts();
        let _ = fs.lookup(path);
        peer.strict().interrupts() - before
    };
    assert_eq!(count("a"), 0);
    fs.set_interrupts(true);
    assert!(count("b") > 0);
    fs.set_interrupts(false);
    assert_eq!(count("c"), 0);
    peer.finish(fs);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_the_device_is_touched() {
    for (config, expected) in [
        (Config::default().interrupts(Interrupts::InHandler), "disable interrupts"),
        (Config::default().queue_size(0), "0 descriptors"),
        (Config::default().data_buffers(0), "data buffers"),
        (Config::default().data_buffer_size(4095), "data buffers"),
    ] {
        let device = Device::new(Spec::file_system("tag", 1));
        let error = VirtioFs::mount(transport(&device), UnrelatedMemory, Steps::default(), config).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(device.resets(), 0);
    }
}

#[test]
fn more_request_queues_than_have_numbers() {
    let mut spec = Spec::file_system("tag", 1);
    spec.config[36..40].copy_from_slice(&70_000u32.to_le_bytes());
    let device = Device::new(spec);
    let config = Config::small().max_request_queues(u16::MAX);
    let error = VirtioFs::mount(transport(&device), UnrelatedMemory, Steps::default(), config).unwrap_err();
    assert!(matches!(error, MountError::QueueTooSmall { queue: 2, size: 0 }), "{error:?}");
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn large_notifications_take_little_memory() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.notifications = Some(1 << 20));
    let fs = peer.mount();
    let dma = peer.dma();
    assert!(dma < 4 << 20, "{dma} bytes");
    peer.finish(fs);
}

/// A platform that says where it is asked to map a window, and maps none.
struct NoWindow {
    inner: TestPlatform,
    asked: Arc<Mutex<Vec<ShmRegion>>>,
}

// SAFETY: it maps nothing.
unsafe impl Platform for NoWindow {
    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        self.inner.wait(deadline, ready)
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        self.asked.lock().expect("no panic").push(*region);
        None
    }
}

#[test]
fn a_window_that_is_not_on_a_page_is_refused() {
    for (addr, len) in [(0x1_0000_0800, 64 << 20), (0x1_0000_0000, (64 << 20) + 1)] {
        let peer = Peer::new(Kind::Strict).with_window(None);
        let region = ShmRegion::new(ShmId::FS_DAX_WINDOW, addr, len).expect("a region");
        let asked = Arc::default();
        let platform = NoWindow { inner: peer.platform(), asked: Arc::clone(&asked) };
        let fs = peer.mount_with_region(region, platform, peer.config()).unwrap();
        let status = fs.dax_status();
        assert!(
            matches!(
                status,
                DaxStatus::BadWindow(ShmError::AddressUnaligned { .. } | ShmError::LengthUnaligned { .. })
            ),
            "{status}"
        );
        assert_eq!(*asked.lock().expect("no panic"), []);
        peer.finish(fs);
    }
}

#[test]
fn a_window_costs_no_memory_before_it_is_mapped() {
    let peer = Peer::new(Kind::Strict).with_window(None);
    let region = ShmRegion::new(ShmId::FS_DAX_WINDOW, 1 << 46, 1 << 46).expect("a region");
    for required in [false, true] {
        let asked = Arc::default();
        let platform = NoWindow { inner: peer.platform(), asked: Arc::clone(&asked) };
        let config = peer.config().require_dax(required);
        let (outcome, _, most) = heap_of(|| peer.mount_with_region(region, platform, config));
        assert!(most < 1 << 20, "{most} bytes");
        assert_eq!(asked.lock().expect("no panic").iter().map(ShmRegion::len).collect::<Vec<_>>(), [1 << 40]);
        match outcome {
            Ok(fs) => {
                assert!(!required);
                assert_eq!(fs.dax_status(), DaxStatus::NotMapped);
                fs.unmount().unwrap();
            }
            Err(error) => assert!(matches!(error, MountError::NoDax(DaxStatus::NotMapped)), "{error:?}"),
        }
    }
    peer.end();
}
