//! The scenarios, chosen by `test=GROUP::NAME` on the command line: the kernel's half of each is the function `NAME` in the
//! module `GROUP`. The rig's half has the same name in a file of the same name.
//!
//! Their names also lie, NUL-terminated, in the ELF section `.scenarios`, so that the host lists them without booting.

pub(crate) mod dax;
pub(crate) mod dirs;
pub(crate) mod discovery;
pub(crate) mod fallback;
pub(crate) mod famfs;
pub(crate) mod files;
pub(crate) mod machine;
pub(crate) mod mmap;
pub(crate) mod ops;
pub(crate) mod reclaim;
pub(crate) mod rig;
pub(crate) mod robust;
pub(crate) mod session;
pub(crate) mod smp;
mod steps;
pub(crate) mod sync;
pub(crate) mod writeback;

use crate::{
    events, exit,
    machine::Machine,
    outcome::{Outcome, Stop},
};
use testkernel_protocol::for_each_scenario;

/// Makes the look-up and the section from the scenarios' list.
macro_rules! halves {
    ($($group:ident { $($name:ident: $machines:ident;)* })*) => {
        fn named(name: &str) -> Option<fn(&Machine) -> Outcome> {
            match name {
                $($(concat!(stringify!($group), "::", stringify!($name)) => Some($group::$name),)*)*
                _ => None,
            }
        }

        const NAMES: &str = concat!($($(stringify!($group), "::", stringify!($name), "\0"),*),*);

        #[used]
        #[unsafe(link_section = ".scenarios")]
        static SECTION: [u8; NAMES.len()] = match NAMES.as_bytes().first_chunk() {
            Some(bytes) => *bytes,
            None => panic!("the length is that of the names"),
        };
    };
}

for_each_scenario!(halves);

/// Runs one scenario and ends the machine.
pub(crate) fn run(machine: &Machine, name: &str) -> ! {
    let Some(run) = named(name) else {
        exit::fail(&format_args!("there is no scenario named {name}"));
    };
    events::start(name);
    log::info!("scenario {name}");
    match run(machine) {
        Ok(()) => {
            log::info!("scenario {name}: passed");
            exit::pass()
        }
        Err(Stop::Skip(reason)) => exit::skip(&reason),
        Err(Stop::Fail(message)) => exit::fail(&message),
    }
}
