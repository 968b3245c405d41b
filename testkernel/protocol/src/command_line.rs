//! The kernel's command line: `KEY=VALUE` words between spaces, values percent-encoded.

use alloc::{format, string::String, vec::Vec};

/// What the kernel does; the value is one of [`mode`].
pub const MODE: &str = "mode";
/// A word of the command in [`mode::RUN`], one for each.
pub const ARGUMENT: &str = "arg";
/// A scenario in [`mode::TEST`].
pub const TEST: &str = "test";
/// Seconds after which the kernel's own watchdog ends a scenario or command.
pub const DEADLINE: &str = "deadline";
/// How the driver learns of answers; the value is one of [`interrupts`].
pub const INTERRUPTS: &str = "irq";
/// Bytes of the window that the machine has, for scenarios that compare.
pub const WINDOW: &str = "window";
/// Which of several machines that share memory this one is, from 0.
pub const GUEST: &str = "guest";
/// How the memory that machines share can be used; the value is [`READ_ONLY`], or the word is left out.
pub const MEMORY: &str = "memory";
/// The value of [`MEMORY`] for memory to which stores are lost.
pub const READ_ONLY: &str = "read-only";
/// How many seconds a scenario takes that can take any time.
pub const SECONDS: &str = "seconds";
/// With the value [`X2APIC`], the kernel puts its interrupt controller into that mode before it looks, as some monitors do.
pub const APIC: &str = "apic";
/// The value of [`APIC`].
pub const X2APIC: &str = "x2apic";

/// Values of [`MODE`].
pub mod mode {
    /// Shows what there is; also without the word.
    pub const TOUR: &str = "tour";
    /// Runs one command.
    pub const RUN: &str = "run";
    /// Runs the commands that the host sends.
    pub const SHELL: &str = "shell";
    /// Runs scenarios.
    pub const TEST: &str = "test";
}

/// Values of [`INTERRUPTS`](super::INTERRUPTS).
pub mod interrupts {
    /// The driver looks.
    pub const POLL: &str = "poll";
    /// Message-signalled interrupts (PCI only).
    pub const MSIX: &str = "msix";
    /// INTx, or the interrupt line of a virtio-mmio device.
    pub const LINE: &str = "line";
}

/// One word of the command line.
pub fn word(key: &str, value: &str) -> String {
    format!("{key}={}", encode(value))
}

/// Percent-encodes everything but letters, digits and `-_./:~+`.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./:~+".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

/// Undoes percent-encoding; `None` for a stray `%` or what is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(*rest.next()?).to_digit(16)?;
            let low = char::from(*rest.next()?).to_digit(16)?;
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded() {
        assert_eq!(word("arg", "a b%c=\u{fc},"), "arg=a%20b%25c%3d%c3%bc%2c");
        assert_eq!(word("test", "dax::x_1"), "test=dax::x_1");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "a b", "100 %", "\u{fc}\n\"'", "%41"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn bad_encodings_are_refused() {
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
