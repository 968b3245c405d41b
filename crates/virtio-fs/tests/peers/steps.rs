//! What others do to a file between any two steps of an operation on it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use virtio_fs::{OpenOptions, VirtioFs};

use crate::rig::content::content;
use crate::rig::peer::{Peer, on_both};
use crate::rig::stepping::{SteppingLock, stepping};

on_both! { a_file_is_cut_and_stretched_during_a_read }

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

/// The file is cut at one step of a read and stretched past the end of the buffer at a later one, for each pair of steps:
/// a size that is looked at twice is two sizes.
fn a_file_is_cut_and_stretched_during_a_read(peer: Peer) {
    const LEN: usize = 10_000;
    const CUT: u64 = 100;
    const STRETCHED: u64 = 5 << 20;
    let data = content(41, LEN);
    peer.put("file", &data);
    // Whoever would have to wait for the reader, which is on the same thread, gives up at once.
    let config = peer.config().window_timeout(Duration::ZERO);
    let fs: VirtioFs<SteppingLock> = peer.mount_locked(config).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let other = Arc::new(fs.open("file", BOTH).unwrap());
    let (mut cut_at, mut steps, mut cuts) = (0, usize::MAX, 0);
    while cut_at < steps {
        let mut stretch_at = cut_at + 1;
        while stretch_at <= steps {
            // Anew, with nothing mapped.
            other.set_len(0).unwrap();
            other.write_all_at(&data, 0).unwrap();
            let last = Rc::new(Cell::new(0));
            let hook = {
                let (other, last) = (other.clone(), last.clone());
                let ring = peer.doorbells();
                move |step: usize| {
                    last.set(step);
                    if step != cut_at && step != stretch_at {
                        return;
                    }
                    // The reader may be about to ring for both.
                    ring();
                    if step == cut_at {
                        // Refused while the reader is in the bytes.
                        let _ = other.set_len(CUT);
                    } else {
                        other.set_len(STRETCHED).unwrap();
                    }
                }
            };
            let mut buffer = vec![0xee; LEN];
            let count = stepping(hook, || file.read_at(&mut buffer, 0)).unwrap();
            assert!(count >= CUT as usize, "{count} bytes, cut at {cut_at}, stretched at {stretch_at}");
            assert_eq!(buffer[..CUT as usize], data[..CUT as usize], "cut at {cut_at}, stretched at {stretch_at}");
            let after_cut = buffer[CUT as usize..count].iter().zip(&data[CUT as usize..]);
            assert!(after_cut.into_iter().all(|(found, before)| *found == 0 || found == before));
            cuts += usize::from(count < LEN);
            steps = last.get() + 1;
            stretch_at += 1;
        }
        cut_at += 1;
    }
    assert!(cuts > 0, "no read of {steps} steps saw the cut");
    drop((file, other));
    fs.unmount().unwrap();
    drop(fs);
    peer.end();
}
