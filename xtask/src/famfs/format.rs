//! `cargo xtask famfs format`

use super::image::Image;
use super::status::{CLEAN, DAMAGED};
use crate::run::size;
use anyhow::{Context, Result, bail};
use clap::Args;
use famfs::{
    FormatError, FormatOptions,
    layout::{DEFAULT_LOG_LEN, Format, UNIT, Uuid},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
};

/// `cargo xtask famfs format`
#[derive(Args, Debug)]
pub(super) struct FormatArgs {
    /// The image, which is made if it is not there; not a compressed one
    image: PathBuf,
    /// Bytes of the device, with a suffix K, M or G (default: the image's length)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<u64>,
    /// Overwrite a file system that is there
    #[arg(long, short)]
    force: bool,
    /// The version of the format: 46, 47 or 48
    #[arg(long, default_value = "48", value_parser = version)]
    format: Format,
    /// Bytes of the log
    #[arg(long, value_name = "SIZE", default_value_t = DEFAULT_LOG_LEN, value_parser = size::parse)]
    log: u64,
    /// Bytes of the unit in which files are allocated: 2M or 4K
    #[arg(long, value_name = "SIZE", default_value_t = UNIT, value_parser = size::parse)]
    unit: u64,
    /// The identity of the file system (default: a random one)
    #[arg(long)]
    uuid: Option<Uuid>,
    /// The identity of the device (default: a random one)
    #[arg(long, value_name = "UUID")]
    device_uuid: Option<Uuid>,
    /// The identity of the host that becomes the master (default: a random one)
    #[arg(long, value_name = "UUID")]
    system: Option<Uuid>,
    /// The name of the device, for people: at most 63 bytes
    #[arg(long, default_value = "")]
    name: String,
}

fn version(text: &str) -> Result<Format, String> {
    let version = text.parse().ok().and_then(Format::from_version);
    version.ok_or_else(|| "versions 46, 47 and 48 are known".to_owned())
}

pub(super) fn command(args: &FormatArgs, out: &mut dyn Write) -> Result<u8> {
    let shown = args.image.display();
    if args.image.extension().is_some_and(|extension| extension == "gz") {
        bail!("{shown}: a compressed image cannot be formatted; format a plain one, then compress it");
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&args.image);
    let file = file.with_context(|| format!("cannot open {shown}"))?;
    if let Some(size) = args.size
        && file.metadata()?.len() < size
    {
        file.set_len(size).with_context(|| format!("cannot make {shown} {size} bytes long"))?;
    }
    let image = Image::new(file, true)?;
    let options = options(args, &image)?;
    let formatted = famfs::format(&image, &options);
    image.failure()?;
    match formatted {
        Ok(superblock) => {
            writeln!(out, "file system  {}", superblock.uuid)?;
            writeln!(out, "made by      {}", superblock.system_uuid)?;
            Ok(CLEAN)
        }
        Err(error @ FormatError::Exists { .. }) => {
            eprintln!("error: {shown}: {error}; --force overwrites it");
            Ok(DAMAGED)
        }
        Err(error) => {
            eprintln!("error: {shown}: {error}");
            Ok(DAMAGED)
        }
    }
}

fn options(args: &FormatArgs, image: &Image) -> Result<FormatOptions> {
    let identity = |given: Option<Uuid>| given.map_or_else(random, Ok);
    let device_len = args.size.unwrap_or_else(|| fs_dax::WindowMemory::len(image));
    let mut options =
        FormatOptions::new(identity(args.uuid)?, identity(args.device_uuid)?, identity(args.system)?, device_len);
    if args.name.len() >= options.device_name.len() {
        bail!("the name of the device has {} bytes, at most 63 are possible", args.name.len());
    }
    options.device_name[..args.name.len()].copy_from_slice(args.name.as_bytes());
    options.format = args.format;
    options.log_len = args.log;
    options.alloc_unit = args.unit;
    options.force = args.force;
    Ok(options)
}

/// A random identity, marked as such (version 4, variant 1).
fn random() -> Result<Uuid> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("no random numbers")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Uuid(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn format(image: &Path, size: Option<u64>, force: bool) -> Result<u8> {
        let args = FormatArgs {
            image: image.to_path_buf(),
            size,
            force,
            format: Format::V48,
            log: DEFAULT_LOG_LEN,
            unit: UNIT,
            uuid: None,
            device_uuid: None,
            system: None,
            name: "/dev/dax0.0".to_owned(),
        };
        command(&args, &mut Vec::new())
    }

    #[test]
    fn an_image_is_made_once_and_again_only_if_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        // Many GiB, of which only the log is ever touched.
        assert_eq!(format(&path, Some(64 << 30), false).unwrap(), CLEAN);
        let uuid = |path: &Path| Image::open(path).unwrap().check(&mut |_| {}).unwrap().unwrap().superblock.uuid;
        let first = uuid(&path);
        assert_eq!(format(&path, None, false).unwrap(), DAMAGED);
        assert_eq!(uuid(&path), first);
        assert_eq!(format(&path, None, true).unwrap(), CLEAN);
        assert_ne!(uuid(&path), first);
    }

    #[test]
    fn a_compressed_image_and_a_tiny_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(format(&dir.path().join("image.gz"), Some(64 << 20), false).is_err());
        assert_eq!(format(&dir.path().join("tiny"), Some(4 << 20), false).unwrap(), DAMAGED);
    }
}
