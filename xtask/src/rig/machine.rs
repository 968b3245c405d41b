//! The machines that QEMU plays.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};
use testkernel_protocol::{command_line::interrupts, machines as names};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The tag of the share on every machine.
pub(crate) const TAG: &str = "share";

/// A machine: its board, and how the share is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Its name, for `--machine`.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    /// The board.
    pub(crate) board: Board,
    /// The device under test.
    pub(crate) device: Device,
    /// How the driver learns of answers: the kernel's `irq=` word.
    pub(crate) interrupts: &'static str,
    /// Processors.
    pub(crate) processors: u32,
    /// The model that they are of, by QEMU's name; none: QEMU's default, or with KVM the host's own.
    pub(crate) model: Option<&'static str>,
}

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    /// A PC with PCI Express.
    Q35,
    /// A machine without PCI; its devices are on virtio-mmio and named on the kernel's command line.
    MicroVm,
}

/// The device under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// A file system device with a window of so many bytes, served by our daemon.
    Dax {
        /// Bytes of the window.
        window: u64,
    },
    /// A file system device without a window, served by an unmodified virtiofsd.
    Plain,
    /// None: for the rig's tests of itself.
    None,
    /// Memory that several machines share, in a BAR of an ivshmem device.
    Ivshmem,
    /// The same, as a virtio-pmem device.
    Pmem,
    /// A GPU with host memory, and no file system.
    Gpu {
        /// Bytes of its region.
        window: u64,
    },
}

/// A q35 with a window of so many bytes, which the driver polls.
const fn with_window(name: &'static str, about: &'static str, window: u64) -> Machine {
    Machine {
        name,
        about,
        board: Board::Q35,
        device: Device::Dax { window },
        interrupts: interrupts::POLL,
        processors: 1,
        model: None,
    }
}

/// A q35 that shares memory with others.
const fn sharing(name: &'static str, about: &'static str, device: Device) -> Machine {
    Machine { name, about, board: Board::Q35, device, interrupts: interrupts::POLL, processors: 2, model: None }
}

/// The device with a BAR that is memory that machines share.
const IVSHMEM: &str = "ivshmem-plain,memdev=shared";

/// Bytes of the memory that machines share: a power of two, as a BAR must be, larger than every device in it.
pub(crate) const SHARED_LEN: u64 = 512 * MIB;

/// The memory that machines share, as one of them gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedMemory<'a> {
    /// The file that it is.
    pub(crate) file: &'a Path,
    /// Whether the machine's stores reach it.
    pub(crate) writable: bool,
}

/// Every machine.
pub(crate) const MACHINES: [Machine; 17] = [
    with_window(names::Q35_DAX, "PCI, a DAX window of 256 MiB", 256 * MIB),
    with_window(names::Q35_DAX_SMALL, "PCI, a DAX window of 16 MiB", 16 * MIB),
    with_window(names::Q35_DAX_1G, "PCI, a DAX window of 1 GiB", GIB),
    with_window(names::Q35_DAX_4G, "PCI, a DAX window of 4 GiB", 4 * GIB),
    Machine {
        processors: 2,
        ..with_window(names::Q35_DAX_2CPU, "PCI, a DAX window of 256 MiB, two processors", 256 * MIB)
    },
    Machine {
        processors: 2,
        ..with_window(names::Q35_DAX_SMALL_2CPU, "PCI, a DAX window of 16 MiB, two processors", 16 * MIB)
    },
    Machine {
        processors: 4,
        ..with_window(names::Q35_DAX_SMALL_4CPU, "PCI, a DAX window of 16 MiB, four processors", 16 * MIB)
    },
    Machine {
        interrupts: interrupts::MSIX,
        ..with_window(names::Q35_DAX_MSIX, "PCI, a DAX window of 256 MiB, message-signalled interrupts", 256 * MIB)
    },
    Machine {
        interrupts: interrupts::LINE,
        ..with_window(names::Q35_DAX_LINE, "PCI, a DAX window of 256 MiB, an interrupt line", 256 * MIB)
    },
    Machine {
        interrupts: interrupts::MSIX,
        processors: 2,
        model: Some("qemu64,+x2apic"),
        ..with_window(
            names::Q35_X2APIC,
            "PCI, a DAX window of 16 MiB, two processors with x2APIC, message-signalled interrupts",
            16 * MIB,
        )
    },
    Machine {
        name: names::Q35_PLAIN,
        about: "PCI, an unmodified virtiofsd and no window, message-signalled interrupts",
        board: Board::Q35,
        device: Device::Plain,
        interrupts: interrupts::MSIX,
        processors: 1,
        model: None,
    },
    Machine {
        name: names::MICROVM_PLAIN,
        about: "virtio-mmio, an unmodified virtiofsd and no window, an interrupt line",
        board: Board::MicroVm,
        device: Device::Plain,
        interrupts: interrupts::LINE,
        processors: 1,
        model: None,
    },
    Machine {
        name: names::Q35_GPU,
        about: "PCI, a GPU with 256 MiB of host memory",
        board: Board::Q35,
        device: Device::Gpu { window: 256 * MIB },
        interrupts: interrupts::POLL,
        processors: 1,
        model: None,
    },
    Machine {
        name: names::Q35_GPU_8G,
        about: "PCI, a GPU with 8 GiB of host memory",
        board: Board::Q35,
        device: Device::Gpu { window: 8 * GIB },
        interrupts: interrupts::POLL,
        processors: 1,
        model: None,
    },
    sharing(names::FAMFS_PAIR, "PCI, memory shared with other machines in a BAR, two processors", Device::Ivshmem),
    sharing(names::FAMFS_PMEM, "PCI, memory shared with other machines by virtio-pmem, two processors", Device::Pmem),
    Machine {
        name: names::Q35_BARE,
        about: "PCI, nothing but what the rig needs",
        board: Board::Q35,
        device: Device::None,
        interrupts: interrupts::POLL,
        processors: 1,
        model: None,
    },
];

