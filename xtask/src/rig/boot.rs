//! One boot of the test kernel: its daemon, its QEMU, what both said, and how it ended.

use super::{
    channel::{self, Lines, Socket},
    daemon::{self, Daemon},
    events::{self, Event},
    machine::path_option,
    plan::Plan,
    qmp,
    record::Record,
    scratch::Scratch,
    tools::Tools,
};
use crate::process::{child::Guarded, interrupt, shown};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};
use testkernel_protocol::{console, event, exit};

const TICK: Duration = Duration::from_millis(10);

/// The host's part while the kernel runs.
pub(crate) trait Host {
    /// The kernel waits at a point; what the host does here is done before the kernel goes on.
    ///
    /// # Errors
    /// What the host found wrong. The kernel goes on all the same.
    fn sync(&mut self, name: &str, daemon: Option<&mut Daemon>) -> Result<()>;

    /// Bytes of a command's output.
    ///
    /// # Errors
    /// When they cannot be passed on, which ends the run.
    fn output(&mut self, bytes: &[u8]) -> Result<()>;

    /// The shell waits for a command; asked again and again until there is one.
    ///
    /// # Errors
    /// When none can be had, which ends the run.
    fn command(&mut self) -> Result<Option<Command>> {
        Ok(Some(Command::End))
    }

    /// A command of the shell failed, and the shell goes on.
    fn failed(&mut self, _message: &str) {}

    /// Lines for people.
    fn log(&mut self, bytes: &[u8]);
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run a command of these words.
    Run(Vec<String>),
    /// End.
    End,
}

/// A part of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the kernel's first word.
    Boot,
    /// Before its verdict, while it has something to do.
    Test,
    /// While its shell waits for a command, for as long as a person likes.
    Prompt,
    /// After it.
    End,
}

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed, since a part took longer than this.
    Deadline(Phase, Duration),
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DaemonEnd {
    /// There was none.
    None,
    /// By itself, or because the scenario killed it.
    Exited(ExitStatus),
    /// It ran on after QEMU was gone.
    Hung,
}

/// What came of a boot.
#[derive(Debug)]
pub(crate) struct Report {
    /// The kernel's events, in order.
    pub(crate) events: Vec<Event>,
    /// Lines that should have been events.
    pub(crate) broken: Vec<String>,
    /// How QEMU ended.
    pub(crate) end: End,
    /// How the daemon ended.
    pub(crate) daemon: DaemonEnd,
    /// The daemon's record, if it keeps one.
    pub(crate) record: Option<Record>,
    /// What the host found wrong.
    pub(crate) complaints: Vec<String>,
}

impl Report {
    /// The value of the first fact of this name.
    pub(crate) fn info(&self, name: &str) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::Info { name: found, value } if found == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// What the kernel counted: name, value and unit in words, in order.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = String> {
        self.events.iter().filter_map(|event| match event {
            // A number without a unit has the unit 1.
            Event::Metric { name, value, unit } if unit == "1" => Some(format!("{name}: {value}")),
            Event::Metric { name, value, unit } => Some(format!("{name}: {value} {unit}")),
            _ => None,
        })
    }
}

enum Message {
    Events(Vec<u8>),
    Output(Vec<u8>),
    Serial(Vec<u8>),
    SerialIs(UnixStream),
    MonitorIs(UnixStream),
}

/// The files of a boot.
pub(crate) const SERIAL: &str = "serial.log";
const EVENTS: &str = "events.jsonl";
const OUTPUT: &str = "output.bin";
pub(crate) const QEMU: &str = "qemu.log";
const REGISTERS: &str = "registers.log";

/// The logs in a boot's folder that say why it failed, with their names for people.
pub(crate) const LOGS: [(&str, &str); 4] = [
    ("the kernel's log", SERIAL),
    ("the registers", REGISTERS),
    ("QEMU's log", QEMU),
    ("the daemon's log", "daemon.log"),
];

