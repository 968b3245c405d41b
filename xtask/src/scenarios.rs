//! The rig's half of the scenarios: what the host does while one runs, and what it can see for itself. Each half is the
//! function `NAME` in the module `GROUP`, in a file of the same name as the kernel's half.

mod dax;
mod dirs;
mod discovery;
mod fallback;
mod famfs;
mod files;
mod machine;
mod mmap;
mod ops;
mod reclaim;
pub(crate) mod region;
mod rig;
mod robust;
pub(crate) mod scenario;
mod session;
mod share;
mod smp;
pub(crate) mod stage;
mod steps;
mod sync;
mod writeback;

use scenario::Scenario;
pub(crate) use share::make as make_share;
use testkernel_protocol::{for_each_scenario, scenarios as protocol};

/// A scenario as both sides know it, and the rig's half.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    /// Its name and machines.
    pub(crate) scenario: &'static protocol::Scenario,
    /// The rig's half.
    pub(crate) half: Scenario,
}

/// Makes the look-up from the scenarios' list.
macro_rules! halves {
    ($($group:ident { $($name:ident: $machines:ident;)* })*) => {
        /// The rig's half of a scenario.
        fn half(name: &str) -> Option<Scenario> {
            match name {
                $($(concat!(stringify!($group), "::", stringify!($name)) => Some($group::$name()),)*)*
                _ => None,
            }
        }
    };
}

for_each_scenario!(halves);

/// All of them, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = Test> {
    protocol::ALL.iter().filter_map(|scenario| Some(Test { scenario, half: half(scenario.name)? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::machine;
    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    #[test]
    fn every_scenario_has_a_half_and_machines_that_exist() {
        assert_eq!(all().count(), protocol::ALL.len());
        for test in all() {
            for name in test.scenario.machines {
                assert!(machine::named(name).is_some(), "{}: {name}", test.scenario.name);
            }
        }
    }

    /// The file below a folder of scenarios that each public function of a group is in.
    fn functions(folder: &Path, signature: &str) -> BTreeMap<(String, String), PathBuf> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let relative = path.strip_prefix(folder).unwrap().to_path_buf();
                let group = relative.with_extension("").iter().next().unwrap().to_string_lossy().into_owned();
                for line in fs::read_to_string(&path).unwrap().lines() {
                    if let Some(name) =
                        line.strip_prefix("pub(crate) fn ").and_then(|rest| rest.strip_suffix(signature))
                    {
                        found.insert((group.clone(), name.to_owned()), relative.clone());
                    }
                }
            }
        }
        found
    }

    #[test]
    fn both_halves_are_in_files_of_the_same_name() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scenarios");
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkernel/src/scenarios");
        let hosts = functions(&ours, "() -> Scenario {");
        let guests: BTreeMap<_, _> = ["(machine: &Machine) -> Outcome {", "(_: &Machine) -> Outcome {"]
            .iter()
            .flat_map(|signature| functions(&kernels, signature))
            .collect();
        for scenario in protocol::ALL {
            let (group, name) = scenario.name.split_once("::").unwrap();
            let key = (group.to_owned(), name.to_owned());
            let file = guests.get(&key).unwrap_or_else(|| panic!("{} has no half in the kernel", scenario.name));
            assert_eq!(hosts.get(&key), Some(file), "{}", scenario.name);
        }
    }
}
