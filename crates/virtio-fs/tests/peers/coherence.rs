//! One file, seen by everybody: threads that read, store, map, fault, cut, append, rename and truncate, and the host beside them,
//! against a model of what the file holds.
//!
//! Each page belongs to a thread: its stores and looks need no agreement with others: all of them share the model. Whoever
//! changes the size has it alone. `COHERENCE_SEED` repeats what a failure prints, `COHERENCE_ROUNDS` makes it long.

use std::fs::OpenOptions as HostOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, RwLock};

use fs_dax::Wanted;
use fuse_proto::FallocateMode;
use virtio_fs::{HostRules, OpenOptions, VirtioFs};

use crate::faults::{BOTH, Tables, base, load, store, tables};
use crate::rig::content::{assert_same, next};
use crate::rig::lock;
use crate::rig::peer::{Peer, on_both};
use crate::rig::window::Window;

on_both! {
    everybody_sees_one_file,
    everybody_sees_one_file_of_a_host_that_replaces,
}

const PAGE: u64 = 4096;
const RANGE: u64 = 2 << 20;
const MOST: u64 = 6 * RANGE;
const THREADS: u64 = 3;

type File = virtio_fs::File<spin::Mutex<()>>;

struct World {
    folder: PathBuf,
    fs: VirtioFs,
    tables: Arc<Tables>,
    window: Arc<Window>,
    /// What the file holds, and its present name.
    model: RwLock<(Vec<AtomicU8>, String)>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

impl World {
    fn host(&self, name: &str) -> std::fs::File {
        HostOptions::new().read(true).write(true).open(self.folder.join(name)).unwrap()
    }

    /// Bytes of a page as a program sees them that has it mapped, or stores to it. The page may be taken away between fault and
    /// access: the page tables' lock keeps it.
    fn through_page_tables(&self, file: &File, at: u64, len: usize, stored: Option<&[u8]>) -> Vec<u8> {
        loop {
            self.tables.touch(file, at, stored.is_some(), Wanted::Base).expect("inside the file");
            let entries = lock(&self.tables.entries);
            let Some((page, writable, _)) = entries.get(&(base(file) + at / PAGE * PAGE)) else { continue };
            match stored {
                Some(_) if !writable => continue,
                Some(bytes) => store(&self.window, page, at, bytes),
                None => {}
            }
            return load(&self.window, page, at, len);
        }
    }

    /// Looks at bytes of one page or changes them, in one of the ways that there are.
    fn in_a_page(&self, file: &File, state: &mut u64, model: &[AtomicU8], name: &str, at: u64, len: usize) {
        let new: Vec<u8> = (0..len).map(|_| next(state) as u8).collect();
        let mine = &model[at as usize..at as usize + len];
        let known = || mine.iter().map(|byte| byte.load(Ordering::Relaxed)).collect::<Vec<u8>>();
        let note = || mine.iter().zip(&new).for_each(|(byte, new)| byte.store(*new, Ordering::Relaxed));
        // The page at the end cannot be mapped where it is no whole one.
        let mapped = at / PAGE * PAGE + PAGE <= model.len() as u64;
        let mut found = vec![0; len];
        let way = next(state) % 9;
        match way {
            0 | 1 => {
                file.read_exact_at(&mut found, at).unwrap();
                assert_same(&found, &known(), format!("read at {at:#x}"));
            }
            2 => {
                file.write_all_at(&new, at).unwrap();
                note();
            }
            3 if mapped => {
                file.map(at, len).unwrap().copy_to(0, &mut found);
                assert_same(&found, &known(), format!("a view at {at:#x}"));
            }
            4 if mapped => {
                assert_eq!(file.map_mut(at, len).unwrap().store(0, &new), len);
                note();
            }
            5 if mapped => {
                let found = self.through_page_tables(file, at, len, None);
                assert_same(&found, &known(), format!("a load at {at:#x}"));
            }
            6 if mapped => {
                assert_same(&self.through_page_tables(file, at, len, Some(&new)), &new, format!("stored at {at:#x}"));
                note();
            }
            7 => {
                self.host(name).read_exact_at(&mut found, at).unwrap();
                assert_same(&found, &known(), format!("the host's at {at:#x}"));
            }
            _ => {
                self.host(name).write_all_at(&new, at).unwrap();
                note();
            }
        }
    }

