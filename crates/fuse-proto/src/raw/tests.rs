//! The layouts against those of `linux/fuse.h`, compiled here, and of the `fuse-abi` crate ([`fuse_abi`]).

use std::{
    collections::BTreeMap,
    eprintln, format,
    io::Write as _,
    process::{Command, Stdio},
    string::String,
    vec::Vec,
};

// The crate does not build where 64-bit numbers have less than their own alignment. Fields lie there as elsewhere:
// `IntoBytes` refuses padding.
#[cfg(not(target_arch = "x86"))]
mod fuse_abi;

use super::{FieldInfo, STRUCTS, StructInfo};
use crate::{
    AttrFlags, Errno, FallocateMode, FopenFlags, FsyncFlags, GetattrFlags, InitFlags, InvalEntryFlags, IoctlFlags,
    LockFlags, MapFlags, Opcode, OpenExtraFlags, OpenFlags, PollEvents, PollFlags, ReadFlags, ReleaseFlags,
    RenameFlags, SetattrValid, SetxattrFlags, StatxMask, WriteFlags, XattrFlags,
};

/// What `linux/fuse.h` got after 7.38, and when: a header that is older cannot know it. Linux 6.1 to 6.5 all call
/// themselves 7.38, and the extensions came with 6.3: a header of 7.38 may know them or not.
const NEWER: &[(&str, u32)] = &[
    ("fuse_in_header.total_extlen", 39),
    ("fuse_ext_header", 39),
    ("fuse_supp_groups", 39),
    ("fuse_statx_in", 39),
    ("fuse_statx_out", 39),
    ("fuse_statx", 39),
    ("fuse_sx_time", 39),
    ("fuse_init_out.max_stack_depth", 40),
    ("fuse_open_out.backing_id", 40),
    ("fuse_init_out.request_timeout", 43),
    ("fuse_copy_file_range_out", 45),
    ("fuse_notify_prune_out", 45),
];

fn minor_of(name: &str) -> u32 {
    let owner = name.split('.').next().unwrap();
    NEWER.iter().find(|(newer, _)| *newer == name || *newer == owner).map_or(0, |(_, minor)| *minor)
}

fn c_compiler(arguments: &[&str], source: &str) -> Option<std::process::Output> {
    let mut compiler = Command::new(option_env!("CC").unwrap_or("cc"));
    let child = compiler.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("NOT CHECKED against linux/fuse.h: no C compiler: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

const INCLUDES: &str = "#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n#include <errno.h>\n\
    #include <linux/fuse.h>\n#include <linux/fcntl.h>\n#include <linux/falloc.h>\n#include <linux/fs.h>\n\
    #include <linux/poll.h>\n#include <linux/stat.h>\n#include <linux/xattr.h>\n";

/// The system's headers after preprocessing, and the minor version of its `linux/fuse.h`.
fn header() -> Option<(String, u32)> {
    let source = format!("{INCLUDES}int the_minor = FUSE_KERNEL_MINOR_VERSION;\n");
    let output = c_compiler(&["-E", "-P", "-xc", "-"], &source)?;
    if !output.status.success() {
        eprintln!("NOT CHECKED against linux/fuse.h: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let minor = text.rsplit_once("the_minor = ").unwrap().1.split(';').next().unwrap().trim().parse().unwrap();
    Some((text, minor))
}

/// Compiles and runs a C program that prints lines of a name and a number.
fn numbers(body: &str) -> BTreeMap<String, i64> {
    let folder = std::env::temp_dir();
    let program = folder.join(format!("fuse-proto-layout-{}-{:p}", std::process::id(), body));
    let path = program.to_str().unwrap();
    let source = format!("{INCLUDES}int main(void) {{\n{body}return 0;\n}}\n");
    let output = c_compiler(&["-xc", "-", "-o", path], &source).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_file(&program).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let (name, number) = line.split_once(' ').unwrap();
            (name.into(), number.parse().unwrap())
        })
        .collect()
}

/// The body of a structure's declaration in the header.
fn declaration<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let start = header.find(&format!("struct {name} {{"))?;
    let body = &header[start..];
    Some(&body[..body.find('}').unwrap_or(body.len())])
}

fn declares(body: &str, field: &str) -> bool {
    body.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == field)
}

