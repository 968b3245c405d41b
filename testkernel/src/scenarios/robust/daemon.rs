//! Daemons that stop, die or are slow.

use crate::{
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{files, host::wait_for_host},
};
use alloc::{format, vec, vec::Vec};
use core::time::Duration;
use testkernel_protocol::{
    content::{Content, stream},
    share,
};
use virtio_fs::{Config, Error, OpenOptions};

/// Machine: any with a file system. Sync `stop-daemon`: the host stops the daemon (SIGSTOP). Two requests end at their
/// deadline, after which the device is left alone: everything fails at once, and the session ends with that error. Sync
/// `resume-daemon`: the daemon goes on, late answers and all. The session stays dead, and a new one works.
pub(crate) fn daemon_stops(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-4097";
    let config = Config::default().request_timeout(Duration::from_secs(2)).max_timeouts(2);
    let fs = mount::mount(machine, config.clone())?;
    let file = fs.open(NAME, OpenOptions::new().read(true).write(true))?;
    wait_for_host("stop-daemon")?;
    for number in 0..2 {
        let late = fs.attr(format!("/missing-{number}"));
        ensure!(matches!(late, Err(Error::TimedOut { .. })), "a request to a daemon that is stopped: {late:?}");
    }
    let requests = fs.stats().requests;
    for number in 0..100 {
        let dead = fs.attr(format!("/missing-{number}"));
        ensure!(matches!(dead, Err(Error::Dead)), "a request to a device that was given up: {dead:?}");
    }
    let write = file.write_at(b"x", 5000);
    ensure!(matches!(write, Err(Error::Dead)), "a write to a device that was given up: {write:?}");
    let stats = fs.stats();
    ensure!(stats.timeouts == 2, "{} requests got no answer in time", stats.timeouts);
    ensure!(stats.requests == requests, "{} requests were sent to the dead device", stats.requests - requests);
    let end = fs.unmount();
    ensure!(matches!(end, Err(Error::Dead)), "the end of a dead session: {end:?}");
    wait_for_host("resume-daemon")?;
    let after = fs.attr("/");
    ensure!(matches!(after, Err(Error::Unmounted)), "a session that has ended: {after:?}");
    drop((file, fs));

    let fs = mount::mount(machine, Config::default())?;
    let file = fs.open(NAME, OpenOptions::new().read(true))?;
    let mut buffer = vec![0; 4097];
    file.read_exact_at(&mut buffer, 0)?;
    files::check(NAME, Content::of(NAME), 0, &buffer)?;
    let len = file.len()?;
    if len != 4097 {
        return Err(Stop::Fail(format!("{NAME} has {len} bytes: something was written after all")));
    }
    drop(file);
    fs.unmount()?;
    Ok(())
}

/// Machine: a window. Sync `kill-daemon`: the host kills the daemon, for good. A request ends at its deadline, everything
/// after it at once, and the session ends with that error. What is in view stays in view.
pub(crate) fn daemon_killed(machine: &Machine) -> Outcome {
    let share::File { name, .. } = share::MAP;
    let config = Config::default().request_timeout(Duration::from_secs(2)).max_timeouts(1);
    let fs = mount::mount(machine, config)?;
    let file = fs.open(name, OpenOptions::new().read(true))?;
    let view = file.map(0, 2 << 20)?;
    wait_for_host("kill-daemon")?;
    let late = fs.attr("/missing");
    ensure!(matches!(late, Err(Error::TimedOut { .. } | Error::Dead)), "a request to a daemon that is gone: {late:?}");
    for number in 0..100 {
        let dead = fs.attr(format!("/missing-{number}"));
        ensure!(matches!(dead, Err(Error::Dead)), "a request to a device that was given up: {dead:?}");
    }
    let bytes: Vec<u8> = view.iter().collect();
    ensure!(bytes.len() == 2 << 20, "{} bytes are in view", bytes.len());
    files::check(name, Content::of(name), 0, &bytes)?;
    drop((view, file));
    let end = fs.unmount();
    ensure!(matches!(end, Err(Error::Dead)), "the end of a dead session: {end:?}");
    Ok(())
}

/// Any machine with our daemon, which answers every request late. Slowness is no error: everything works, and no request
/// counts as one without an answer.
pub(crate) fn daemon_slow(machine: &Machine) -> Outcome {
    const NAME: &str = "slow";
    let fs = mount::mount(machine, Config::default())?;
    let file = fs.open(NAME, OpenOptions::new().read(true).write(true).create(true))?;
    let written = stream(NAME, 8192 + 5);
    file.write_all_at(&written, 0)?;
    file.sync_all()?;
    let mut found = vec![0; written.len()];
    file.read_exact_at(&mut found, 0)?;
    files::check(NAME, Content::of(NAME), 0, &found)?;
    let timeouts = fs.stats().timeouts;
    ensure!(timeouts == 0, "{timeouts} requests count as unanswered");
    drop(file);
    fs.unmount()?;
    Ok(())
}

/// Machine: a window. In the first session most of the daemon's answers are noise. Every call ends by its deadline, many with
/// errors, and nothing else comes of it: a session with the truth finds the right bytes and writes some.
pub(crate) fn daemon_lies(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-4097";
    const ROUNDS: usize = 30;
    let config = Config::default().request_timeout(Duration::from_secs(2)).max_timeouts(u32::MAX);
    let fs = mount::mount(machine, config)?;
    let mut refused = 0;
    for round in 0..ROUNDS {
        let failed = lied_to(&fs, NAME, &format!("lies-{round}"));
        refused += failed.into_iter().filter(|failed| *failed).count();
    }
    ensure!(refused > 0, "the daemon told no lie that was noticed");
    // It may be that it cannot be ended by the rules; then the device was reset all the same.
    let _ = fs.unmount();
    drop(fs);

    const AFTER: &str = "after-lies";
    let fs = mount::mount(machine, Config::default())?;
    files::check(NAME, Content::of(NAME), 0, &fs.read(NAME)?)?;
    let written = stream(AFTER, 5000);
    fs.write(AFTER, &written)?;
    files::check(AFTER, Content::of(AFTER), 0, &fs.read(AFTER)?)?;
    fs.unmount()?;
    Ok(())
}

/// Calls of each kind; which of them failed.
fn lied_to(fs: &mount::Fs, name: &str, new: &str) -> [bool; 6] {
    const MOST: usize = 1 << 20;
    let both = OpenOptions::new().read(true).write(true);
    let list = |directory: virtio_fs::ReadDir<_>| directory.take(100).all(|entry| entry.is_ok());
    let mut bytes = vec![0; 4096];
    [
        fs.attr(name).is_err(),
        fs.read_up_to(name, MOST).is_err(),
        fs.read_dir("/").map_or(true, |directory| !list(directory.with_attributes())),
        fs.statfs().is_err(),
        fs.open(new, both.create(true)).and_then(|file| file.write_all_at(b"bytes", 0)).is_err(),
        fs.open(name, both).and_then(|file| file.read_at(&mut bytes, 0)).is_err(),
    ]
}
