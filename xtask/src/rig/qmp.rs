//! QEMU's monitor, asked for the registers of a kernel that hangs.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// What the kernel was doing: registers and the code around the instruction pointer, as QEMU prints them. In words, why
/// that cannot be had, if it cannot.
pub(crate) fn registers(stream: &UnixStream) -> String {
    let patience = Some(Duration::from_secs(5));
    let limited = stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience));
    let asked = limited.map_err(|error| error.to_string()).and_then(|()| {
        let mut answers = BufReader::new(stream);
        ask(stream, &mut answers, &json!({ "execute": "qmp_capabilities" }))?;
        ["info registers", "x/8i $pc"]
            .into_iter()
            .map(|line| {
                let command = json!({ "execute": "human-monitor-command", "arguments": { "command-line": line } });
                Ok(ask(stream, &mut answers, &command)?.as_str().unwrap_or_default().replace('\r', ""))
            })
            .collect::<Result<Vec<_>, String>>()
    });
    match asked {
        Ok(parts) => parts.join("\n"),
        Err(error) => format!("QEMU's monitor does not show the registers: {error}"),
    }
}

/// Sends one command and waits for its answer, passing over events and the greeting.
fn ask(mut stream: &UnixStream, answers: &mut impl BufRead, command: &Value) -> Result<Value, String> {
    writeln!(stream, "{command}").map_err(|error| error.to_string())?;
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
            return Err("the monitor is gone".into());
        }
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        if let Some(result) = answer.get_mut("return") {
            return Ok(result.take());
        }
        if let Some(error) = answer.get("error") {
            return Err(error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_and_events_are_passed_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let monitor = std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut theirs = theirs;
            writeln!(theirs, r#"{{"QMP": {{}}}}"#).unwrap();
            for answer in
                [r#"{"return": {}}"#, r#"{"event": "STOP"}"#, r#"{"return": "RIP=1\r\n"}"#, r#"{"return": "nop"}"#]
            {
                if !answer.contains("event") {
                    lines.next().unwrap().unwrap();
                }
                writeln!(theirs, "{answer}").unwrap();
            }
        });
        assert_eq!(registers(&ours), "RIP=1\n\nnop");
        monitor.join().unwrap();
        assert!(registers(&ours).contains("does not show"));
    }
}
