//! A shared folder, a device that serves it, and all that is checked when a test is done with them.

use std::cell::OnceCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transport_mmio::MmioTransport;
use virtio_fs::{
    Config, Device as FsDevice, Interrupts, Lock, MountError, PAGE_SIZE, Platform, VirtioFs, WindowAccess,
};
use virtio_shm::{FixedRegions, ShmRegion, WithFixedRegions};
use virtio_transport::Registers;

use super::HANGS;
use super::clock::{Clock, DrivenClock};
use super::krun::Krun;
use super::logs;
use super::platform::{TestPlatform, Waiting};
use super::ram::{IdentityMemory, Owner, UnrelatedMemory};
use super::strict::{self, Strict};
use super::window::Window;

/// How long a test may take with one device, all in all.
const DEADLINE: Duration = Duration::from_secs(600);
/// The register to ring for a queue (virtio 1.3, 4.2.2).
const QUEUE_NOTIFY: usize = 0x50;
/// The window of a device, unless a test wants another.
const WINDOW: u64 = 64 << 20;

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// libkrun's.
    Krun,
    /// Our own, with fuse-backend-rs's server.
    Strict,
}

enum Device {
    Krun(Krun),
    Strict(Strict),
}

/// See the module. Made with `Peer::new(...)` and what a test wants to be different, and ended with [`Peer::finish`].
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    folder: TempDir,
    elsewhere: Option<PathBuf>,
    window_len: Option<u64>,
    interrupts: bool,
    read_only: bool,
    identity: bool,
    access: WindowAccess,
    /// Whether the platform says who calls.
    tasks: bool,
    /// Whether waits end by themselves, if the test has a clock of its own.
    driven: Option<bool>,
    clock: OnceCell<Arc<DrivenClock>>,
    options: strict::Options,
    device: OnceCell<Device>,
    window: OnceCell<Arc<Window>>,
    owner: Owner,
    mapped: Arc<AtomicU64>,
    slept: OnceCell<Arc<AtomicU64>>,
    leaky: bool,
    finished: bool,
    _watchdog: Sender<()>,
}

impl Peer {
    pub(crate) fn new(kind: Kind) -> Self {
        logs::listen();
        // libkrun sets it for the whole process; so it is the same for every test, whatever runs first.
        // SAFETY: a system call that takes and gives a number.
        unsafe { libc::umask(0) };
        let folder = TempDir::new().expect("a temporary folder");
        Self {
            kind,
            folder,
            elsewhere: None,
            window_len: Some(WINDOW),
            interrupts: false,
            read_only: false,
            identity: false,
            access: WindowAccess::LoadsAndStores,
            tasks: true,
            driven: None,
            clock: OnceCell::new(),
            options: strict::Options::default(),
            device: OnceCell::new(),
            window: OnceCell::new(),
            owner: Owner::new(),
            mapped: Arc::default(),
            slept: OnceCell::new(),
            leaky: false,
            finished: false,
            _watchdog: watchdog(),
        }
    }

    /// With a window of this size, or none.
    pub(crate) fn with_window(mut self, len: Option<u64>) -> Self {
        self.window_len = len;
        self
    }

    /// The driver sleeps for interrupts.
    pub(crate) fn with_interrupts(mut self) -> Self {
        self.interrupts = true;
        self
    }

    /// The share cannot be written. For libkrun only.
    pub(crate) fn read_only(mut self) -> Self {
        assert_eq!(self.kind, Kind::Krun);
        self.read_only = true;
        self
    }

    /// Guest-physical addresses are virtual ones.
    pub(crate) fn with_identity(mut self) -> Self {
        self.identity = true;
        self
    }

    /// The window can be reached like this only.
    pub(crate) fn with_access(mut self, access: WindowAccess) -> Self {
        self.access = access;
        self
    }

    /// The platform does not say who calls, as is the default.
    pub(crate) fn with_unknown_tasks(mut self) -> Self {
        self.tasks = false;
        self
    }

    /// With a clock that stands still, but for waits of a driver whose device is at rest: such a wait lasts to its deadline at
    /// once. For our own device, and for tests with one thread in the driver at a time.
    pub(crate) fn with_skipping_clock(mut self) -> Self {
        self.driven = Some(true);
        self
    }

    /// With a clock that only the test moves. For our own device.
    pub(crate) fn with_still_clock(mut self) -> Self {
        self.driven = Some(false);
        self
    }

