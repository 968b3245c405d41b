//! Writes the archive for `-initrd`: `cargo run -p linux-guest --example initramfs -- PROGRAM ARCHIVE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, archive] = arguments.as_slice() else {
        eprintln!("two arguments: the program to run, and where the archive goes");
        return ExitCode::FAILURE;
    };
    match std::fs::read(program).and_then(|init| std::fs::write(archive, linux_guest::initramfs(&init))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program} cannot become {archive}: {error}");
            ExitCode::FAILURE
        }
    }
}
