//! How the daemon gives up what it does not need, by virtiofsd's own means.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::Context as _;
use vhost::vhost_user::Listener;
use virtiofsd::limits;
use virtiofsd::passthrough::{CachePolicy, Config, InodeFileHandlesMode};
use virtiofsd::sandbox::Sandbox;

use crate::cli::{Options, SandboxKind, SeccompKind};
use crate::sys;

/// Capabilities that serving a folder takes.
const CAPABILITIES: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "SETGID", "SETUID", "MKNOD", "SETFCAP"];

/// Descriptors that are not for the guest's files: memory regions, channels, the log.
const OWN_DESCRIPTORS: u64 = 300;

/// Enters the sandbox; returns the listener, what virtiofsd's file system is made with, and how many mappings there are
/// descriptors for. In a namespace this forks, and only the child returns.
///
/// # Errors
///
/// One sentence on why not.
pub fn enter(options: &Options, listener: Listener) -> anyhow::Result<(Listener, Config, usize)> {
    let descriptors = limits::setup_rlimit_nofile(None)
        .map_err(anyhow::Error::msg)
        .context("the number of open files cannot be raised")?;
    let (guest, mappings) = share_descriptors(descriptors, options.max_mappings);
    let shared = std::fs::canonicalize(&options.shared_dir)
        .with_context(|| format!("{} cannot be found", options.shared_dir.display()))?;
    let shared = shared.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!("{path:?} is not UTF-8, which virtiofsd wants the path of a shared folder to be")
    })?;
    let kind = match options.sandbox {
        Some(kind) => kind,
        None if has_namespaces(&shared) => SandboxKind::Namespace,
        None => SandboxKind::None,
    };
    let mut sandbox = Sandbox::new(shared, kind.into(), Vec::new(), Vec::new());
    let mountinfo_prefix = sandbox.get_mountinfo_prefix().context("the mount points cannot be read")?;
    let name = format!("{kind:?}").to_lowercase();
    let listener = sandbox
        .enter(listener)
        .map_err(|error| anyhow::anyhow!("the sandbox cannot be entered ({error}); try --sandbox none, not {name}"))?;
    announce(kind);
    let timeout = std::time::Duration::from_secs(1);
    let config = Config {
        entry_timeout: timeout,
        attr_timeout: timeout,
        cache_policy: CachePolicy::Auto,
        root_dir: sandbox.get_root_dir(),
        mountinfo_prefix,
        proc_sfd_rawfd: sandbox.get_proc_self_fd(),
        proc_mountinfo_rawfd: sandbox.get_mountinfo_fd(),
        announce_submounts: true,
        xattr: options.xattr,
        killpriv_v2: true,
        // Opening by handle is for root only.
        inode_file_handles: if sys::is_root() { InodeFileHandlesMode::Prefer } else { InodeFileHandlesMode::Never },
        guest_fd_limit: guest,
        ..Config::default()
    };
    Ok((listener, config, mappings))
}

/// Whether this process may have a mount, process and network namespace of its own, and mount there: some systems allow
/// the one and not the other. It is tried, in a process that ends.
fn has_namespaces(shared: &str) -> bool {
    let enter = || {
        // The sandbox wants a listener to pass on; this one has no file.
        let name = format!("virtiofsd-dax-{}", std::process::id());
        let listener = SocketAddr::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name));
        let Ok(listener) = listener else { return false };
        let mut trial = Sandbox::new(shared.to_owned(), SandboxKind::Namespace.into(), Vec::new(), Vec::new());
        // The outcome says what goes wrong here.
        log::set_max_level(log::LevelFilter::Off);
        trial.enter(Listener::from(listener)).is_ok()
    };
    sys::succeeds_in_a_process_of_its_own(enter).unwrap_or_else(|error| {
        log::warn!("whether there can be a sandbox cannot be tried: {error}");
        false
    })
}

/// What a guest finds around the daemon, for the log.
fn announce(kind: SandboxKind) {
    match kind {
        SandboxKind::Namespace => log::info!("sandbox: namespaces of its own, with the share as the root"),
        SandboxKind::Chroot => log::info!("sandbox: the share as the root directory, no namespaces"),
        SandboxKind::None => log::warn!(
            "no sandbox: a fault of this daemon would give the guest the rights of {}",
            if sys::is_root() { "root" } else { "the user who runs it" }
        ),
    }
}

/// Divides descriptors: how many the guest may have for its nodes and handles, and how many files may be mapped.
fn share_descriptors(descriptors: u64, max_mappings: u16) -> (u64, usize) {
    let left = descriptors.saturating_sub(OWN_DESCRIPTORS).max(128);
    let mappings = u64::from(max_mappings).min(left / 2);
    (left - mappings, usize::try_from(mappings).unwrap_or(1))
}

/// Gives up capabilities and system calls. After this, nothing is opened outside the share.
///
/// # Errors
///
/// One sentence on why not.
pub fn drop_privileges(options: &Options) -> anyhow::Result<()> {
    // Who is not root has some in a user namespace of its own, where they are of no use.
    let (kept, given_up) = match sys::is_root() {
        true => (&CAPABILITIES[..], capng::Set::BOTH),
        false => (&[][..], capng::Set::CAPS),
    };
    capng::clear(capng::Set::BOTH);
    let sets = capng::Type::PERMITTED | capng::Type::EFFECTIVE;
    capng::updatev(capng::Action::ADD, sets, kept.to_vec())
        .and_then(|()| capng::apply(given_up))
        .map_err(|error| anyhow::anyhow!("capabilities cannot be given up: {error}"))?;
    sys::no_new_privileges().context("new privileges cannot be given up")?;
    filter_calls(options.seccomp)
}

#[cfg(feature = "seccomp")]
fn filter_calls(kind: Option<SeccompKind>) -> anyhow::Result<()> {
    use virtiofsd::seccomp::{SeccompAction, enable_seccomp};
    let action = match kind.unwrap_or(SeccompKind::Kill) {
        SeccompKind::None => return Ok(()),
        SeccompKind::Kill => SeccompAction::Kill,
        SeccompKind::Log => SeccompAction::Log,
        SeccompKind::Trap => SeccompAction::Trap,
    };
    enable_seccomp(action, false).map_err(|error| anyhow::anyhow!("system calls cannot be filtered: {error}"))
}

#[cfg(not(feature = "seccomp"))]
fn filter_calls(kind: Option<SeccompKind>) -> anyhow::Result<()> {
    match kind {
        None | Some(SeccompKind::None) => Ok(()),
        Some(kind) => anyhow::bail!("--seccomp {kind:?} needs a daemon that was built with seccomp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_suffice_for_nodes_handles_and_mappings() {
        assert_eq!(share_descriptors(1_000_000, 4000), (1_000_000 - OWN_DESCRIPTORS - 4000, 4000));
        assert_eq!(share_descriptors(1024, 4000), (362, 362));
        assert_eq!(share_descriptors(1024, 10), (714, 10));
        assert_eq!(share_descriptors(0, 4000), (64, 64));
    }
}