    /// The test's clock.
    #[track_caller]
    pub(crate) fn clock(&self) -> &Arc<DrivenClock> {
        let skips = self.driven.expect("a test with a clock of its own");
        self.clock.get_or_init(|| Arc::new(DrivenClock::new(skips, self.strict().at_rest())))
    }

    /// Our own device is to be like this.
    pub(crate) fn with_options(mut self, change: impl FnOnce(&mut strict::Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Shares this folder instead of one of its own.
    pub(crate) fn with_folder(mut self, folder: &Path) -> Self {
        self.elsewhere = Some(folder.to_owned());
        self
    }

    /// The folder on the host.
    pub(crate) fn folder(&self) -> &Path {
        self.elsewhere.as_deref().unwrap_or(self.folder.path())
    }

    /// A file in it.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file on the host.
    pub(crate) fn put(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the host writes");
        path
    }

    /// Reads a file on the host.
    pub(crate) fn get(&self, name: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("the host reads")
    }

    pub(crate) fn window(&self) -> Option<&Arc<Window>> {
        self.window_len.map(|len| self.window.get_or_init(|| Arc::new(Window::new(len))))
    }

    fn device(&self) -> &Device {
        self.device.get_or_init(|| match self.kind {
            Kind::Krun => Device::Krun(Krun::new(self.folder(), self.window().map(|window| &**window), self.read_only)),
            Kind::Strict => Device::Strict(Strict::new(self.folder(), self.window().cloned(), self.options.clone())),
        })
    }

    /// Our own device.
    #[track_caller]
    pub(crate) fn strict(&self) -> &Strict {
        match self.device() {
            Device::Strict(strict) => strict,
            Device::Krun(_) => panic!("the test is for our own device"),
        }
    }

    /// Our own device, if it is one.
    pub(crate) fn if_strict(&self) -> Option<&Strict> {
        match self.device() {
            Device::Strict(strict) => Some(strict),
            Device::Krun(_) => None,
        }
    }

    /// libkrun's device.
    #[track_caller]
    pub(crate) fn krun(&self) -> &Krun {
        match self.device() {
            Device::Krun(krun) => krun,
            Device::Strict(_) => panic!("the test is for libkrun"),
        }
    }

    /// Rings for all queues of the device, as a driver may at any time.
    pub(crate) fn doorbells(&self) -> Box<dyn Fn()> {
        fn ring(mut registers: impl Registers, queues: u32) {
            (0..queues).for_each(|queue| registers.write32(QUEUE_NOTIFY, queue));
        }
        match self.device() {
            Device::Krun(krun) => {
                let registers = krun.registers();
                Box::new(move || ring(registers.clone(), 2))
            }
            Device::Strict(strict) => {
                let registers = strict.registers();
                let queues = u32::from(self.options.request_queues) + 1;
                Box::new(move || ring(registers.clone(), queues))
            }
        }
    }

    /// The platform for a mount.
    pub(crate) fn platform(&self) -> TestPlatform {
        let interrupt = match self.device() {
            Device::Krun(krun) => krun.interrupt(),
            Device::Strict(strict) => strict.interrupt(),
        };
        let waiting = if self.interrupts { Waiting::Interrupts(interrupt) } else { Waiting::Polling };
        let clock = match self.driven {
            None => Clock::Wall(Instant::now()),
            Some(_) => Clock::Driven(self.clock().clone()),
        };
        let platform =
            TestPlatform::new(clock, self.window().cloned(), waiting, self.mapped.clone()).with_access(self.access);
        let platform = if self.tasks { platform } else { platform.with_unknown_tasks() };
        let _ = self.slept.set(platform.slept.clone());
        platform
    }

    /// How often the driver slept for an interrupt.
    pub(crate) fn slept(&self) -> u64 {
        self.slept.get().map_or(0, |slept| slept.load(Ordering::Relaxed))
    }

    /// Mounts with the driver's defaults, but for deadlines that only what hangs reaches.
    #[track_caller]
    pub(crate) fn mount(&self) -> VirtioFs {
        self.mount_with(self.config()).expect("the mount")
    }

    pub(crate) fn config(&self) -> Config {
        let interrupts = if self.interrupts { Interrupts::Deferred } else { Interrupts::Off };
        let patience = HANGS;
        Config::default().request_timeout(patience).long_request_timeout(patience).interrupts(interrupts)
    }

    /// Our own device, with a window where this region says.
    pub(crate) fn mount_with_region<P: Platform + 'static>(
        &self,
        region: ShmRegion,
        platform: P,
        config: Config,
    ) -> Result<VirtioFs, MountError> {
        let fixed = FixedRegions::new([region]).expect("one region");
        let transport = MmioTransport::new(self.strict().registers()).expect("a device behind registers");
        VirtioFs::mount(WithFixedRegions::new(transport, fixed), UnrelatedMemory, platform, config)
    }

    pub(crate) fn mount_with(&self, config: Config) -> Result<VirtioFs, MountError> {
        self.mount_locked(config)
    }

    /// As [`Peer::mount_with`], with locks of another kind.
    pub(crate) fn mount_locked<L>(&self, config: Config) -> Result<VirtioFs<L>, MountError>
    where
        L: Lock,
    {
        let platform = self.platform();
        match self.device() {
            Device::Krun(krun) => self.mount_on(krun.registers(), platform, config),
            Device::Strict(strict) => self.mount_on(strict.registers(), platform, config),
        }
    }

    fn mount_on<R, L>(&self, registers: R, platform: TestPlatform, config: Config) -> Result<VirtioFs<L>, MountError>
    where
        R: Registers + Send + 'static,
        L: Lock,
    {
        let mut transport = MmioTransport::new(registers).expect("a device behind registers");
        // A device of ours that never says that it is reset is not asked a million times.
        transport.set_poll_limit(1000);
        if self.identity {
            FsDevice::with_lock(transport, IdentityMemory).mount(platform, config)
        } else {
            FsDevice::with_lock(transport, UnrelatedMemory).mount(platform, config)
        }
    }

    /// How many bytes of DMA memory the driver has.
    pub(crate) fn dma(&self) -> usize {
        self.owner.pages() * PAGE_SIZE
    }

    /// Memory that the driver gave the device may be gone for good: the device never said that it has let go of it.
    pub(crate) fn leaks(&mut self) {
        self.leaky = true;
    }

    /// Unmounts and ends the test.
    #[track_caller]
    pub(crate) fn finish(self, fs: VirtioFs) {
        fs.unmount().expect("the unmount");
        drop(fs);
        self.end();
    }

    /// Ends the test, after everything of the driver's is gone: checks all that the device, the server and the memory
    /// have to say.
    #[track_caller]
    pub(crate) fn end(self) {
        self.end_expecting(|_| false);
    }

    /// As [`Peer::end`], where the device blames the driver for what the test wanted to see.
    #[track_caller]
    pub(crate) fn end_expecting(mut self, expected: impl Fn(&str) -> bool) {
        self.finished = true;
        assert_eq!(self.mapped.load(Ordering::Relaxed), 0, "windows mapped and never unmapped");
        let mut found = Vec::new();
        if let Some(Device::Strict(strict)) = self.device.get() {
            found.extend(strict.mistakes().into_iter().filter(|mistake| !expected(mistake)));
            if !strict.ledger().forgiving {
                found.extend(strict.ledger().debts());
            }
        }
        let pages = self.owner.pages();
        if pages != 0 && !self.leaky {
            found.push(format!("{pages} pages of DMA memory were never given back"));
        }
        // The threads of the device are at rest only now.
        drop(self.device.take());
        found.extend(self.owner.check());
        found.extend(logs::take_unexpected());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            panic!("a test ends with Peer::finish or Peer::end");
        }
    }
}

/// Ends the process when a test takes too long: what hangs is most likely a thread that nothing can stop.
fn watchdog() -> Sender<()> {
    let (sender, receiver) = channel();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?").to_owned();
    std::thread::spawn(move || {
        if receiver.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // Not by a macro, whose output the test harness keeps for later.
            let _ = writeln!(std::io::stderr(), "{name} is not done after {DEADLINE:?}");
            std::process::abort();
        }
    });
    sender
}

/// Makes one test for each device out of each function, which takes a [`Peer`].
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod krun {
            $(#[test] fn $name() { super::$name($crate::rig::peer::Peer::new($crate::rig::peer::Kind::Krun)) })*
        }
        mod strict {
            $(#[test] fn $name() { super::$name($crate::rig::peer::Peer::new($crate::rig::peer::Kind::Strict)) })*
        }
    };
}

pub(crate) use on_both;
