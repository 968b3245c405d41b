//! The machine code of the driver, as it is linked into the test kernel.

use super::results::Measured;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::{collections::BTreeMap, fs, path::Path};

/// The crates that make up the driver, its protocol and its window.
const CRATES: [&str; 4] = ["virtio_fs", "fuse_proto", "dax_window", "fs_dax"];
/// What uses them.
const EMBEDDER: &str = "testkernel";

/// Bytes of the functions in a kernel's binary that are the driver's, or something generic made for it.
///
/// # Errors
/// When the file cannot be read or has no symbols.
pub(super) fn measured(kernel: &Path) -> Result<Measured> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read the kernel {}", kernel.display()))?;
    let file = object::File::parse(&*bytes).with_context(|| format!("{} is no kernel", kernel.display()))?;
    let text = file.section_by_name(".text").context("the kernel has no section .text")?.index();
    // Functions that are the same are one function with several names.
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        let is_text = symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(text);
        if is_text && is_drivers(&format!("{:#}", rustc_demangle::demangle(name))) {
            functions.insert(symbol.address(), symbol.size());
        }
    }
    let total: u64 = functions.values().sum();
    ensure!(total > 0, "the kernel {} has no symbols of the driver's", kernel.display());
    Ok(Measured { name: "text_bytes".into(), value: total as f64, unit: "B".into() })
}

/// Whether a function is the driver's by its name: it names one of the crates before it names the embedder.
fn is_drivers(name: &str) -> bool {
    let first = |crate_name: &str| {
        name.match_indices(&format!("{crate_name}::"))
            .map(|(at, _)| at)
            .find(|&at| !name[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
    };
    let driver = CRATES.iter().filter_map(|name| first(name)).min();
    driver.is_some_and(|driver| first(EMBEDDER).is_none_or(|embedder| driver < embedder))
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
        ] {
            assert_eq!(is_drivers(name), drivers, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_kernel_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(measured(file.path()).unwrap_err().to_string().contains("is no kernel"));
    }
}
