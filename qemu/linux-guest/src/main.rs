//! What a Linux guest runs as its only process, to try a virtio-fs share from Linux's side.
//!
//! It takes what to do from the kernel's command line, mounts the share, and says what it found on the console: a
//! line `GUEST {...}` of JSON for each thing tried. Then it turns the machine off.
//!
//! On the command line: `dax=always|inode|never` (how to mount), `tag=TAG`, and `run=check` (does it work),
//! `run=bench` (how fast is it) or `run=thrash` (how fast with a window a quarter of the file).

mod bench;
mod check;
mod sys;
mod task;

use std::fs;
use task::{SHARE, Task, say};

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
