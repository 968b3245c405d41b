//! The kernel's own start, from the boot loader's word to the command.

use crate::{
    arch::{apic, clock, gdt, ioapic, traps, vectors::DeviceVector},
    boot::start_info::StartInfo,
    cmdline::{self, CommandLine, Mode},
    commands, console, events, exit,
    machine::Machine,
    memory::{frames, paging},
    outcome::{Outcome, Stop},
    panic, pci, scenarios, shell, tour, watchdog,
};
use alloc::boxed::Box;
use core::time::Duration;
use spin::Once;
use testkernel_protocol::event::Event;

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
    traps::init(traps::Handlers { tick: watchdog::check, fatal: panic::exception });
    // SAFETY: called once, here, on the boot page tables; nothing else is in use yet.
    unsafe { frames::init(info) };
    // SAFETY: as above.
    if let Err(error) = unsafe { paging::init(info) } {
        exit::fail(&format_args!("cannot build the page tables: {error}"));
    }
    if !clock::init() {
        exit::fail(&"the interval timer does not count, so there is no clock");
    }
    let line = command_line(info);
    if line.x2apic && !apic::enter_x2apic() {
        exit::fail(&"this processor has no x2APIC mode");
    }
    if let Err(error) = apic::init() {
        exit::fail(&format_args!("the interrupt controller cannot be used: {error}"));
    }
    x86_64::instructions::interrupts::enable();

    let (free, total) = frames::counts();
    events::send(&Event::Hello {});
    log::info!(
        "test kernel {}: {} MiB of RAM ({} MiB free), time-stamp counter at {} MHz",
        env!("CARGO_PKG_VERSION"),
        total >> 8,
        free >> 8,
        clock::frequency() / 1_000_000
    );
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
        Mode::Shell => end(shell::run(&machine)),
        Mode::Run(words) => end(commands::run(&machine, words)),
    }
}

/// The command line, parsed.
fn command_line(info: &'static StartInfo) -> &'static CommandLine {
    let Some(text) = info.command_line() else {
        exit::fail(&"the command line is not UTF-8");
    };
    match cmdline::parse(text) {
        Ok(line) => Box::leak(Box::new(line)),
        Err(message) => exit::fail(&message),
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
    let Some(vector) = DeviceVector::take() else { return };
    match ioapic::route(console::IRQ, vector.number(), apic::id(), ioapic::Trigger::Edge) {
        Ok(line) => {
            line.unmask();
            console::enable_receive_interrupt();
        }
        Err(error) => log::warn!("COM1 stays without an interrupt: {error}"),
    }
}
