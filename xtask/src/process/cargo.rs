//! Cargo inside cargo: with the environment that the outer one had, so that nothing is built twice.

use crate::paths::Paths;
use std::{
    env,
    ffi::{OsStr, OsString},
    process::Command,
};

/// What starts with `CARGO_` and is the user's, not the outer cargo's.
const USERS: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_BUILD_",
    "CARGO_PROFILE_",
    "CARGO_TERM_",
    "CARGO_INCREMENTAL",
];

/// `cargo` in the repository.
pub(crate) fn cargo(paths: &Paths) -> Command {
    let mut command = Command::new("cargo");
    clean(&mut command);
    command.current_dir(&paths.root).env("CARGO_TARGET_DIR", &paths.target);
    command
}

/// Takes away what an outer cargo sets for the programme it runs.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_outer_cargos(&name) {
            command.env_remove(name);
        }
    }
    match library_path(env::var_os("LD_LIBRARY_PATH")) {
        Some(rest) => command.env("LD_LIBRARY_PATH", rest),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
}

fn is_outer_cargos(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    match name {
        "CARGO" | "RUST_RECURSION_COUNT" | "OUT_DIR" => true,
        _ => name.starts_with("CARGO_") && !USERS.iter().any(|users| name.starts_with(users)),
    }
}

/// What is left of a library path without the folders that cargo puts before it.
fn library_path(path: Option<OsString>) -> Option<OsString> {
    let path = path?;
    let ours = |folder: &std::path::Path| {
        let text = folder.to_string_lossy();
        text.is_empty()
            || text.contains("/rustlib/")
            || text.contains("/toolchains/")
            || folder.ends_with("deps")
            || text.contains("/debug")
            || text.contains("/release")
    };
    let rest: Vec<_> = env::split_paths(&path).filter(|folder| !ours(folder)).collect();
    if rest.is_empty() { None } else { env::join_paths(rest).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outer_cargos_variables_go() {
        for gone in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR", "RUST_RECURSION_COUNT"] {
            assert!(is_outer_cargos(OsStr::new(gone)), "{gone}");
        }
        for kept in ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "RUSTFLAGS", "PATH", "CARGOES"] {
            assert!(!is_outer_cargos(OsStr::new(kept)), "{kept}");
        }
    }

    #[test]
    fn the_users_own_library_path_stays() {
        let path = "/r/target/debug/deps:/opt/lib:/h/.rustup/toolchains/stable/lib";
        assert_eq!(library_path(Some(path.into())), Some("/opt/lib".into()));
        assert_eq!(library_path(Some("/r/target/debug".into())), None);
        assert_eq!(library_path(None), None);
    }
}
