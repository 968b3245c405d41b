//! What every virtio device does, whatever its transport.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::fmt;

use spin::{Mutex, MutexGuard};

/// Status bits (virtio 1.3, 2.1).
const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
const NEEDS_RESET: u32 = 64;
const FAILED: u32 = 128;

/// The feature bit that every modern device has.
const VERSION_1: u64 = 1 << 32;

/// What a modelled device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The virtio device id.
    pub device_id: u16,
    /// The features that it offers.
    pub features: u64,
    /// The largest size of each of its queues.
    pub queues: Vec<u16>,
    /// Its configuration, in bytes.
    pub config: Vec<u8>,
    /// Its regions of shared memory, sensible or not.
    pub regions: Vec<Region>,
    /// How it behaves where the specification leaves it a choice.
    pub manners: Manners,
}

/// A region of shared memory as a device reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its id.
    pub id: u8,
    /// Its guest-physical address.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// How a device behaves where the specification leaves it a choice, or where it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// How often the status still reads as before after a reset; `u32::MAX` for ever.
    pub reset_reads: u32,
    /// How often a queue still reads as ready after it was stopped; `u32::MAX` for ever.
    pub stop_reads: u32,
    /// It never accepts the driver's features.
    pub refuses_features: bool,
    /// How many more times the configuration changes between any two reads of its generation; `u32::MAX` for ever.
    pub config_changes: u32,
    /// The base that virtio-mmio registers have for a region that doesn't exist: all ones says the specification.
    pub absent_base: u64,
}

impl Default for Manners {
    fn default() -> Self {
        Self { reset_reads: 0, stop_reads: 0, refuses_features: false, config_changes: 0, absent_base: u64::MAX }
    }
}

impl Spec {
    /// A device with this id, `VIRTIO_F_VERSION_1`, and nothing else.
    pub fn new(device_id: u16) -> Self {
        Self {
            device_id,
            features: VERSION_1,
            queues: Vec::new(),
            config: Vec::new(),
            regions: Vec::new(),
            manners: Manners::default(),
        }
    }

    /// A file system device (virtio 1.3, 5.11) with this tag, of at most 36 bytes, one high-priority and `requests`
    /// request queues of 128 entries.
    pub fn file_system(tag: &str, requests: u16) -> Self {
        let mut config = vec![0; 40];
        let len = tag.len().min(36);
        config[..len].copy_from_slice(&tag.as_bytes()[..len]);
        config[36..].copy_from_slice(&u32::from(requests).to_le_bytes());
        Self { queues: vec![128; usize::from(requests) + 1], config, ..Self::new(virtio_shm::FILE_SYSTEM) }
    }

    /// With a region of shared memory more.
    #[must_use]
    pub fn with_region(mut self, id: u8, addr: u64, len: u64) -> Self {
        self.regions.push(Region { id, addr, len });
        self
    }

    /// With these manners.
    #[must_use]
    pub fn with_manners(mut self, manners: Manners) -> Self {
        self.manners = manners;
        self
    }
}

/// A queue as the driver has set it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many entries it has.
    pub size: u16,
    /// Whether the driver has made it ready, or enabled it.
    pub ready: bool,
    /// The guest-physical addresses of its three areas.
    pub areas: [u64; 3],
    /// Its MSI-X vector, if it has one.
    pub vector: Option<u16>,
}

/// One of the three areas of a queue, and its place in [`Queue::areas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table.
    Descriptors = 0,
    /// The driver's ring, "available".
    Driver = 1,
    /// The device's ring, "used".
    Device = 2,
}

type Notified = Box<dyn FnMut(u16) + Send>;

struct State {
    spec: Spec,
    status: u32,
    /// The status before a reset that is under way, and how often it still shows.
    resetting: Option<(u32, u32)>,
    resets: u32,
    features_select: u32,
    driver_features: u64,
    driver_features_select: u32,
    queue_select: u16,
    queues: Vec<Queue>,
    /// How often a stopped queue still reads as ready.
    stopping: u32,
    config_vector: Option<u16>,
    pending: u32,
    generation: u32,
    mistakes: Vec<String>,
}

/// A device: what the driver does to it by registers, and what a test does to it and asks of it. Clones are the same
/// device.
#[derive(Clone)]
pub struct Device {
    state: Arc<Mutex<State>>,
    notified: Arc<Mutex<Option<Notified>>>,
}

/// One less, except for ever.
fn count_down(left: &mut u32) {
    if *left != u32::MAX {
        *left -= 1;
    }
}

