//! The slow path of an access: getting a reference to bytes that are not mapped yet.

use dax_window::{Access, Bypass, Purpose, Request, Stream};
use fuse_proto::Errno;

use super::DaxWindow;
use super::base::Patience;
use super::pending::FileId;
use super::range_ref::RangeRef;
use super::remove::Removal;
use crate::{Error, Lock};

/// A reference to bytes in the window, or why there is none.
pub(crate) enum Acquired {
    Range(RangeRef),
    Bypass(Bypass),
}

impl<R: Lock> DaxWindow<R> {
    /// Gets a reference to the bytes of `request`, carrying out whatever the allocator wants done for it. To be called when
    /// [`DaxWindow::hit`] finds nothing.
    #[cold]
    pub(crate) fn acquire(&self, file: &FileId, stream: &mut Stream, request: &Request) -> Result<Acquired, Error> {
        self.settle_late();
        // It has another way, which is the better one if the wait may never end.
        if request.purpose == Purpose::Copy && !file.settled {
            return Ok(Acquired::Bypass(Bypass::Busy));
        }
        // From the first moment on at which there is somebody to wait for.
        let mut patience = None;
        loop {
            match self.with(|window| window.access(stream, request)) {
                Access::Hit(range) => return Ok(Acquired::Range(RangeRef(range))),
                Access::Bypass(why) => return Ok(Acquired::Bypass(why)),
                Access::Setup(ticket) => {
                    if let Some(range) = self.set_up(file, ticket)? {
                        return Ok(Acquired::Range(range));
                    }
                }
                Access::Evict(ticket) => {
                    let patience = patience.get_or_insert_with(|| self.patience_for(request));
                    if self.remove(ticket) != Removal::Sent && self.rpc.now() >= patience.least {
                        return stayed_busy(request);
                    }
                }
                Access::Wait(wait) => {
                    if !self.wait(wait, patience.get_or_insert_with(|| self.patience_for(request)))? {
                        return stayed_busy(request);
                    }
                }
            }
        }
    }

    fn patience_for(&self, request: &Request) -> Patience {
        let Patience { least, most } = self.patience();
        Patience { least, most: if request.purpose == Purpose::Copy { least } else { most } }
    }
}

/// What becomes of an access for which no range was to be had until the deadline.
fn stayed_busy(request: &Request) -> Result<Acquired, Error> {
    match request.purpose {
        Purpose::Copy => Ok(Acquired::Bypass(Bypass::Busy)),
        _ => Err(Error::refused(Errno::EAGAIN, "the range stayed busy until the deadline")),
    }
}
