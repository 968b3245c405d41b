//! Interrupts: MSI-X and the interrupt line.

use virtio_transport::{ConfigurationAccess, Registers};

use crate::{
    PciError, PciTransport, QueueVectors,
    config::{COMMAND_NO_INTX, Config},
    layout::Msix,
    vectors::{NO_VECTOR, accepted},
};

/// Bits of the MSI-X capability's message control: enable, and mask all vectors.
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;

/// What a device writes, and where, to interrupt by MSI-X. On x86 the address is 0xfee00000 with the local APIC's id
/// from bit 12, and the data is the interrupt vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixMessage {
    /// The address, a multiple of 4.
    pub address: u64,
    /// The data.
    pub data: u32,
}

/// Interrupts by MSI-X: an embedder sets the messages, says which vectors are for what
/// ([`PciTransport::assign_vectors`]), and enables MSI-X ([`PciTransport::enable_msix`]); then it gives the transport to
/// a driver.
impl<R: Registers> PciTransport<R> {
    /// How many MSI-X vectors the device has, 0 if it has no usable MSI-X. It may well be 1: then all queues share it.
    pub fn msix_vectors(&self) -> u16 {
        self.layout.msix.map_or(0, |msix| msix.vectors)
    }

    /// Sets what `vector` writes, and unmasks it.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`], or [`PciError::NoVector`].
    pub fn set_msix_message(&mut self, vector: u16, message: MsixMessage) -> Result<(), PciError> {
        self.check_vector(vector)?;
        self.structures.set_msix_entry(vector, message.address, message.data);
        Ok(())
    }

    /// Masks or unmasks `vector`. An interrupt that comes while it is masked is raised when it is unmasked.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`], or [`PciError::NoVector`].
    pub fn mask_msix(&mut self, vector: u16, masked: bool) -> Result<(), PciError> {
        self.check_vector(vector)?;
        self.structures.mask_msix_entry(vector, masked);
        Ok(())
    }

    /// Interrupts by MSI-X from now on, and not by the line.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`].
    pub fn enable_msix<C: ConfigurationAccess>(&mut self, access: &mut C) -> Result<(), PciError> {
        self.set_msix_control(access, MSIX_ENABLE)
    }

    /// No longer interrupts by MSI-X, but by the line.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`].
    pub fn disable_msix<C: ConfigurationAccess>(&mut self, access: &mut C) -> Result<(), PciError> {
        self.set_msix_control(access, 0)
    }

    /// Sets which vectors signal configuration changes and used buffers, for as long as the transport lives: each
    /// queue gets its vector when it is set up, and the configuration when DRIVER_OK is set, again after every reset. A
    /// queue for which the device refuses its vector stays disabled, which `Transport::queue_used` shows.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`], or [`PciError::NoVector`]; nothing is changed then.
    pub fn assign_vectors(&mut self, config: Option<u16>, queues: QueueVectors) -> Result<(), PciError> {
        let config = self.vector_number(config)?;
        if let QueueVectors::Shared(vector) | QueueVectors::From(vector) = queues {
            self.check_vector(vector)?;
        }
        self.config_vector = config;
        self.queue_vectors = queues;
        Ok(())
    }

    /// Sets which vector signals configuration changes, if any. A reset makes it none, or what
    /// [`PciTransport::assign_vectors`] says.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`], [`PciError::NoVector`], or [`PciError::VectorRefused`].
    pub fn set_config_vector(&mut self, vector: Option<u16>) -> Result<(), PciError> {
        let vector = self.vector_number(vector)?;
        let answer = self.structures.set_config_vector(vector);
        accepted(vector, answer)
    }

    /// Sets by which vector `queue` signals used buffers, if by any, before it is set up. A reset makes it none.
    ///
    /// # Errors
    ///
    /// [`PciError::NoMsix`], [`PciError::NoVector`], or [`PciError::VectorRefused`].
    pub fn set_queue_vector(&mut self, queue: u16, vector: Option<u16>) -> Result<(), PciError> {
        let vector = self.vector_number(vector)?;
        self.structures.select_queue(queue);
        let answer = self.structures.set_queue_vector(vector);
        accepted(vector, answer)
    }

    /// Lets the device use its interrupt line, or not, as long as MSI-X is not enabled. A driver that polls forbids it.
    pub fn set_line_enabled<C: ConfigurationAccess>(&mut self, access: &mut C, enabled: bool) {
        Config::new(access, self.function).change_command(COMMAND_NO_INTX, !enabled);
    }

    fn msix(&self) -> Result<Msix, PciError> {
        self.layout.msix.ok_or(PciError::NoMsix)
    }

    fn check_vector(&self, vector: u16) -> Result<(), PciError> {
        let vectors = self.msix()?.vectors;
        if vector >= vectors {
            return Err(PciError::NoVector { vector, vectors });
        }
        Ok(())
    }

    fn vector_number(&self, vector: Option<u16>) -> Result<u16, PciError> {
        match vector {
            Some(vector) => self.check_vector(vector).map(|()| vector),
            None => Ok(NO_VECTOR),
        }
    }

    fn set_msix_control<C: ConfigurationAccess>(&mut self, access: &mut C, bits: u16) -> Result<(), PciError> {
        let at = self.msix()?.capability;
        let mut config = Config::new(access, self.function);
        let control = config.read16(at + 2);
        config.write16(at + 2, control & !(MSIX_ENABLE | MSIX_MASK_ALL) | bits);
        Ok(())
    }
}