/// The machine of this name.
pub(crate) fn named(name: &str) -> Option<Machine> {
    MACHINES.into_iter().find(|machine| machine.name == name)
}

impl Machine {
    /// Bytes of the window, if there is one.
    pub(crate) fn window(&self) -> Option<u64> {
        match self.device {
            Device::Dax { window } | Device::Gpu { window } => Some(window),
            Device::Plain | Device::None | Device::Ivshmem | Device::Pmem => None,
        }
    }

    /// Whether a daemon serves its share.
    pub(crate) fn has_share(&self) -> bool {
        matches!(self.device, Device::Dax { .. } | Device::Plain)
    }

    /// QEMU's arguments for the board with so much RAM.
    pub(crate) fn board_arguments(&self, memory: u64, accelerator: &str) -> Vec<OsString> {
        let board = match self.board {
            Board::Q35 => "q35",
            // With ACPI QEMU would not name the devices on the command line.
            Board::MicroVm => "microvm,acpi=off",
        };
        let mut arguments: Vec<OsString> = vec![
            "-machine".into(),
            format!("{board},memory-backend=mem").into(),
            "-object".into(),
            format!("memory-backend-memfd,id=mem,size={memory},share=on").into(),
            "-m".into(),
            // A virtio-pmem device lies where memory could be added.
            match self.device {
                Device::Pmem => format!("{}k,maxmem={}k", memory >> 10, (memory + 4 * SHARED_LEN) >> 10).into(),
                _ => format!("{}k", memory >> 10).into(),
            },
            "-smp".into(),
            self.processors.to_string().into(),
            "-accel".into(),
            accelerator.into(),
        ];
        if let Some(model) = self.model.or((accelerator == "kvm").then_some("host")) {
            arguments.extend(["-cpu", model].map(OsString::from));
        }
        if self.board == Board::MicroVm {
            arguments.extend(["-global", "virtio-mmio.force-legacy=false"].map(OsString::from));
        }
        arguments
    }

    /// QEMU's arguments for the device, with a daemon that listens at a socket, or memory that is shared.
    pub(crate) fn device_arguments(&self, socket: &Path, memory: Option<SharedMemory<'_>>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if self.has_share() {
            arguments.push("-chardev".into());
            arguments.push(path_option("socket,id=fs,path=", socket));
        }
        let device = match (self.device, self.board) {
            (Device::Dax { .. }, Board::Q35) => {
                "vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=256,config_size=40,chardev=fs".to_owned()
            }
            (Device::Dax { .. }, Board::MicroVm) => {
                "vhost-user-test-device,virtio-id=26,num_vqs=2,vq_size=256,config_size=40,chardev=fs".to_owned()
            }
            (Device::Plain, Board::Q35) => format!("vhost-user-fs-pci,chardev=fs,tag={TAG}"),
            (Device::Plain, Board::MicroVm) => format!("vhost-user-fs-device,chardev=fs,tag={TAG}"),
            (Device::None, _) => return arguments,
            (Device::Pmem, _) => "virtio-pmem-pci,memdev=shared".to_owned(),
            (Device::Ivshmem, _) => IVSHMEM.to_owned(),
            (Device::Gpu { window }, _) => format!("virtio-gpu-pci,hostmem={window}"),
        };
        if let Some(memory) = memory {
            let access = if memory.writable { "" } else { ",readonly=on" };
            let object = format!("memory-backend-file,id=shared,size={SHARED_LEN},share=on{access},mem-path=");
            arguments.extend(["-object".into(), path_option(&object, memory.file)]);
            // Whatever else the machine has.
            if !matches!(self.device, Device::Ivshmem | Device::Pmem) {
                arguments.extend(["-device", IVSHMEM].map(OsString::from));
            }
        }
        arguments.extend(["-device".into(), device.into()]);
        arguments
    }
}

/// An option of QEMU's that ends in a path; commas in it are doubled, as QEMU wants them.
pub(crate) fn path_option(option: &str, path: &Path) -> OsString {
    let mut bytes = option.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for machine in MACHINES {
            assert_eq!(named(machine.name), Some(machine));
            assert_eq!(MACHINES.iter().filter(|other| other.name == machine.name).count(), 1);
        }
        assert_eq!(named("pdp-11"), None);
    }

    #[test]
    fn windows_are_what_qemu_accepts() {
        for window in MACHINES.iter().filter_map(Machine::window) {
            assert!(window.is_power_of_two() && window >= 2 * MIB);
        }
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(path_option("socket,path=", Path::new("/a,b/c")), "socket,path=/a,,b/c");
        let odd = OsString::from_vec(b"/a\xff,'\n".to_vec());
        assert_eq!(path_option("p=", Path::new(&odd)), OsString::from_vec(b"p=/a\xff,,'\n".to_vec()));
    }
}
