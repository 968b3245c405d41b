//! The serial console (COM1): the human log out, the host's messages in.

use crate::arch::clock::Clock;
use alloc::string::String;
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::{Mutex, MutexGuard, Once};
use testkernel_protocol::console::MAX_LINE;
use uart_16550::{Config, Uart16550, backend::PioBackend, spec::registers::IER};

/// I/O port of COM1.
const COM1: u16 = 0x3f8;
/// The interrupt number of COM1.
pub(crate) const IRQ: u32 = 4;

static UART: Once<Mutex<Uart16550<PioBackend>>> = Once::new();
static EMERGENCY: AtomicBool = AtomicBool::new(false);
static LOGGER: Logger = Logger;

/// Opens COM1 and makes it the logger. A machine without COM1 has no human log, which is no reason to stop.
pub(crate) fn init() {
    // SAFETY: COM1's registers are where PCs have them, and nothing else here drives them.
    if let Ok(mut uart) = unsafe { Uart16550::new_port(COM1) }
        && uart.init(Config::default()).is_ok()
    {
        UART.call_once(|| Mutex::new(uart));
    }
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Has COM1 raise its interrupt when something arrives, so that a wait for the host can halt.
pub(crate) fn enable_receive_interrupt() {
    if let Some(uart) = UART.get() {
        uart.lock().enable_interrupts(IER::DATA_READY);
    }
}

/// Takes the console away from whoever holds it: for a panic or a fault, after which nobody else runs.
///
/// # Safety
/// The interrupted code must never run again.
pub(crate) unsafe fn seize() {
    if EMERGENCY.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Some(uart) = UART.get() {
        // SAFETY: the holder of the lock, if there is one, never runs again.
        unsafe { uart.force_unlock() };
    }
}

/// Writes text to the console.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    if let Some(uart) = UART.get() {
        // The UART cannot fail and the writer below never does.
        let _ = Console(uart.lock()).write_fmt(arguments);
    }
}

/// Prints a line to the console, with no prefix: the output of commands for people.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($arguments)*)))
    };
}
pub(crate) use say;

/// A line from the host, without its end. `None` until one is complete; longer lines are cut at [`MAX_LINE`].
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    bytes: alloc::vec::Vec<u8>,
}

impl LineReader {
    /// Takes what has arrived.
    pub(crate) fn poll(&mut self) -> Option<String> {
        let mut uart = UART.get()?.lock();
        while let Ok(byte) = uart.try_receive_byte() {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&self.bytes).trim().into();
                    self.bytes.clear();
                    return Some(line);
                }
                _ if self.bytes.len() < MAX_LINE => self.bytes.push(byte),
                _ => {}
            }
        }
        None
    }
}

/// Adds carriage returns, which terminals want.
struct Console(MutexGuard<'static, Uart16550<PioBackend>>);

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(body) => {
                    self.0.send_bytes_exact(body.as_bytes());
                    self.0.send_bytes_exact(b"\r\n");
                }
                None => self.0.send_bytes_exact(line.as_bytes()),
            }
        }
        Ok(())
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = Clock::now_ns();
            print(format_args!(
                "[{:5}.{:06}] {:5} {}: {}\n",
                now / 1_000_000_000,
                now / 1000 % 1_000_000,
                record.level(),
                record.target(),
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}
