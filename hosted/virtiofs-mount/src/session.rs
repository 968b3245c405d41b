//! A mount's life, from its command line to its exit status.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use fuser::{MountOption, Session, SessionACL};

use crate::bridge::{Bridge, Options};
use crate::cli::Args;
use crate::ending::Ending;
use crate::source::Source;

/// The kernel's way to a file system in a process.
const DEVICE: &str = "/dev/fuse";

/// Mounts, serves until the end, and cleans up.
///
/// # Errors
///
/// One sentence on what is in the way; nothing is mounted then.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.check()?;
    check_device()?;
    let signals = Ending::signals()?;
    let source = Source::open(args)?;
    let fs = source.mount(args)?;
    let options = Options { timeout: args.timeout, direct: args.direct_io };
    let mounted = Bridge::new(&fs, options)
        .context("the share has no root")
        .and_then(|bridge| Ok((attach(args, bridge.clone())?, bridge)));
    let (mut session, bridge) = match mounted {
        Ok(mounted) => mounted,
        Err(error) => {
            // The error says what is wrong; the driver's own end has nothing to add.
            let _ = fs.unmount();
            return Err(error);
        }
    };
    let ending = Arc::new(Ending::new(&args.mountpoint, fs.clone(), session.unmount_callable()));
    ending.listen(signals)?;
    let on_gone = ending.clone();
    source.on_gone(move |reason| on_gone.other_side_is_gone(reason));
    eprintln!("virtiofs-mount: {} is on {}, DAX {}", args.source.display(), args.mountpoint.display(), fs.dax_status());
    if args.announce {
        println!("mounted");
    }
    let served = session.run();
    bridge.clear();
    let unmounted = fs.unmount();
    ending.print_statistics();
    if let Some(line) = source.summary() {
        eprintln!("virtiofs-mount: {line}");
    }
    drop(source);
    if ending.is_failed() {
        return Ok(ExitCode::FAILURE);
    }
    served.context("the kernel's requests cannot be served")?;
    unmounted.context("the share was not unmounted cleanly")?;
    Ok(ExitCode::SUCCESS)
}

fn check_device() -> Result<()> {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("no right to use {DEVICE}: be root, or get into its group")
        }
        Err(error) => bail!("there is no {DEVICE} ({error}): this kernel mounts no file systems of processes"),
    }
}

/// Mounts the bridge.
fn attach(args: &Args, bridge: Bridge) -> Result<Session<Bridge>> {
    let root = rustix::process::geteuid().is_root();
    let mut config = fuser::Config::default();
    // Commas separate options.
    let name = args.source.display().to_string().replace(',', "_");
    config.mount_options =
        vec![MountOption::FSName(name), MountOption::Subtype("virtiofs".into()), MountOption::DefaultPermissions];
    config.acl = if root { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(args.threads.into());
    config.clone_fd = true;
    Session::new(bridge, &args.mountpoint, &config).map_err(|error| mount_error(&args.mountpoint, &error, root))
}

fn mount_error(path: &Path, error: &std::io::Error, root: bool) -> anyhow::Error {
    let shown = path.display();
    if root {
        anyhow!("cannot mount on {shown}: {error}")
    } else {
        anyhow!("cannot mount on {shown}: {error}; without root it takes fusermount3 and a folder of one's own")
    }
}