#[test]
#[cfg_attr(miri, ignore = "runs a C compiler")]
fn structures_lie_as_linux_fuse_h_says() {
    let Some((header, minor)) = header() else { return };
    let mut program = String::new();
    let mut expected = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut expect = |name: String, expression: String, value: usize| {
        program += &format!("printf(\"{name} %lld\\n\", (long long)({expression}));\n");
        expected.insert(name, value as i64);
    };
    for StructInfo { name, size, align, fields } in STRUCTS {
        let Some(body) = declaration(&header, name) else {
            unknown.push(String::from(*name));
            continue;
        };
        // The name at the end has no size in C, but may have padding before it here; and direntplus ends in a dirent.
        if !matches!(*name, "fuse_dirent" | "fuse_direntplus") {
            expect(format!("{name}:size"), format!("sizeof(struct {name})"), *size);
        }
        expect(format!("{name}:align"), format!("_Alignof(struct {name})"), *align);
        for FieldInfo { name: field, offset, size } in *fields {
            // What is unused gets shorter with every version.
            if matches!((*name, *field), ("fuse_init_out", "unused") | ("fuse_in_header", "padding")) {
                continue;
            }
            if !declares(body, field) {
                unknown.push(format!("{name}.{field}"));
                continue;
            }
            let full = format!("{name}.{field}");
            expect(format!("{full}:offset"), format!("offsetof(struct {name}, {field})"), *offset);
            if full != "fuse_direntplus.dirent" {
                expect(format!("{full}:size"), format!("sizeof(((struct {name} *)0)->{field})"), *size);
            }
        }
    }
    assert_eq!(numbers(&program), expected);
    for name in &unknown {
        assert!(minor_of(name) > minor, "linux/fuse.h 7.{minor} should know {name}");
    }
    eprintln!("{} numbers checked against linux/fuse.h 7.{minor}, which does not know {unknown:?}", expected.len());
}

/// The named bits of a type of flags, with a prefix before each name.
fn named<F: bitflags::Flags>(prefix: &str) -> Vec<(String, i64)>
where
    F::Bits: TryInto<i64>,
{
    // Not `iter_names`, which leaves out a flag if another has its bits.
    F::FLAGS
        .iter()
        .filter(|flag| flag.is_named())
        .map(|flag| (format!("{prefix}{}", flag.name()), flag.value().bits().try_into().unwrap_or_default()))
        .collect()
}