/// Boots a machine and stays with it to its end. Nothing of it runs on afterwards.
///
/// # Errors
/// When QEMU or the daemon cannot be started, or when this program is interrupted.
pub(crate) fn boot(tools: &Tools, plan: &Plan<'_>, host: &mut impl Host) -> Result<Report> {
    fs::create_dir_all(plan.folder).with_context(|| format!("cannot create {}", plan.folder.display()))?;
    // Paths of sockets must be short, which those under the target directory may not be.
    let sockets = Scratch::for_sockets()?;
    let (sender, receiver) = mpsc::channel();
    let listening = listen(sockets.path(), plan.folder, sender)?;
    let fs_socket = sockets.path().join("fs");
    let daemon = daemon::start(&tools.daemons, plan, &fs_socket)?;
    let qemu = start_qemu(tools, plan, sockets.path(), &fs_socket)?;
    let mut running = Running {
        qemu,
        daemon,
        receiver,
        serial: None,
        monitor: None,
        lines: Lines::default(),
        events: Vec::new(),
        broken: Vec::new(),
        complaints: Vec::new(),
        prompt: None,
        output: 0,
    };
    let end = running.attend(plan, host);
    if end.is_err() {
        running.qemu.kill();
    }
    for path in &listening {
        channel::unblock(path);
    }
    let end = end?;
    running.drain(plan.deadlines.end, host)?;
    running.report(end, plan.deadlines.end)
}

/// Listens for QEMU's four connections.
fn listen(sockets: &Path, folder: &Path, sender: Sender<Message>) -> Result<[PathBuf; 4]> {
    let log =
        |name: &str| File::create(folder.join(name)).with_context(|| format!("cannot write to {}", folder.display()));
    let (events, output, serial) = (log(EVENTS)?, log(OUTPUT)?, log(SERIAL)?);
    let socket = |name: &str| Socket::listen(&sockets.join(name));
    let (for_events, for_output, for_serial, for_monitor) =
        (socket("events")?, socket("output")?, socket("serial")?, socket("qmp")?);
    let paths = [&for_events, &for_output, &for_serial, &for_monitor].map(|socket| socket.path().to_path_buf());
    let of_events = sender.clone();
    for_events.on_connection(move |stream| report_broken(channel::pump(stream, events, &of_events, Message::Events)));
    let of_output = sender.clone();
    for_output.on_connection(move |stream| report_broken(channel::pump(stream, output, &of_output, Message::Output)));
    let of_serial = sender.clone();
    for_serial.on_connection(move |stream| {
        if let Ok(other_end) = stream.try_clone() {
            // If nobody listens any more the boot is over.
            let _ = of_serial.send(Message::SerialIs(other_end));
        }
        report_broken(channel::pump(stream, serial, &of_serial, Message::Serial));
    });
    for_monitor.on_connection(move |stream| {
        // As above.
        let _ = sender.send(Message::MonitorIs(stream));
    });
    Ok(paths)
}

fn report_broken(result: std::io::Result<()>) {
    if let Err(error) = result {
        eprintln!("warning: a channel from QEMU broke: {error}");
    }
}

fn start_qemu(tools: &Tools, plan: &Plan<'_>, sockets: &Path, fs_socket: &Path) -> Result<Guarded> {
    let mut command = tools.qemu.command();
    command.args(plan.machine.board_arguments(plan.memory, plan.accelerator));
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    for name in ["events", "output", "serial", "qmp"] {
        command.arg("-chardev").arg(path_option(&format!("socket,id={name},path="), &sockets.join(name)));
    }
    command.args(["-serial", "chardev:serial", "-qmp", "chardev:qmp"]);
    command.args(["-device", &format!("isa-debugcon,iobase={:#x},chardev=events", event::PORT)]);
    command.args(["-device", &format!("isa-debugcon,iobase={:#x},chardev=output", event::OUTPUT_PORT)]);
    command.args(["-device", &format!("isa-debug-exit,iobase={:#x},iosize=4", exit::PORT)]);
    command.args(plan.machine.device_arguments(fs_socket, plan.memory_shared));
    command.arg("-kernel").arg(&tools.kernel).arg("-append").arg(plan.words.join(" "));
    fs::write(plan.folder.join("qemu.command"), format!("{}\n", shown(&command)))?;
    let log = File::create(plan.folder.join(QEMU))?;
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Guarded::spawn(&mut command)
}

struct Running {
    qemu: Guarded,
    daemon: Option<Daemon>,
    receiver: Receiver<Message>,
    serial: Option<UnixStream>,
    monitor: Option<UnixStream>,
    lines: Lines,
    events: Vec<Event>,
    broken: Vec<String>,
    complaints: Vec<String>,
    /// The shell waits for a command, once so many bytes of output have come.
    prompt: Option<u64>,
    output: u64,
}

