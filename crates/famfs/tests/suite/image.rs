//! Images made by the real tools, as memory: only pages that hold something are kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use fs_dax::{DeviceOffset, Error, WindowMemory, check_inside};

const PAGE: usize = 4096;

/// Memory that is 0 where nothing else was stored.
pub(crate) struct Image {
    pages: BTreeMap<u64, [u8; PAGE]>,
    len: u64,
}

/// The folder of the images.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The JSON file of this name.
pub(crate) fn json(name: &str) -> serde_json::Value {
    let file = File::open(testdata().join(format!("{name}.json"))).unwrap();
    serde_json::from_reader(std::io::BufReader::new(file)).unwrap()
}

impl Image {
    /// The image of this name, as long as its file.
    pub(crate) fn load(name: &str) -> Self {
        let file = File::open(testdata().join(format!("{name}.img.gz"))).unwrap();
        let mut bytes = MultiGzDecoder::new(file);
        let mut image = Self { pages: BTreeMap::new(), len: 0 };
        loop {
            let mut page = [0; PAGE];
            let mut filled = 0;
            while filled < PAGE {
                match bytes.read(&mut page[filled..]).unwrap() {
                    0 => break,
                    count => filled += count,
                }
            }
            if page != [0; PAGE] {
                image.pages.insert(image.len / PAGE as u64, page);
            }
            image.len += filled as u64;
            if filled < PAGE {
                return image;
            }
        }
    }

    /// The same on a device of `len` bytes: what follows the file is 0.
    pub(crate) fn on_device(self, len: u64) -> Self {
        Self { len, ..self }
    }
}

impl WindowMemory for Image {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        check_inside(offset, into.len() as u64, self.len)?;
        let mut at = offset.0;
        let mut rest = into;
        while !rest.is_empty() {
            let within = (at % PAGE as u64) as usize;
            let (part, after) = rest.split_at_mut(rest.len().min(PAGE - within));
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => part.copy_from_slice(&page[within..][..part.len()]),
                None => part.fill(0),
            }
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        Err(Error::OutOfWindow { offset, len: from.len() as u64, window_len: 0 })
    }
}
