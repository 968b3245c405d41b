//! Reading and writing without blocking.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::io::read_async::Read;
use crate::io::write_async::Write;
use crate::{DefaultLock, Error, File, Lock};

/// A read under way: a future of the number of bytes read. See [`File::read_async`].
#[must_use = "a read does nothing unless it is polled"]
pub struct ReadAsync<'f, R: Lock = DefaultLock> {
    read: Result<Read<'f, R>, Error>,
    buffer: &'f mut [u8],
}

/// A write under way: a future of the number of bytes written. See [`File::write_async`].
#[must_use = "a write does nothing unless it is polled"]
pub struct WriteAsync<'f, R: Lock = DefaultLock> {
    write: Result<Write<'f, R>, Error>,
    buffer: &'f [u8],
}

impl<R: Lock> File<R> {
    /// As [`File::read_at`], without blocking: bytes that are mapped are copied at once, for others the host is asked and the
    /// task's waker woken when its answer comes. Where the blocking call would wait for a range of the window, this one reads
    /// by READ: [`crate::VirtioFs::reclaim_step`] from an idle loop keeps ranges free.
    ///
    /// Something has to complete requests: [`crate::InterruptHandle::handle`] from an interrupt handler, or
    /// [`crate::VirtioFs::poll`] from the loop that runs the tasks. While the queue is full the task is polled again and again.
    ///
    /// ```no_run
    /// # fn f(fs: &virtio_fs::VirtioFs, file: &virtio_fs::File) -> Result<(), virtio_fs::Error> {
    /// use core::pin::pin;
    /// use core::task::{Context, Poll, Waker};
    ///
    /// async fn copy(file: &virtio_fs::File) -> Result<usize, virtio_fs::Error> {
    ///     let mut page = [0; 4096];
    ///     let count = file.read_async(&mut page, 0).await?;
    ///     file.write_async(&page[..count], 8192).await
    /// }
    ///
    /// // An executor of one task, which looks again and again; one with interrupts sleeps until its waker is woken.
    /// let mut task = pin!(copy(file));
    /// let mut context = Context::from_waker(Waker::noop());
    /// let copied = loop {
    ///     if let Poll::Ready(result) = task.as_mut().poll(&mut context) {
    ///         break result?;
    ///     }
    ///     fs.poll();
    /// };
    /// println!("{copied} bytes");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`File::read_at`].
    pub fn read_async<'f>(&'f self, buffer: &'f mut [u8], offset: u64) -> ReadAsync<'f, R> {
        let read = self.check_readable().map(|_| Read::new(&self.mounted.io, &self.open, offset));
        ReadAsync { read, buffer }
    }

    /// As [`File::write_at`], without blocking; see [`File::read_async`]. A write that is dropped may still happen.
    ///
    /// # Errors
    ///
    /// As [`File::write_at`].
    pub fn write_async<'f>(&'f self, buffer: &'f [u8], offset: u64) -> WriteAsync<'f, R> {
        let write = self.check_writable().map(|_| Write::new(&self.mounted.io, &self.open, offset));
        WriteAsync { write, buffer }
    }
}

impl<R: Lock> Future for ReadAsync<'_, R> {
    type Output = Result<usize, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match &mut this.read {
            Ok(read) => outcome(read.poll(this.buffer, context.waker())),
            Err(error) => Poll::Ready(Err(core::mem::replace(error, Error::Dead))),
        }
    }
}

impl<R: Lock> Future for WriteAsync<'_, R> {
    type Output = Result<usize, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match &mut this.write {
            Ok(write) => outcome(write.poll(this.buffer, context.waker())),
            Err(error) => Poll::Ready(Err(core::mem::replace(error, Error::Dead))),
        }
    }
}

fn outcome(polled: Result<Option<usize>, Error>) -> Poll<Result<usize, Error>> {
    match polled {
        Ok(None) => Poll::Pending,
        Ok(Some(count)) => Poll::Ready(Ok(count)),
        Err(error) => Poll::Ready(Err(error)),
    }
}

impl<R: Lock> core::fmt::Debug for ReadAsync<'_, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReadAsync").field("len", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl<R: Lock> core::fmt::Debug for WriteAsync<'_, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WriteAsync").field("len", &self.buffer.len()).finish_non_exhaustive()
    }
}
