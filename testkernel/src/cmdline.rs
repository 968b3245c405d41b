//! The kernel's command line: `key=value` words separated by spaces, values percent-encoded.

use alloc::{string::String, vec::Vec};
use testkernel_protocol::command_line::{self as words, decode, interrupts, mode};

/// What the kernel is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `mode=tour`, or nothing: shows what there is.
    #[default]
    Tour,
    /// `mode=run` with `arg=` words: one command and its arguments.
    Run(Vec<String>),
    /// `mode=shell`: the commands that the host sends.
    Shell,
    /// `mode=test` with `test=SUITE::NAME`: one scenario.
    Test(String),
}

/// How the driver learns that the device has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// Nothing said: by MSI-X where the device has it, else by its line.
    #[default]
    Best,
    /// `irq=poll`: it looks.
    Poll,
    /// `irq=msix`: message-signalled interrupts (PCI only).
    MsiX,
    /// `irq=line`: INTx, or the interrupt line of a virtio-mmio device.
    Line,
}

/// A virtio-mmio device named by a `virtio_mmio.device=SIZE@ADDRESS:IRQ` word, as QEMU's microvm appends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MmioWord {
    /// Bytes of the register block.
    pub(crate) size: u64,
    /// Physical address of the register block.
    pub(crate) address: u64,
    /// Global interrupt number.
    pub(crate) irq: u32,
}

/// The command line, parsed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// What to do.
    pub(crate) mode: Mode,
    /// How to wait.
    pub(crate) interrupts: Interrupts,
    /// Seconds after which the kernel's own watchdog ends the run; `deadline=SECONDS`.
    pub(crate) deadline: Option<u64>,
    /// Whether the interrupt controller is put into x2APIC mode first; `apic=x2apic`.
    pub(crate) x2apic: bool,
    /// virtio-mmio devices.
    pub(crate) mmio: Vec<MmioWord>,
    /// Other `key=value` pairs, for scenarios that take parameters.
    pub(crate) others: Vec<(String, String)>,
    /// Words that mean nothing here.
    pub(crate) ignored: Vec<String>,
}

/// Parses a command line.
///
/// # Errors
/// A sentence about the first word that has a known key and a bad value, or about what a mode lacks.
pub(crate) fn parse(text: &str) -> Result<CommandLine, String> {
    let mut line = CommandLine::default();
    let mut chosen = None;
    let mut arguments = Vec::new();
    let mut test = None;
    for word in text.split_ascii_whitespace() {
        let Some((key, raw)) = word.split_once('=') else {
            line.ignored.push(word.into());
            continue;
        };
        let value = decode(raw).ok_or_else(|| alloc::format!("`{word}` is not percent-encoded UTF-8"))?;
        match key {
            words::MODE => chosen = Some(value),
            words::ARGUMENT => arguments.push(value),
            words::TEST => test = Some(value),
            words::INTERRUPTS => {
                line.interrupts = match value.as_str() {
                    interrupts::POLL => Interrupts::Poll,
                    interrupts::MSIX => Interrupts::MsiX,
                    interrupts::LINE => Interrupts::Line,
                    _ => return Err(alloc::format!("irq={value} is none of poll, msix and line")),
                }
            }
            words::APIC => {
                if value != words::X2APIC {
                    return Err(alloc::format!("apic={value} is not {}", words::X2APIC));
                }
                line.x2apic = true;
            }
            words::DEADLINE => {
                let seconds =
                    value.parse().map_err(|_| alloc::format!("deadline={value} is not a number of seconds"))?;
                line.deadline = Some(seconds);
            }
            "virtio_mmio.device" => {
                line.mmio.push(mmio_word(&value).ok_or_else(|| alloc::format!("`{word}` is not SIZE@ADDRESS:IRQ"))?);
            }
            _ => line.others.push((key.into(), value)),
        }
    }
    line.mode = match chosen.as_deref() {
        None | Some(mode::TOUR) => Mode::Tour,
        Some(mode::RUN) if arguments.is_empty() => return Err("mode=run needs arg=COMMAND".into()),
        Some(mode::RUN) => Mode::Run(arguments),
        Some(mode::SHELL) => Mode::Shell,
        Some(mode::TEST) => Mode::Test(test.ok_or("mode=test needs test=SUITE::NAME")?),
        Some(other) => return Err(alloc::format!("mode={other} is none of tour, run, shell and test")),
    };
    Ok(line)
}

impl CommandLine {
    /// The value of another `key=value` word.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.others.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Parses `512@0xfeb00e00:12`; the size may have a suffix K or M.
fn mmio_word(text: &str) -> Option<MmioWord> {
    let (size, rest) = text.split_once('@')?;
    let mut parts = rest.split(':');
    let address = number(parts.next()?)?;
    let irq = number(parts.next()?)?.try_into().ok()?;
    let size = match size.strip_suffix(['K', 'k']) {
        Some(kib) => number(kib)?.checked_mul(1 << 10)?,
        None => match size.strip_suffix(['M', 'm']) {
            Some(mib) => number(mib)?.checked_mul(1 << 20)?,
            None => number(size)?,
        },
    };
    Some(MmioWord { size, address, irq })
}

/// A number in decimal or, with `0x`, in hexadecimal.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_the_tour() {
        assert_eq!(parse("").unwrap(), CommandLine::default());
        assert_eq!(parse(" \t ").unwrap().mode, Mode::Tour);
    }

    #[test]
    fn arguments_keep_their_order_and_spaces() {
        let line = parse("mode=run arg=write arg=a%20b.txt arg=x%3dy%25 irq=msix").unwrap();
        assert_eq!(line.mode, Mode::Run(["write", "a b.txt", "x=y%"].map(String::from).to_vec()));
        assert_eq!(line.interrupts, Interrupts::MsiX);
    }

    #[test]
    fn a_test_is_named() {
        assert_eq!(parse("mode=shell").unwrap().mode, Mode::Shell);
        assert_eq!(parse("mode=test test=dax::x").unwrap().mode, Mode::Test("dax::x".into()));
        assert!(parse("mode=test").is_err());
        assert!(parse("mode=run").is_err());
        assert!(parse("mode=dance").is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in
            ["irq=smoke", "apic=x3", "arg=%", "arg=%4", "arg=%zz", "arg=%ff", "deadline=soon", "virtio_mmio.device=512"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mmio_devices_as_qemu_writes_them() {
        let line = parse("virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@65536:5:1 quiet x=1").unwrap();
        assert_eq!(
            line.mmio,
            [MmioWord { size: 512, address: 0xfeb0_0e00, irq: 12 }, MmioWord { size: 4096, address: 65536, irq: 5 }]
        );
        assert_eq!(line.ignored, ["quiet"]);
        assert_eq!(line.parameter("x"), Some("1"));
        assert_eq!(line.parameter("y"), None);
    }
}