impl Running {
    /// Stays with QEMU until it ends or a deadline passes.
    fn attend(&mut self, plan: &Plan<'_>, host: &mut impl Host) -> Result<End> {
        let mut phase = Phase::Boot;
        let mut since = Instant::now();
        loop {
            match self.receiver.recv_timeout(TICK) {
                Ok(message) => self.take(message, host)?,
                // The channels may close a moment before QEMU ends.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
                Err(RecvTimeoutError::Timeout) => {}
            }
            interrupt::check()?;
            self.answer_prompt(host)?;
            let now = self.phase();
            if now != phase {
                (phase, since) = (now, Instant::now());
            }
            if let Some(status) = self.qemu.try_wait()? {
                return Ok(End::Exited(status));
            }
            let limit = match phase {
                Phase::Boot => plan.deadlines.boot,
                Phase::Test => plan.deadlines.test,
                Phase::Prompt => Duration::MAX,
                Phase::End => plan.deadlines.end,
            };
            if since.elapsed() >= limit {
                let registers = self.monitor.as_ref().map_or("QEMU's monitor never answered".into(), qmp::registers);
                fs::write(plan.folder.join(REGISTERS), registers)?;
                self.qemu.kill();
                return Ok(End::Deadline(phase, limit));
            }
        }
    }

    fn phase(&self) -> Phase {
        if self.events.contains(&Event::Done) {
            Phase::End
        } else if self.prompt.is_some() {
            Phase::Prompt
        } else if self.events.contains(&Event::Hello {}) {
            Phase::Test
        } else {
            Phase::Boot
        }
    }

    fn take(&mut self, message: Message, host: &mut impl Host) -> Result<()> {
        match message {
            Message::Events(bytes) => {
                for line in self.lines.push(&bytes) {
                    match events::parse(&line) {
                        Ok(event) => {
                            self.events.push(event.clone());
                            match event {
                                Event::Sync { name } => self.sync(&name, host),
                                Event::Ready { output } => self.prompt = Some(output),
                                Event::Error { message } => host.failed(&message),
                                _ => {}
                            }
                        }
                        Err(broken) => self.broken.push(broken),
                    }
                }
            }
            Message::Output(bytes) => {
                self.output += bytes.len() as u64;
                host.output(&bytes)?;
            }
            Message::Serial(bytes) => host.log(&bytes),
            Message::SerialIs(stream) => self.serial = Some(stream),
            Message::MonitorIs(stream) => self.monitor = Some(stream),
        }
        Ok(())
    }

    fn sync(&mut self, name: &str, host: &mut impl Host) {
        if let Err(error) = host.sync(name, self.daemon.as_mut()) {
            self.complaints.push(format!("at `{name}`: {error:#}"));
        }
        let told = self.serial.as_mut().map(|serial| serial.write_all(format!("{}\n", console::go(name)).as_bytes()));
        if !matches!(told, Some(Ok(()))) {
            self.complaints.push(format!("at `{name}`: the kernel cannot be asked to go on"));
        }
    }

    /// Gives the shell its next command, once all output of the last one has been passed on.
    fn answer_prompt(&mut self, host: &mut impl Host) -> Result<()> {
        if self.prompt.is_none_or(|output| self.output < output) {
            return Ok(());
        }
        let line = match host.command()? {
            None => return Ok(()),
            Some(Command::Run(words)) => match console::command(&words) {
                Some(line) => line,
                None => {
                    host.failed(&format!("a command has at most {} bytes", console::MAX_LINE));
                    return Ok(());
                }
            },
            Some(Command::End) => console::end().to_owned(),
        };
        self.prompt = None;
        let serial = self.serial.as_mut().context("the kernel has no console for a command")?;
        writeln!(serial, "{line}").context("the kernel cannot be given a command")
    }

    /// Takes what was under way when QEMU ended.
    fn drain(&mut self, patience: Duration, host: &mut impl Host) -> Result<()> {
        let deadline = Instant::now() + patience;
        while let Ok(message) = self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.take(message, host)?;
        }
        if let Some(rest) = self.lines.unfinished() {
            self.broken.push(format!("the kernel sent a line that has no end: {rest:?}"));
        }
        Ok(())
    }

    fn report(self, end: End, patience: Duration) -> Result<Report> {
        let Self { qemu, daemon, events, broken, mut complaints, .. } = self;
        drop(qemu);
        let (ended, record) = match daemon {
            None => (DaemonEnd::None, None),
            Some(mut daemon) => {
                let ended = daemon.process.wait(patience)?.map_or(DaemonEnd::Hung, DaemonEnd::Exited);
                daemon.process.kill();
                let record = match daemon.record.as_deref().map(Record::read) {
                    Some(Err(error)) => {
                        complaints.push(format!("{error:#}"));
                        None
                    }
                    Some(Ok(record)) => Some(record),
                    None => None,
                };
                (ended, record)
            }
        };
        Ok(Report { events, broken, end, daemon: ended, record, complaints })
    }
}
