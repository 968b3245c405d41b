#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuse_proto_fuzz::checks::notification(data));
