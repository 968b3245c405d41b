//! The kernel's own start, from the boot loader's word to the command.

use crate::{
    arch::{apic, clock, gdt, ioapic, traps},
    boot::start_info::StartInfo,
    cmdline::{self, Mode},
    commands, console, events, exit,
    memory::{frames, paging},
    pci,
    scenarios::{self, Machine, Outcome, Stop},
    tour, watchdog,
};
use alloc::boxed::Box;
use core::time::Duration;
use spin::Once;

static START_INFO: Once<StartInfo> = Once::new();

/// The entry in Rust, called once by the boot code with the physical address of the start information.
pub(crate) extern "C" fn kernel_main(start_info: u64) -> ! {
    console::init();
    // SAFETY: the boot code passes what the boot loader left, and nothing was touched since.
    let info = match unsafe { StartInfo::copy(start_info) } {
        Ok(info) => START_INFO.call_once(|| info),
        Err(message) => exit::fail(&message),
    };
    gdt::init(0);
    traps::init();
    // SAFETY: called once, here, on the boot page tables; nothing else is in use yet.
    unsafe { frames::init(info) };
    // SAFETY: as above.
    if let Err(error) = unsafe { paging::init(info) } {
        exit::fail(&format_args!("cannot build the page tables: {error}"));
    }
    if !clock::init() {
        exit::fail(&"the interval timer does not count, so there is no clock");
    }
    if let Err(error) = apic::init() {
        exit::fail(&format_args!("cannot start the interrupt controller: {error}"));
    }
    x86_64::instructions::interrupts::enable();

    let (free, total) = frames::counts();
    events::hello(total as u64 * crate::memory::PAGE);
    log::info!(
        "test kernel {}: {} MiB of RAM ({} MiB free), time-stamp counter at {} MHz",
        env!("CARGO_PKG_VERSION"),
        total >> 8,
        free >> 8,
        clock::frequency() / 1_000_000
    );
    let Some(text) = info.command_line() else {
        exit::fail(&"the command line is not UTF-8");
    };
    let line = match cmdline::parse(text) {
        Ok(line) => Box::leak(Box::new(line)),
        Err(message) => exit::fail(&message),
    };
    for word in &line.ignored {
        log::info!("the word `{word}` on the command line means nothing here");
    }
    watchdog::start(line.deadline.map(Duration::from_secs));
    listen_to_the_host();
    for (function, info) in pci::functions() {
        log::info!("PCI {function} {info}");
    }
    let machine = Machine { start_info: info, command_line: line };
    match &line.mode {
        Mode::Test(name) => scenarios::run(&machine, name),
        Mode::Tour => end(tour::run(&machine)),
        Mode::Run(words) => end(commands::run(&machine, words)),
    }
}

fn end(outcome: Outcome) -> ! {
    match outcome {
        Ok(()) => exit::pass(),
        Err(Stop::Skip(reason)) => exit::skip(&reason),
        Err(Stop::Fail(message)) => exit::fail(&message),
    }
}

/// Has COM1 wake the processor. Without it a wait ends with the timer's next tick, so a failure is only worth a line.
fn listen_to_the_host() {
    let Some(vector) = traps::DeviceVector::take() else { return };
    match ioapic::route(console::IRQ, vector, apic::id(), ioapic::Trigger::Edge) {
        Ok(_) => console::enable_receive_interrupt(),
        Err(error) => log::warn!("COM1 stays without an interrupt: {error}"),
    }
}