    /// Changes the size, or the name, while nobody else does anything.
    fn alone(&self, file: &File, state: &mut u64) {
        let mut model = self.model.write().unwrap();
        let (bytes, name) = &mut *model;
        let size = next(state) % MOST;
        let zeros = |len: u64| (0..len).map(|_| AtomicU8::new(0));
        let resize = |bytes: &mut Vec<AtomicU8>| bytes.resize_with(size as usize, || AtomicU8::new(0));
        match next(state) % 7 {
            0 | 1 => {
                file.set_len(size).unwrap();
                resize(bytes);
            }
            2 => {
                let appending = self.fs.open(&**name, OpenOptions::new().append(true)).unwrap();
                let new: Vec<u8> = (0..next(state) % 9000).map(|_| next(state) as u8).collect();
                appending.write_all_at(&new, 0).unwrap();
                bytes.extend(new.into_iter().map(AtomicU8::new));
            }
            3 => {
                drop(self.fs.open(&**name, BOTH.truncate(true)).unwrap());
                bytes.clear();
                file.set_len(size).unwrap();
                resize(bytes);
            }
            4 => {
                let to = format!("name-{}", next(state) % 5);
                let root = self.fs.root().unwrap();
                root.rename(&**name, &root, &*to).unwrap();
                *name = to;
            }
            5 => {
                self.host(name).set_len(size).unwrap();
                // Heard of it before anybody goes past the end.
                file.node().refresh_attr().unwrap();
                resize(bytes);
            }
            _ if !bytes.is_empty() => {
                let at = next(state) % bytes.len() as u64;
                let len = (next(state) % (3 * PAGE) + 1).min(bytes.len() as u64 - at);
                file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, at, len).unwrap();
                bytes.splice(at as usize..(at + len) as usize, zeros(len)).for_each(drop);
            }
            _ => {}
        }
        assert_eq!(file.attr().unwrap().size, bytes.len() as u64);
    }

    fn thread(&self, index: u64, seed: u64, rounds: u64) {
        let file = self.fs.open(&*self.model.read().unwrap().1, BOTH).unwrap();
        let mut state = seed.wrapping_mul(THREADS).wrapping_add(index);
        for round in 0..rounds {
            if round % 40 == 39 {
                self.alone(&file, &mut state);
                continue;
            }
            let model = self.model.read().unwrap();
            let pages = (model.0.len() as u64).div_ceil(PAGE * THREADS);
            let start = (next(&mut state) % pages.max(1) * THREADS + index) * PAGE;
            let end = (start + PAGE).min(model.0.len() as u64);
            if start >= end {
                continue;
            }
            let at = start + next(&mut state) % (end - start);
            let len = (next(&mut state) % 100 + 1).min(end - at) as usize;
            self.in_a_page(&file, &mut state, &model.0, &model.1, at, len);
            if round % 50 == 7 {
                file.sync_all().unwrap();
            }
        }
    }
}

fn everybody_sees_one_file(peer: Peer) {
    everybody_sees_one_file_of(peer, HostRules::STRICT);
}

fn everybody_sees_one_file_of_a_host_that_replaces(peer: Peer) {
    everybody_sees_one_file_of(peer.with_options(|options| options.remaps = true), HostRules::REPLACING);
}

fn everybody_sees_one_file_of(peer: Peer, host: HostRules) {
    let peer = peer.with_window(Some(8 << 20));
    peer.put("name-0", b"");
    let fs = peer.mount_with(peer.config().host(host)).unwrap();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let model = RwLock::new((Vec::new(), String::from("name-0")));
    let world = World { folder: peer.folder().to_path_buf(), fs, tables, window, model };
    let seed = setting("COHERENCE_SEED", 1);
    println!("COHERENCE_SEED={seed}");
    let rounds = setting("COHERENCE_ROUNDS", 400);
    std::thread::scope(|scope| {
        for index in 0..THREADS {
            let world = &world;
            scope.spawn(move || world.thread(index, seed, rounds));
        }
    });
    let World { fs, model, .. } = world;
    let (bytes, name) = model.into_inner().unwrap();
    let wanted: Vec<u8> = bytes.into_iter().map(AtomicU8::into_inner).collect();
    assert_same(&fs.read(&*name).unwrap(), &wanted, "in the end");
    assert_same(&peer.get(&*name), &wanted, "on the host");
    peer.finish(fs);
}
