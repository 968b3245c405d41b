//! What a Linux guest runs as its only process, to try a virtio-fs share from Linux's side.
//!
//! It is told what to do by the kernel's command line, mounts the share, and says what it found on the console: a
//! line `GUEST {...}` of JSON for each thing tried. Then it turns the machine off.
//!
//! On the command line: `dax=always|inode|never` (how to mount), `tag=TAG`, and `run=check` (does it work),
//! `run=bench` (how fast is it) or `run=thrash` (how fast with a window a quarter of the file).

mod bench;
mod check;
mod sys;

use std::fs;

/// Where the share is mounted.
const SHARE: &str = "/mnt";

/// What the kernel's command line says.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// How to mount.
    pub(crate) dax: String,
    /// What to mount.
    pub(crate) tag: String,
    /// What to do with it.
    pub(crate) run: String,
}

impl Task {
    fn read() -> Self {
        let mut task = Task { dax: "inode".to_owned(), tag: "share".to_owned(), run: "check".to_owned() };
        for word in fs::read_to_string("/proc/cmdline").unwrap_or_default().split_whitespace() {
            match word.split_once('=') {
                Some(("dax", value)) => value.clone_into(&mut task.dax),
                Some(("tag", value)) => value.clone_into(&mut task.tag),
                Some(("run", value)) => value.clone_into(&mut task.run),
                _ => {}
            }
        }
        task
    }

    /// Mounts the share.
    pub(crate) fn mount(&self) -> std::io::Result<()> {
        sys::mount(&self.tag, SHARE, "virtiofs", &format!("dax={}", self.dax))
    }
}

/// One line for whoever reads the console.
pub(crate) fn say(name: &str, outcome: &str, detail: &str) {
    println!("GUEST {{\"name\":\"{name}\",\"outcome\":\"{outcome}\",\"detail\":\"{}\"}}", detail.escape_default());
}

fn main() {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        // Without them nothing below works, and says so.
        let _ = fs::create_dir(target).and_then(|()| sys::mount(kind, target, kind, ""));
        let _ = sys::mount(kind, target, kind, "");
    }
    let _ = fs::create_dir(SHARE);
    let task = Task::read();
    match task.run.as_str() {
        "check" => check::run(&task),
        "bench" | "thrash" => bench::run(&task),
        other => say("run", "fail", &format!("{other} is unknown")),
    }
    println!("GUEST {{\"name\":\"end\",\"outcome\":\"done\",\"detail\":\"\"}}");
    println!("the machine stays on: {}", sys::power_off());
}
