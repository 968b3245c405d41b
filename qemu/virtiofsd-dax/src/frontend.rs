//! The window as QEMU serves it: requests on vhost-user's back-end channel.

use std::fs::File;
use std::io;

use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags, VhostUserSharedMsg};
use vhost::vhost_user::{Backend, Error as VhostUserError, VhostUserFrontendReqHandler as _};
use vm_memory::ByteValued as _;

use crate::record::Record;
use crate::window::{Mapping, Window, WindowError};

/// The one region of the device.
const SHMID: u8 = 0;

/// A shared object that nobody ever offered.
const NO_OBJECT: [u8; 16] = *b"virtiofsd-dax-no";

/// The window, for as long as `running` says that the device runs.
pub struct Frontend<'a> {
    channel: &'a Backend,
    running: &'a dyn Fn() -> bool,
    record: &'a Record,
}

impl std::fmt::Debug for Frontend<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontend").field("record", &self.record).finish_non_exhaustive()
    }
}

impl<'a> Frontend<'a> {
    /// Requests go out on `channel`, but only while `running` holds: the front end does not survive one that comes
    /// when the device is stopped.
    pub fn new(channel: &'a Backend, running: &'a dyn Fn() -> bool, record: &'a Record) -> Self {
        Frontend { channel, running, record }
    }

    fn ask(&self, request: impl FnOnce(&Backend) -> io::Result<u64>) -> Result<(), WindowError> {
        if !(self.running)() {
            return Err(WindowError::NotRunning);
        }
        match request(self.channel) {
            Ok(_) => Ok(()),
            Err(error) if is_refusal(&error) => Err(WindowError::Refused),
            Err(error) => {
                log::error!("the channel to the front end broke: {error}");
                Err(WindowError::Lost)
            }
        }
    }
}

/// Whether the front end answered, with anything but 0.
fn is_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<VhostUserError>());
    matches!(inner, Some(VhostUserError::FrontendInternalError))
}

fn message(mapping: &Mapping<'_, File>) -> VhostUserMMap {
    VhostUserMMap {
        shmid: SHMID,
        padding: [0; 7],
        fd_offset: mapping.file_offset,
        shm_offset: mapping.window_offset,
        len: mapping.len,
        flags: VhostUserMMapFlags::WRITABLE.bits(),
    }
}

impl Window<File> for Frontend<'_> {
    fn map(&mut self, mapping: &Mapping<'_, File>) -> Result<(), WindowError> {
        let result = self.ask(|channel| channel.shmem_map(&message(mapping), mapping.file));
        self.record.map(mapping, result);
        log::debug!("map {mapping:?}: {result:?}");
        result
    }

    fn unmap(&mut self, mapping: &Mapping<'_, File>) -> Result<(), WindowError> {
        let result = self.ask(|channel| channel.shmem_unmap(&message(mapping)));
        self.record.unmap(mapping, result);
        log::debug!("unmap {mapping:?}: {result:?}");
        result
    }

    fn barrier(&mut self) -> Result<(), WindowError> {
        self.record.barrier();
        // QEMU acknowledges a mapping before the guest's processors see it. Any later request is answered only when
        // they do; this one it refuses without a word, which is as good an answer.
        let object = VhostUserSharedMsg::from_slice(&NO_OBJECT).copied().unwrap_or_default();
        match self.ask(|channel| channel.shared_object_remove(&object)) {
            Err(WindowError::Refused) => Ok(()),
            other => other,
        }
    }
}
