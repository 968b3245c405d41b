//! The command: see `--help`, and the library for how it works.

use std::process::ExitCode;

use clap::Parser as _;
use virtiofsd_dax::cli::Options;
use virtiofsd_dax::run;

fn main() -> ExitCode {
    // A thread that panics would leave the guest waiting for ever: better that all ends.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    match run::run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("virtiofsd-dax: {error:#}");
            ExitCode::FAILURE
        }
    }
}