/// The test's side.
impl Device {
    /// A device that nobody has touched yet.
    pub fn new(spec: Spec) -> Self {
        let queues = vec![Queue::default(); spec.queues.len()];
        let state = State {
            spec,
            status: 0,
            resetting: None,
            resets: 0,
            features_select: 0,
            driver_features: 0,
            driver_features_select: 0,
            queue_select: 0,
            queues,
            stopping: 0,
            config_vector: None,
            pending: 0,
            generation: 0,
            mistakes: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), notified: Arc::default() }
    }

    /// Has `serve` called, with the queue's number, in each notification of a queue. It runs inside the driver's write,
    /// one at a time; it may call everything here but this, and must not notify.
    pub fn on_notify(&self, serve: impl FnMut(u16) + Send + 'static) {
        *self.notified.lock() = Some(Box::new(serve));
    }

    /// All that the driver has done against the specification so far.
    pub fn mistakes(&self) -> Vec<String> {
        self.state().mistakes.clone()
    }

    /// Writes down a mistake of the driver's.
    pub fn blame(&self, mistake: impl fmt::Display) {
        self.state().blame(mistake);
    }

    /// The status as the device sees it.
    pub fn status(&self) -> u32 {
        self.state().status
    }

    /// How often it was reset.
    pub fn resets(&self) -> u32 {
        self.state().resets
    }

    /// The features that the driver has written.
    pub fn driver_features(&self) -> u64 {
        self.state().driver_features
    }

    /// A queue as it is set up, if there is such a queue.
    pub fn queue(&self, queue: u16) -> Option<Queue> {
        self.state().queues.get(usize::from(queue)).copied()
    }

    /// The MSI-X vector of configuration changes, if there is one.
    pub fn config_vector(&self) -> Option<u16> {
        self.state().config_vector
    }

    /// Makes interrupts pending: bit 0 for used buffers, bit 1 for the configuration.
    pub fn interrupt(&self, bits: u32) {
        self.state().pending |= bits;
    }

    /// Interrupts that are pending.
    pub fn pending(&self) -> u32 {
        self.state().pending
    }

    /// Changes the configuration, and its generation.
    pub fn change_config(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        change(&mut state.spec.config);
        state.generation = state.generation.wrapping_add(1);
    }

    /// The configuration.
    pub fn config(&self) -> Vec<u8> {
        self.state().spec.config.clone()
    }

    /// Sets `DEVICE_NEEDS_RESET` in the status.
    pub fn fail(&self) {
        self.state().status |= NEEDS_RESET;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The registers' side, for those who write another transport's model: what each kind of register does, whatever its
/// offset.
impl Device {
    /// What it is.
    pub fn spec(&self) -> Spec {
        self.state().spec.clone()
    }

    /// The virtio device id.
    pub fn device_id(&self) -> u16 {
        self.state().spec.device_id
    }

    /// The configuration's length in bytes.
    pub fn config_len(&self) -> usize {
        self.state().spec.config.len()
    }

    /// A region by its id.
    pub fn region(&self, id: u8) -> Option<Region> {
        self.state().spec.regions.iter().find(|region| region.id == id).copied()
    }

    /// What its manners are.
    pub fn manners(&self) -> Manners {
        self.state().spec.manners
    }

    /// Selects 32 of the features offered.
    pub fn select_features(&self, half: u32) {
        let mut state = self.state();
        state.not_resetting("DeviceFeaturesSel");
        state.features_select = half;
    }

    /// The features selected.
    pub fn features(&self) -> u32 {
        let mut state = self.state();
        state.not_resetting("DeviceFeatures");
        match state.features_select {
            0 => state.spec.features as u32,
            1 => (state.spec.features >> 32) as u32,
            _ => 0,
        }
    }

    /// Selects 32 of the driver's features.
    pub fn select_driver_features(&self, half: u32) {
        let mut state = self.state();
        state.not_resetting("DriverFeaturesSel");
        if half > 1 {
            state.blame(format!("DriverFeaturesSel {half}"));
        }
        state.driver_features_select = half;
    }

    /// Takes 32 of the driver's features.
    pub fn set_driver_features(&self, bits: u32) {
        let mut state = self.state();
        state.not_resetting("DriverFeatures");
        if state.status & (DRIVER | FEATURES_OK) != DRIVER {
            let status = state.status;
            state.blame(format!("features written at status {status:#x}"));
        }
        let shift = 32 * (state.driver_features_select & 1);
        state.driver_features &= !(u64::from(u32::MAX) << shift);
        state.driver_features |= u64::from(bits) << shift;
    }

    /// The status as the driver sees it.
    pub fn read_status(&self) -> u32 {
        let mut state = self.state();
        match &mut state.resetting {
            Some((old, left)) if *left > 0 => {
                count_down(left);
                *old
            }
            _ => state.status,
        }
    }

    /// Takes a status from the driver.
    pub fn set_status(&self, status: u32) {
        self.state().set_status(status);
    }

    /// Selects a queue.
    pub fn select_queue(&self, queue: u32) {
        let mut state = self.state();
        state.not_resetting("QueueSel");
        // No queue has a number above 16 bits.
        state.queue_select = u16::try_from(queue).unwrap_or(u16::MAX);
    }

    /// The largest size of the queue selected, 0 if it doesn't exist.
    pub fn queue_max(&self) -> u16 {
        let mut state = self.state();
        state.not_resetting("QueueNumMax");
        state.spec.queues.get(usize::from(state.queue_select)).copied().unwrap_or(0)
    }

    /// The queue selected.
    pub fn selected_queue(&self) -> Option<Queue> {
        let state = self.state();
        state.queues.get(usize::from(state.queue_select)).copied()
    }

    /// The number of the queue selected.
    pub fn selected(&self) -> u16 {
        self.state().queue_select
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> u16 {
        self.state().queues.len() as u16
    }

    /// Takes the size of the queue selected.
    pub fn set_queue_size(&self, size: u32) {
        let mut state = self.state();
        let select = state.queue_select;
        let max = state.spec.queues.get(usize::from(select)).copied().unwrap_or(0);
        // 0 clears a queue that was stopped.
        if size > u32::from(max) || size != 0 && !size.is_power_of_two() {
            state.blame(format!("queue {select} of at most {max} gets size {size}"));
        }
        if let Some(queue) = state.queue_to_set_up("size") {
            queue.size = size as u16;
        }
    }

    /// Takes half of an address of the queue selected.
    pub fn set_queue_area(&self, area: Area, high: bool, bits: u32) {
        let mut state = self.state();
        if let Some(queue) = state.queue_to_set_up("address") {
            let shift = if high { 32 } else { 0 };
            let address = &mut queue.areas[area as usize];
            *address &= !(u64::from(u32::MAX) << shift);
            *address |= u64::from(bits) << shift;
        }
    }

    /// Whether the queue selected is ready, as the driver sees it.
    pub fn queue_ready(&self) -> bool {
        let mut state = self.state();
        state.not_resetting("QueueReady");
        if state.stopping > 0 {
            count_down(&mut state.stopping);
            return true;
        }
        state.queues.get(usize::from(state.queue_select)).is_some_and(|queue| queue.ready)
    }

    /// Makes the queue selected ready.
    pub fn start_queue(&self) {
        self.state().start_queue();
    }

    /// Stops the queue selected.
    pub fn stop_queue(&self) {
        let mut state = self.state();
        state.not_resetting("QueueReady");
        let select = state.queue_select;
        match state.queues.get_mut(usize::from(select)) {
            Some(queue) => {
                queue.ready = false;
                state.stopping = state.spec.manners.stop_reads;
            }
            None => state.blame(format!("stop of queue {select}, which doesn't exist")),
        }
    }

    /// Sets the MSI-X vector of the queue selected.
    pub fn set_queue_vector(&self, vector: Option<u16>) {
        let mut state = self.state();
        let select = state.queue_select;
        match state.queues.get_mut(usize::from(select)) {
            Some(queue) => queue.vector = vector,
            None => state.blame(format!("vector of queue {select}, which doesn't exist")),
        }
    }

    /// Sets the MSI-X vector of configuration changes.
    pub fn set_config_vector(&self, vector: Option<u16>) {
        self.state().config_vector = vector;
    }

    /// Takes a notification of a queue.
    pub fn notify(&self, queue: u32) {
        {
            let mut state = self.state();
            state.not_resetting("QueueNotify");
            let ready = usize::try_from(queue).ok().and_then(|index| state.queues.get(index)).is_some_and(|q| q.ready);
            if state.status & DRIVER_OK == 0 || !ready {
                let status = state.status;
                state.blame(format!("notification of queue {queue} at status {status:#x}, ready: {ready}"));
                return;
            }
        }
        if let (Some(serve), Ok(queue)) = (&mut *self.notified.lock(), u16::try_from(queue)) {
            serve(queue);
        }
    }

    /// Acknowledges interrupts.
    pub fn acknowledge(&self, bits: u32) {
        let mut state = self.state();
        state.not_resetting("InterruptACK");
        if bits & !state.pending != 0 {
            let pending = state.pending;
            state.blame(format!("interrupts {bits:#x} acknowledged, {pending:#x} pending"));
        }
        state.pending &= !bits;
    }

    /// The generation of the configuration.
    pub fn generation(&self) -> u32 {
        let mut state = self.state();
        state.not_resetting("ConfigGeneration");
        if state.spec.manners.config_changes > 0 {
            count_down(&mut state.spec.manners.config_changes);
            state.generation = state.generation.wrapping_add(1);
        }
        state.generation
    }

    /// Reads `width` bytes of the configuration.
    pub fn read_config(&self, offset: usize, width: usize) -> u32 {
        let mut state = self.state();
        state.not_resetting("the configuration");
        let mut bytes = [0; 4];
        match state.config_place(offset, width) {
            Some(place) => bytes[..width].copy_from_slice(place),
            None => return u32::MAX,
        }
        u32::from_le_bytes(bytes)
    }

    /// Writes `width` bytes of the configuration.
    pub fn write_config(&self, offset: usize, width: usize, value: u32) {
        let mut state = self.state();
        state.not_resetting("the configuration");
        if let Some(place) = state.config_place(offset, width) {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

impl State {
    fn blame(&mut self, mistake: impl fmt::Display) {
        self.mistakes.push(mistake.to_string());
    }

    /// A device that is being reset answers to nothing but reads of its status.
    fn not_resetting(&mut self, register: &str) {
        if self.resetting.is_some_and(|(_, left)| left > 0) {
            self.blame(format!("{register} accessed during a reset"));
        }
    }

    fn set_status(&mut self, status: u32) {
        if status == 0 {
            self.reset();
            return;
        }
        self.not_resetting("Status");
        let old = self.status;
        let new = status & !old;
        if old & !status != 0 || new.count_ones() > 1 {
            self.blame(format!("status {old:#x} -> {status:#x}: bits go one at a time, and stay"));
            return;
        }
        let needs = match new {
            0 | ACKNOWLEDGE | FAILED => 0,
            DRIVER => ACKNOWLEDGE,
            FEATURES_OK => ACKNOWLEDGE | DRIVER,
            DRIVER_OK => ACKNOWLEDGE | DRIVER | FEATURES_OK,
            _ => {
                self.blame(format!("status {old:#x} -> {status:#x}: not for the driver to set"));
                return;
            }
        };
        if old & needs != needs || new == FEATURES_OK && old & DRIVER_OK != 0 {
            self.blame(format!("status {old:#x} -> {status:#x}: out of order"));
            return;
        }
        if new == FEATURES_OK && !self.accepts_features() {
            return;
        }
        self.status = status;
    }

    fn accepts_features(&mut self) -> bool {
        let unknown = self.driver_features & !self.spec.features;
        if unknown != 0 {
            self.blame(format!("features {unknown:#x} accepted, which are not offered"));
        }
        unknown == 0 && self.driver_features & VERSION_1 != 0 && !self.spec.manners.refuses_features
    }

    fn reset(&mut self) {
        let left = self.spec.manners.reset_reads;
        if self.resetting.is_none_or(|(_, left)| left == 0) {
            self.resetting = (left > 0 && self.status != 0).then_some((self.status, left));
        }
        self.resets += 1;
        self.status = 0;
        self.driver_features = 0;
        self.queues.fill(Queue::default());
        self.stopping = 0;
        self.config_vector = None;
        self.pending = 0;
    }

    /// The queue selected, if this is the time to set up queues.
    fn queue_to_set_up(&mut self, what: &str) -> Option<&mut Queue> {
        self.not_resetting("a queue");
        let (status, select) = (self.status, self.queue_select);
        let index = usize::from(select);
        let ready = self.queues.get(index).map(|queue| queue.ready);
        if ready != Some(false) {
            self.blame(format!("{what} of queue {select} written, ready: {ready:?}"));
        }
        if status & FEATURES_OK == 0 {
            self.blame(format!("{what} of queue {select} written at status {status:#x}"));
        }
        self.queues.get_mut(index)
    }

    fn start_queue(&mut self) {
        let (status, select) = (self.status, self.queue_select);
        if status & DRIVER_OK != 0 {
            self.blame(format!("queue {select} started at status {status:#x}"));
        }
        let Some(queue) = self.queue_to_set_up("readiness") else { return };
        queue.ready = true;
        let Queue { size, areas, .. } = *queue;
        if size == 0 {
            self.blame(format!("queue {select} started without a size"));
        }
        // The alignments of virtio 1.3, 2.7.
        for (area, align) in areas.into_iter().zip([16, 2, 4]) {
            if area == 0 || !area.is_multiple_of(align) {
                self.blame(format!("queue {select} has an area at {area:#x}, to be aligned to {align}"));
            }
        }
    }

    fn config_place(&mut self, offset: usize, width: usize) -> Option<&mut [u8]> {
        let len = self.spec.config.len();
        let inside = offset.checked_add(width).is_some_and(|end| end <= len);
        if !inside || !matches!(width, 1 | 2 | 4) || !offset.is_multiple_of(width) {
            self.blame(format!("{width} bytes accessed at {offset:#x} of a configuration of {len}"));
            return None;
        }
        self.spec.config.get_mut(offset..offset + width)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Device")
            .field("spec", &state.spec)
            .field("status", &state.status)
            .field("queues", &state.queues)
            .field("mistakes", &state.mistakes)
            .finish_non_exhaustive()
    }
}
