//! QEMU's devices without a guest, for tests: QEMU's test protocol gives ports, memory and registers.
//!
//! `$QEMU` is the command, with arguments if need be: a `qemu-system-x86_64` of version 11. Without it the tests are
//! skipped, which their output says.

use std::{
    cell::RefCell,
    format,
    io::{BufRead, BufReader, Write},
    println,
    process::{Child, ChildStdin, Command, Stdio},
    rc::Rc,
    string::String,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{DeviceStatus, Registers, Transport, conformance::VERSION_1};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where a test has messages written to.
pub const MESSAGE: u64 = 0x10_0000;
/// The descriptors of the queue.
pub const DESCRIPTORS: u64 = 0x20_0000;
/// Its driver area.
pub const AVAILABLE: u64 = 0x20_1000;
/// Its device area.
pub const USED: u64 = 0x20_2000;
/// The buffer.
pub const BUFFER: u64 = 0x20_3000;

/// A QEMU that executes no instructions.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Qemu {
    /// Starts it, unless there is none.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(arguments: &[&str]) -> Option<Rc<RefCell<Self>>> {
        let Ok(command) = std::env::var("QEMU") else {
            println!("skipped: $QEMU is not set");
            return None;
        };
        let mut words = command.split_whitespace();
        let mut child = Command::new(words.next().expect("a command"))
            .args(words)
            .args(["-m", "64", "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // Ends with QEMU, or with the test.
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Some(Rc::new(RefCell::new(Self { child, input, answers })))
    }

    /// Sends a command of the test protocol and returns the number that it answers, if it answers one.
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub fn command(&mut self, command: &str) -> u64 {
        writeln!(self.input, "{command}").expect("QEMU listens");
        let answer = self.answers.recv_timeout(DEADLINE).expect("QEMU answers in time");
        let value = answer.strip_prefix("OK").unwrap_or_else(|| panic!("{command}: {answer}")).trim();
        u64::from_str_radix(value.trim_start_matches("0x"), 16).unwrap_or(0)
    }

    /// Writes values of these widths at these offsets from `addr`.
    pub fn write_memory(&mut self, addr: u64, values: &[(u64, u64, char)]) {
        for (offset, value, width) in values {
            self.command(&format!("write{width} {:#x} {value:#x}", addr + offset));
        }
    }

    /// Offers the device a buffer of 64 bytes, the `count`th.
    pub fn offer_buffer(&mut self, count: u64) {
        self.write_memory(DESCRIPTORS, &[(0, BUFFER, 'q'), (8, 64, 'l'), (12, 2, 'w')]);
        self.write_memory(AVAILABLE, &[(4 + 2 * (count - 1), 0, 'w'), (2, count, 'w')]);
    }

    /// Waits until `addr` has this value.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub fn wait_for(&mut self, width: char, addr: u64, value: u64) {
        let deadline = Instant::now() + DEADLINE;
        while self.command(&format!("read{width} {addr:#x}")) != value {
            assert!(Instant::now() < deadline, "{addr:#x} doesn't become {value:#x}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Registers at a guest-physical address.
#[derive(Debug)]
pub struct Remote {
    /// The QEMU.
    pub qemu: Rc<RefCell<Qemu>>,
    /// The address.
    pub base: u64,
    /// How many bytes of registers there are.
    pub size: usize,
}

impl Remote {
    fn read(&self, width: char, offset: usize) -> u64 {
        self.qemu.borrow_mut().command(&format!("read{width} {:#x}", self.base + offset as u64))
    }

    fn write(&self, width: char, offset: usize, value: u32) {
        self.qemu.borrow_mut().write_memory(self.base, &[(offset as u64, value.into(), width)]);
    }
}

impl Registers for Remote {
    fn size(&self) -> usize {
        self.size
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read('b', offset) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read('w', offset) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read('l', offset) as u32
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write('b', offset, value.into());
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write('w', offset, value.into());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write('l', offset, value);
    }
}

/// The initialisation, with one queue of eight entries.
///
/// # Panics
///
/// If the device does anything else than it must.
pub fn bring_up(transport: &mut impl Transport) {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.read_device_features() & VERSION_1, VERSION_1);
    transport.write_driver_features(VERSION_1);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
    assert!(transport.get_status().contains(DeviceStatus::FEATURES_OK));
    assert_eq!(transport.max_queue_size(1000), 0);
    assert!(transport.max_queue_size(0) >= 8);
    assert!(!transport.queue_used(0));
    transport.queue_set(0, 8, DESCRIPTORS, AVAILABLE, USED);
    assert!(transport.queue_used(0));
    transport.finish_init();
    let running =
        DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK | DeviceStatus::DRIVER_OK;
    assert_eq!(transport.get_status(), running);
}
