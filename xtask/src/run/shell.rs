//! The shell's input: lines that a person types, or that come from a pipe.

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{DefaultEditor, error::ReadlineError};
use std::{
    io::{self, BufRead, IsTerminal},
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
};

/// What somebody who types sees before each line.
const PROMPT: &str = "> ";

/// Lines, read by a thread of their own when they are asked for.
#[derive(Debug)]
pub(super) struct Input {
    wanted: Sender<()>,
    lines: Receiver<io::Result<Option<String>>>,
    asked: bool,
    /// What the terminal was like before lines were edited on it, which leaves it so also when a signal ends this program.
    terminal: Option<Termios>,
}

/// One answer to a wish for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// None yet.
    Nothing,
    /// A line.
    Line(String),
    /// No more.
    End,
}

impl Input {
    /// Standard input, with line editing and history where it is a terminal.
    pub(super) fn standard() -> Self {
        let stdin = io::stdin();
        if !(stdin.is_terminal() && io::stdout().is_terminal()) {
            return Self::of(None, move || {
                let mut line = String::new();
                Ok((stdin.lock().read_line(&mut line)? > 0).then_some(line))
            });
        }
        let mut editor = None;
        Self::of(tcgetattr(&stdin).ok(), move || {
            if editor.is_none() {
                editor = Some(DefaultEditor::new().map_err(io::Error::other)?);
            }
            let Some(editor) = editor.as_mut() else { return Ok(None) };
            match editor.readline(PROMPT) {
                Ok(line) => {
                    // A history that cannot be kept is no reason to stop.
                    let _ = editor.add_history_entry(&line);
                    Ok(Some(line))
                }
                // Ctrl-C gives up the line, Ctrl-D the shell.
                Err(ReadlineError::Interrupted) => Ok(Some(String::new())),
                Err(ReadlineError::Eof) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }

    fn of(terminal: Option<Termios>, mut read: impl FnMut() -> io::Result<Option<String>> + Send + 'static) -> Self {
        let (wanted, wishes) = mpsc::channel();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            while wishes.recv().is_ok() {
                if sender.send(read()).is_err() {
                    break;
                }
            }
        });
        Self { wanted, lines, asked: false, terminal }
    }

    /// The next line, if it is there.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(super) fn next(&mut self) -> Result<Next> {
        if !self.asked {
            self.asked = true;
            if self.wanted.send(()).is_err() {
                return Ok(Next::End);
            }
        }
        match self.lines.try_recv() {
            Err(TryRecvError::Empty) => Ok(Next::Nothing),
            Err(TryRecvError::Disconnected) => Ok(Next::End),
            Ok(line) => {
                self.asked = false;
                Ok(line.context("the commands cannot be read")?.map_or(Next::End, Next::Line))
            }
        }
    }

    /// Whether a person types.
    pub(super) fn is_typed(&self) -> bool {
        self.terminal.is_some()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(terminal) = &self.terminal {
            // If the terminal is gone there is nothing to restore.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next answer that is one.
    fn wait(input: &mut Input) -> Next {
        loop {
            match input.next().unwrap() {
                Next::Nothing => thread::yield_now(),
                next => return next,
            }
        }
    }

    #[test]
    fn lines_come_one_by_one_until_the_end() {
        let mut lines = ["ls", ""].map(String::from).into_iter();
        let mut input = Input::of(None, move || Ok(lines.next()));
        assert_eq!(wait(&mut input), Next::Line("ls".into()));
        assert_eq!(wait(&mut input), Next::Line(String::new()));
        assert_eq!(wait(&mut input), Next::End);
        assert!(!input.is_typed());
    }

    #[test]
    fn input_that_breaks_is_an_error() {
        let mut input = Input::of(None, || Err(io::Error::other("broken")));
        let error = loop {
            match input.next() {
                Ok(next) => assert_eq!(next, Next::Nothing),
                Err(error) => break error,
            }
        };
        assert!(format!("{error:#}").contains("broken"));
    }
}
