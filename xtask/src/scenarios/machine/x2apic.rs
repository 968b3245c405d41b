//! Interrupt controllers that were started in x2APIC mode.

use crate::scenarios::scenario::{PLAIN, Scenario};
use testkernel_protocol::command_line::{APIC, X2APIC};

pub(crate) fn x2apic() -> Scenario {
    Scenario { words: &[(APIC, X2APIC)], ..PLAIN }
}
