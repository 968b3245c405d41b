//! Prints a capture of FUSE traffic as text, one line an exchange.
//!
//! ```text
//! cargo run -p fuse-proto --example capture -- FILE.jsonl[.gz]
//! ```
//!
//! A capture is a text file with one JSON object a line: `queue`, `opcode`, `req_len`, `rep_len` (numbers; the lengths in
//! bytes), `req`, `rep` (hexadecimal, perhaps only the first 4096 bytes). What does not decode is said in its place, and
//! the exit code is then 1; it is 2 if the file cannot be read at all.

mod trace;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: capture FILE.jsonl[.gz]");
        return ExitCode::from(2);
    };
    let path = PathBuf::from(path);
    let reader = match trace::open(&path) {
        Ok(reader) => reader,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    match print(reader) {
        Ok(summary) => {
            eprintln!("{summary}");
            if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn print(reader: impl io::BufRead) -> io::Result<trace::Summary> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let summary = trace::print(reader, &mut output)?;
    output.flush()?;
    Ok(summary)
}
