//! The example that prints captures: on a good one, and on damaged ones.
#![cfg(not(miri))] // minutes of reading JSON there, and the decoding itself is what the fixture's tests do

use std::io::{BufReader, Read as _, Write as _};

#[path = "../examples/capture/trace.rs"]
mod trace;

const CAPTURE: &[u8] = include_bytes!("../testdata/fuse-wire-linux-7.2-dax.jsonl.gz");

fn capture() -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(CAPTURE).read_to_string(&mut text).unwrap();
    text
}

fn print(text: &[u8]) -> (Vec<String>, trace::Summary) {
    let mut output = Vec::new();
    let summary = trace::print(text, &mut output).unwrap();
    (String::from_utf8(output).unwrap().lines().map(Into::into).collect(), summary)
}

#[test]
fn one_line_an_exchange_in_the_words_of_the_field() {
    let (lines, summary) = print(capture().as_bytes());
    assert_eq!(summary, trace::Summary { decoded: 341, failed: 0 });
    assert_eq!(lines.len(), 341);
    assert!(lines[0].starts_with("INIT version=7.45 max_readahead=131072 flags=ASYNC_READ|"), "{}", lines[0]);
    assert!(lines[0].contains(" -> version=7.38 max_readahead=131072 max_write=1048576 max_pages=256 flags="));
    assert_eq!(lines[2], r#"LOOKUP parent=1 "d1" -> ENOENT"#);
    assert_eq!(
        lines[3],
        r#"MKDIR parent=1 "d1" mode=0o755 umask=0o22 -> nodeid=2 generation=0 ino=10313806 mode=0o40755 nlink=2 size=4096"#
    );
    assert_eq!(
        lines[16],
        "WRITE nodeid=7 fh=0 offset=0 size=65536 flags=LOCKOWNER -> 65536 bytes [cut in the capture]"
    );
    assert_eq!(lines[17], "SETUPMAPPING nodeid=7 foffset=0x0 len=0x200000 moffset=0x0 flags=READ -> ok");
    assert_eq!(lines[51], r#"LISTXATTR nodeid=7 size=256 -> ["user.k"]"#);
    assert_eq!(
        lines[62],
        r#"READDIR nodeid=2 fh=3 offset=0 size=32768 -> 7 entries ["d2" "." "hard2" ".." "sym" "file1" "copy"]"#
    );
    assert_eq!(lines[89], "FORGET nodeid=8 nlookup=2 -> no reply");
    assert_eq!(
        lines[294],
        "REMOVEMAPPING nodeid=7 count=3 moffset=0x400000 len=0x200000 moffset=0x200000 len=0x200000 \
         moffset=0x0 len=0x200000 -> ok"
    );
    assert_eq!(lines[340], "DESTROY -> no reply");
}

#[test]
fn a_damaged_line_is_said_and_the_rest_goes_on() {
    let text = capture();
    let lines: Vec<&str> = text.lines().collect();
    let swap = |line: &str, from: &str, to: &str| {
        assert!(line.contains(from));
        line.replacen(from, to, 1)
    };
    let bad = [
        ("{".into(), "not JSON"),
        ("[]".into(), "no number \"queue\""),
        (swap(lines[2], "\"req\":\"2b", "\"req\":\"2"), "req: an odd number of hexadecimal digits"),
        (swap(lines[2], "\"req\":\"2b", "\"req\":\"zz"), "req: not hexadecimal"),
        (swap(lines[2], "\"req_len\":43", "\"req_len\":44"), "req has 43 bytes of 44"),
        (swap(lines[2], "\"req\":\"2b", "\"req\":\"2c"), "opcode 1: the header says 44 bytes, the message has 43"),
        (swap(lines[2], "\"opcode\":1", "\"opcode\":3"), "LOOKUP: the capture says opcode 3"),
        (swap(lines[2], "643100\"", "2f3100\""), "LOOKUP nodeid=1: LOOKUP name has a slash at 0"),
        (swap(lines[2], "feffffff", "02000000"), "no valid reply: error 2 is outside -4095 to 0"),
        (
            swap(lines[2], "feffffff06", "feffffff07"),
            "LOOKUP parent=1 \"d1\" -> no valid reply: the reply is to request 7, not 6",
        ),
        (swap(lines[2], "2b00000001000000", "2b00000036000000"), "opcode 54 nodeid=1: unknown opcode 54"),
    ];
    for (line, reason) in bad {
        let (output, summary) = print([lines[0], &line, "", lines[1]].join("\n").as_bytes());
        assert_eq!(summary, trace::Summary { decoded: 2, failed: 1 }, "{output:?}");
        assert!(output[1].starts_with("line 2: ") && output[1].contains(reason), "{} is not {reason}", output[1]);
        assert!(output[2].starts_with("GETATTR nodeid=1 -> "));
    }
    let (output, summary) = print(b"\xff\xfe\n");
    assert_eq!(summary.failed, 1);
    assert!(output[0].starts_with("line 1: not text"));
}

#[test]
fn a_file_is_unpacked_when_its_name_says_so() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (packed, plain) = (folder.join("capture.jsonl.gz"), folder.join("capture.jsonl"));
    std::fs::write(&packed, CAPTURE).unwrap();
    std::fs::write(&plain, capture()).unwrap();
    for path in [packed, plain] {
        let summary = trace::print(trace::open(&path).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!(summary, trace::Summary { decoded: 341, failed: 0 }, "{}", path.display());
    }
}

#[test]
fn a_compressed_capture_that_breaks_off() {
    let broken = &CAPTURE[..CAPTURE.len() / 2];
    let mut output = Vec::new();
    let summary = trace::print(BufReader::new(flate2::read::MultiGzDecoder::new(broken)), &mut output).unwrap();
    assert!(summary.decoded > 10 && summary.failed >= 1, "{summary}");
    assert!(String::from_utf8(output).unwrap().lines().last().unwrap().contains("the capture breaks off"));
}

#[test]
fn a_capture_without_its_beginning() {
    let text = capture();
    let rest: Vec<&str> = text.lines().skip(1).collect();
    // Nothing in it depends on what was agreed on, but the requests of SETXATTR: their length is right by chance or not.
    let (_, summary) = print(rest.join("\n").as_bytes());
    assert_eq!(summary.decoded + summary.failed, 340);
    assert!(summary.failed <= 1, "{summary}");
}

/// Every single byte of every message, changed: some line comes out for each, and nothing panics.
#[test]
fn any_byte_can_be_wrong() {
    let exchanges: Vec<_> = capture().lines().map(|line| trace::Exchange::parse(line).unwrap()).collect();
    let mut tracer = trace::Tracer::default();
    tracer.exchange(&exchanges[0]).unwrap();
    let (mut good, mut bad) = (0, 0);
    // One of each opcode is enough.
    let mut seen = std::collections::BTreeSet::new();
    for exchange in exchanges.iter().skip(1).filter(|exchange| seen.insert((exchange.opcode, exchange.rep_len > 16))) {
        for index in 0..(exchange.req.len() + exchange.rep.len()).min(600) {
            for change in [0x01, 0x80, 0xff] {
                let mut exchange = exchange.clone();
                match exchange.req.len() {
                    len if index < len => exchange.req[index] ^= change,
                    len => exchange.rep[index - len] ^= change,
                }
                match tracer.clone().exchange(&exchange) {
                    Ok(_) => good += 1,
                    Err(_) => bad += 1,
                }
            }
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} good, {bad} bad");
    std::io::stderr().write_all(format!("{good} changed bytes were taken, {bad} refused\n").as_bytes()).unwrap();
}
