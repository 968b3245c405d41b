//! A daemon's life, from its command line to its exit status.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use vhost::vhost_user::{Error as VhostUserError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use virtiofsd::passthrough::PassthroughFs;
use virtiofsd::passthrough::read_only::PassthroughFsRo;

use crate::cli::Options;
use crate::device::{self, Device};
use crate::fault::Faults;
use crate::memory::{Memory, SharedMemory};
use crate::record::Record;
use crate::share::{HostFs, Share};
use crate::socket::{self, SocketFile};
use crate::sys::EndSignals;
use crate::table::Table;
use crate::worker::Worker;
use crate::{confine, logging};

/// Serves one QEMU. Does not return once a QEMU was served: threads may still wait for it, so the process ends.
///
/// # Errors
///
/// One sentence on what is wrong, before anything was left behind.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    options.check()?;
    logging::start(options.log_level.into());
    let (listener, socket) = socket::listen(&options.socket_path)?;
    let record = match &options.record {
        Some(path) => match File::create(path) {
            Ok(file) => Record::new(Some(file)),
            Err(error) => {
                socket.remove();
                return Err(error).with_context(|| format!("the record {} cannot be written", path.display()));
            }
        },
        None => Record::new(None),
    };
    let record = Arc::new(record);
    let socket = Arc::new(socket);
    let outcome = start(options, listener, &socket, &record);
    socket.remove();
    record.summary();
    outcome
}

fn start(
    options: &Options,
    listener: Listener,
    socket: &Arc<SocketFile>,
    record: &Arc<Record>,
) -> anyhow::Result<ExitCode> {
    // Where this forks, the parent waits and takes over the exit status; so whatever has threads comes after.
    let (listener, config, mappings) = confine::enter(options, listener)?;
    let signals = EndSignals::catch().context("signals cannot be caught")?;
    confine::drop_privileges(options)?;
    // Threads are confined as the one that starts them is by then.
    end_on_signals(signals, Arc::clone(socket), Arc::clone(record))?;
    let unusable = |error| format!("the folder {} cannot be served: {error}", options.shared_dir.display());
    if options.readonly {
        let fs = PassthroughFsRo::new(config).map_err(|error| anyhow::anyhow!(unusable(error)))?;
        serve(options, fs, mappings, listener, socket, record)
    } else {
        let fs = PassthroughFs::new(config).map_err(|error| anyhow::anyhow!(unusable(error)))?;
        serve(options, fs, mappings, listener, socket, record)
    }
}

fn serve<F>(
    options: &Options,
    fs: F,
    mappings: usize,
    mut listener: Listener,
    socket: &SocketFile,
    record: &Arc<Record>,
) -> anyhow::Result<ExitCode>
where
    F: HostFs + 'static,
{
    let window = options.window().filter(|_| !options.readonly);
    let table = Arc::new(Table::new(window, mappings, Arc::clone(record)));
    let share = Share::new(fs, options.policy(), Arc::clone(&table), Arc::clone(record));
    let worker = Worker::new(share, table, Arc::clone(record));
    let faults = Faults::new(options.fault.clone());
    let device_options = device::Options {
        tag: options.tag.clone(),
        request_queues: options.num_request_queues,
        window,
        threads: usize::from(options.thread_pool_size),
    };
    let device = Device::new(device_options, worker, faults, Arc::clone(record));
    let device = Arc::new(device.context("the threads of the device cannot be started")?);
    let memory = SharedMemory::new(Memory::new());
    let mut daemon = VhostUserDaemon::new("vhost-user".to_owned(), device, memory)
        .map_err(|error| anyhow::anyhow!("the device cannot be made: {error}"))?;
    log::info!("waiting for QEMU");
    daemon.start(&mut listener).map_err(|error| anyhow::anyhow!("no connection: {error}"))?;
    // One QEMU is served; another must not find a socket that nobody answers.
    drop(listener);
    socket.remove();
    log::info!("serving");
    let ended = daemon.wait();
    record.summary();
    let code = match ended {
        Ok(()) | Err(DaemonError::HandleRequest(VhostUserError::Disconnected | VhostUserError::PartialMessage)) => {
            log::info!("QEMU went, and so does the daemon");
            0
        }
        Err(error) => {
            log::error!("the conversation with QEMU ended: {error}");
            1
        }
    };
    // A thread may still wait for an answer or be in a slow request: it must not keep the process.
    std::process::exit(code)
}

fn end_on_signals(mut signals: EndSignals, socket: Arc<SocketFile>, record: Arc<Record>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let status = match signals.wait() {
                Ok(signal) => {
                    log::info!("ended by signal {signal}");
                    128 + signal
                }
                Err(error) => {
                    log::error!("signals can no longer be read: {error}");
                    1
                }
            };
            socket.remove();
            record.summary();
            std::process::exit(status);
        })
        .context("a thread cannot be started")?;
    Ok(())
}
