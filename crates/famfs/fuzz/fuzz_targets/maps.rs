#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| famfs_fuzz::checks::maps(data));
