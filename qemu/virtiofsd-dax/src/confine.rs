//! How the daemon gives up what it does not need, by virtiofsd's own means.

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
    let kind = options.sandbox.unwrap_or(if sys::is_root() { SandboxKind::Namespace } else { SandboxKind::None });
    let shared = std::fs::canonicalize(&options.shared_dir)
        .with_context(|| format!("{} cannot be found", options.shared_dir.display()))?;
    let shared = shared.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!("{path:?} is not UTF-8, which virtiofsd wants the path of a shared folder to be")
    })?;
    let mut sandbox = Sandbox::new(shared, kind.into(), Vec::new(), Vec::new());
    let mountinfo_prefix = sandbox.get_mountinfo_prefix().context("the mount points cannot be read")?;
    let name = format!("{kind:?}").to_lowercase();
    let listener = sandbox
        .enter(listener)
        .map_err(|error| anyhow::anyhow!("the sandbox cannot be entered ({error}); try --sandbox none, not {name}"))?;
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
        inode_file_handles: InodeFileHandlesMode::Prefer,
        guest_fd_limit: guest,
        ..Config::default()
    };
    Ok((listener, config, mappings))
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
    filter_calls(options.seccomp)?;
    if sys::is_root() {
        capng::clear(capng::Set::BOTH);
        let sets = capng::Type::PERMITTED | capng::Type::EFFECTIVE;
        capng::updatev(capng::Action::ADD, sets, CAPABILITIES.to_vec())
            .and_then(|()| capng::apply(capng::Set::BOTH))
            .map_err(|error| anyhow::anyhow!("capabilities cannot be given up: {error}"))?;
    }
    Ok(())
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