// Long: one line for each set of flags and each code of the header.
#[test]
#[cfg_attr(miri, ignore = "runs a C compiler")]
fn flags_and_codes_have_the_values_of_the_header() {
    let Some((header, minor)) = header() else { return };
    let mut all: Vec<(String, i64)> = Vec::new();
    all.extend(named::<InitFlags>("FUSE_"));
    all.extend(named::<FopenFlags>("FOPEN_"));
    all.extend(named::<OpenExtraFlags>("FUSE_OPEN_"));
    all.extend(named::<AttrFlags>("FUSE_ATTR_"));
    all.extend(named::<SetattrValid>("FATTR_"));
    all.extend(named::<GetattrFlags>("FUSE_GETATTR_"));
    all.extend(named::<ReleaseFlags>("FUSE_RELEASE_"));
    all.extend(named::<ReadFlags>("FUSE_READ_"));
    all.extend(named::<WriteFlags>("FUSE_WRITE_"));
    all.extend(named::<FsyncFlags>("FUSE_FSYNC_"));
    all.extend(named::<LockFlags>("FUSE_LK_"));
    all.extend(named::<MapFlags>("FUSE_SETUPMAPPING_FLAG_"));
    all.extend(named::<SetxattrFlags>("FUSE_SETXATTR_"));
    all.extend(named::<PollFlags>("FUSE_POLL_"));
    all.extend(named::<InvalEntryFlags>("FUSE_"));
    all.extend(named::<RenameFlags>("RENAME_"));
    all.extend(named::<FallocateMode>("FALLOC_FL_"));
    all.extend(named::<XattrFlags>("XATTR_"));
    all.extend(named::<PollEvents>("POLL"));
    all.extend(named::<StatxMask>("STATX_"));
    all.extend(
        named::<IoctlFlags>("FUSE_IOCTL_").into_iter().map(|(name, bit)| (name.replace("IOCTL_IOCTL", "IOCTL"), bit)),
    );
    // The header's numbers are those of the machine that the compiler is for.
    all.extend(named::<OpenFlags>("O_").into_iter().filter(|(name, _)| {
        // What userspace's headers call so, the kernel's call otherwise, or compose of several bits.
        !matches!(name.as_str(), "O_ASYNC" | "O_SYNC" | "O_TMPFILE")
    }));
    all.push(("FASYNC".into(), OpenFlags::ASYNC.bits().into()));
    all.push(("__O_SYNC".into(), OpenFlags::SYNC.bits().into()));
    all.push(("__O_TMPFILE".into(), OpenFlags::TMPFILE.bits().into()));
    all.extend((1..=133).filter_map(Errno::new).filter_map(|errno| {
        let number = errno.number();
        errno.name().map(|name| (name.into(), number.into()))
    }));
    let macros =
        all.iter().map(|(name, _)| format!("#ifdef {name}\nprintf(\"{name} %lld\\n\", (long long){name});\n#endif\n"));
    let codes: Vec<(String, i64)> = Opcode::ALL
        .iter()
        .map(|opcode| {
            let name = opcode.name().unwrap();
            let prefix = if name.starts_with("CUSE") { "" } else { "FUSE_" };
            (format!("{prefix}{name}"), opcode.0.into())
        })
        .collect();
    let enums = codes
        .iter()
        .filter(|(name, _)| declares(&header, name))
        .map(|(name, _)| format!("printf(\"{name} %lld\\n\", (long long){name});\n"));
    let program: String = macros.chain(enums).collect();
    let system = numbers(&program);
    let mut missing = Vec::new();
    for (name, value) in all.iter().chain(&codes) {
        match system.get(name) {
            // The header writes bit 31 as a signed number.
            Some(number) if *number < 0 => assert_eq!(i64::from(*number as u32), *value, "{name}"),
            Some(number) => assert_eq!(number, value, "{name}"),
            None => missing.push(name.as_str()),
        }
    }
    eprintln!("{} values checked against linux/fuse.h 7.{minor}; it lacks {missing:?}", system.len());
    let newer = [
        "FUSE_CREATE_SUPP_GROUP",
        "FUSE_HAS_EXPIRE_ONLY",
        "FUSE_DIRECT_IO_ALLOW_MMAP",
        "FUSE_PASSTHROUGH",
        "FUSE_NO_EXPORT_SUPPORT",
        "FUSE_HAS_RESEND",
        "FUSE_ALLOW_IDMAP",
        "FUSE_OVER_IO_URING",
        "FUSE_REQUEST_TIMEOUT",
        "FOPEN_PASSTHROUGH",
        "FUSE_STATX",
        "FUSE_COPY_FILE_RANGE_64",
    ];
    if minor >= 38 {
        assert!(missing.iter().all(|name| newer.contains(name)), "{missing:?}");
    }
    if minor >= 45 {
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn what_is_newer_than_both_lies_where_7_45_says() {
    assert_eq!(core::mem::offset_of!(super::InitOut, request_timeout), 40);
    assert_eq!(size_of::<super::InitOut>(), 64);
    assert_eq!(size_of::<super::CopyFileRangeOut>(), 8);
    assert_eq!(size_of::<super::NotifyPruneOut>(), 16);
    assert_eq!(core::mem::offset_of!(super::NotifyPruneOut, spare), 8);
    assert_eq!((InitFlags::NO_EXPORT_SUPPORT.bits(), FopenFlags::PASSTHROUGH.bits()), (1 << 38, 1 << 7));
    assert_eq!(InitFlags::ALLOW_IDMAP.bits(), 1 << 40);
    assert_eq!(InitFlags::OVER_IO_URING.bits(), 1 << 41);
    assert_eq!(InitFlags::REQUEST_TIMEOUT.bits(), 1 << 42);
    assert_eq!((Opcode::STATX.0, Opcode::COPY_FILE_RANGE_64.0), (52, 53));
}
