//! The machine code of the file systems, as they are linked into the test kernel, and of what a small embedder links.

use super::results::Measured;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::{collections::BTreeMap, fs, path::Path};

/// Code that is measured.
#[derive(Clone, Copy)]
struct Part {
    /// The name of the measurement.
    name: &'static str,
    /// The crates that make it up.
    crates: &'static [&'static str],
    /// What uses them, or uses the same crates.
    others: &'static [&'static str],
}

/// The driver, its protocol, its window and what every DAX file system shares; and what files on shared memory add to that.
const PARTS: [Part; 2] = [
    Part {
        name: "text_bytes",
        crates: &["virtio_fs", "fuse_proto", "dax_window", "fs_dax"],
        others: &["testkernel", "famfs", "small_embedder"],
    },
    Part { name: "famfs_text_bytes", crates: &["famfs", "crc32fast"], others: &["testkernel", "virtio_fs", "fs_dax"] },
];

/// Bytes of the functions in a kernel's binary that are a file system's, or something generic made for it.
///
/// # Errors
/// When the file cannot be read or has no symbols.
pub(super) fn measured(kernel: &Path) -> Result<Vec<Measured>> {
    measured_of(kernel, &PARTS)
}

/// As [`measured`], of the least that an embedder of the driver links.
///
/// # Errors
/// When the file cannot be read or has no symbols.
pub(super) fn measured_small(embedder: &Path) -> Result<Vec<Measured>> {
    measured_of(embedder, &[Part { name: "small_text_bytes", ..PARTS[0] }])
}

fn measured_of(binary: &Path, parts: &[Part]) -> Result<Vec<Measured>> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read the kernel {}", binary.display()))?;
    let file = object::File::parse(&*bytes).with_context(|| format!("{} is no kernel", binary.display()))?;
    let text = file.section_by_name(".text").context("the kernel has no section .text")?.index();
    // Functions that are the same are one function with several names.
    let mut functions = vec![BTreeMap::new(); parts.len()];
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        if symbol.kind() != SymbolKind::Text || symbol.section_index() != Some(text) {
            continue;
        }
        let name = format!("{:#}", rustc_demangle::demangle(name));
        for (part, functions) in parts.iter().zip(&mut functions) {
            if part.has(&name) {
                functions.insert(symbol.address(), symbol.size());
            }
        }
    }
    parts.iter().zip(functions).map(|(part, functions)| part.total(binary, &functions)).collect()
}

impl Part {
    fn total(&self, kernel: &Path, functions: &BTreeMap<u64, u64>) -> Result<Measured> {
        let total: u64 = functions.values().sum();
        ensure!(total > 0, "the kernel {} has no symbols of {}", kernel.display(), self.crates[0]);
        Ok(Measured { name: self.name.into(), value: total as f64, unit: "B".into() })
    }

    /// Whether a function is the part's by its name: it names one of the crates before it names another.
    fn has(&self, name: &str) -> bool {
        let first = |crates: &[&str]| crates.iter().filter_map(|crate_name| named(name, crate_name)).min();
        first(self.crates).is_some_and(|ours| first(self.others).is_none_or(|other| ours < other))
    }
}

/// Where a name first names a crate.
fn named(name: &str, crate_name: &str) -> Option<usize> {
    name.match_indices(&format!("{crate_name}::"))
        .map(|(at, _)| at)
        .find(|&at| !name[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_the_crate_that_they_name_first() {
        for (name, drivers) in [
            ("virtio_fs::file::File<R>::read_at", true),
            ("<fuse_proto::attr::Attr as core::fmt::Debug>::fmt", true),
            ("testkernel::bench::run", false),
            ("core::ptr::drop_in_place::<dax_window::access::RangeRef>", true),
            ("virtio_fs::fs::VirtioFs<R>::mount::<testkernel::hal::KernelHal>", true),
            ("<testkernel::mmap::PageTables as fs_dax::owner::Mappings>::unmap", false),
            ("testkernel::scenarios::dax::run", false),
            ("mydax::run", false),
            ("memcpy", false),
            ("<famfs::mount::Mount<fs_dax::memory::MappedMemory>>::open", false),
        ] {
            assert_eq!(PARTS[0].has(name), drivers, "{name}");
        }
    }

    #[test]
    fn what_both_file_systems_have_in_common_counts_once() {
        for (name, parts) in [
            ("<famfs::mount::Mount<fs_dax::memory::MappedMemory>>::open", [false, true]),
            ("<virtio_fs::fs::Fs as fs_dax::platform::WindowMemory>::read", [true, false]),
            ("crc32fast::baseline::update", [false, true]),
            ("fs_dax::map::FileMap::resolve", [true, false]),
            ("<testkernel::mmap::PageTables as fs_dax::owner::Mappings>::unmap", [false, false]),
        ] {
            assert_eq!(PARTS.map(|part| part.has(name)), parts, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_kernel_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(measured(file.path()).unwrap_err().to_string().contains("is no kernel"));
    }
}
