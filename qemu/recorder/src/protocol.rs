//! QEMU's machine protocol (QMP), spoken by the plugin within QEMU.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// What QEMU says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Stop,
    Resume,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Answer(String),
    Error(String),
    Event(Event),
}

pub struct Protocol {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
    /// Whether the machine runs, by what QEMU has said so far. At first it does not.
    pub is_running: bool,
    /// Whether QEMU has ended the connection.
    pub is_closed: bool,
}

impl Protocol {
    pub fn connect(path: &Path) -> Result<Protocol, String> {
        let stream = UnixStream::connect(path).map_err(|error| error.to_string())?;
        let mut found =
            Protocol { stream: BufReader::new(stream), line: Vec::new(), is_running: false, is_closed: false };
        found.execute(r#"{"execute": "qmp_capabilities"}"#)?;
        Ok(found)
    }

    /// QEMU's answer to a command, as JSON.
    pub fn execute(&mut self, command: &str) -> Result<String, String> {
        self.send(command)?;
        self.answer()
    }

    /// Sends a command; its answer is to be taken by `answer`.
    pub fn send(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.stream.get_mut(), "{command}").map_err(|error| error.to_string())
    }

    /// Waits for the answer to the last command; what QEMU says by itself before it is ignored.
    pub fn answer(&mut self) -> Result<String, String> {
        loop {
            match self.next()? {
                Said::Answer(answer) => return Ok(answer),
                Said::Error(error) => return Err(error),
                Said::Event(_) => {}
            }
        }
    }

    /// Waits for what QEMU says next.
    pub fn next(&mut self) -> Result<Said, String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(said) = self.read(LOOK)? {
                return Ok(said);
            }
        }
        Err(format!("QEMU has not answered for {} s", PATIENCE.as_secs()))
    }

    /// Has the human monitor carry out a command that prints nothing unless it fails.
    pub fn monitor(&mut self, command: &str) -> Result<(), String> {
        self.send_monitor(command)?;
        self.silent_answer()
    }

    /// Sends the human monitor such a command; its answer is to be taken by `silent_answer`.
    pub fn send_monitor(&mut self, command: &str) -> Result<(), String> {
        let line = format!(r#""arguments": {{"command-line": "{command}"}}"#);
        self.send(&format!(r#"{{"execute": "human-monitor-command", {line}}}"#))
    }

    /// Waits for the answer of the human monitor; what it prints is an error.
    pub fn silent_answer(&mut self) -> Result<(), String> {
        match text(&self.answer()?).trim() {
            "" => Ok(()),
            said => Err(said.trim_start_matches("Error: ").to_owned()),
        }
    }

    /// What the human monitor prints for a command.
    pub fn ask(&mut self, command: &str) -> Result<String, String> {
        self.send_monitor(command)?;
        Ok(text(&self.answer()?))
    }

    /// The next event, if there is one within a time.
    pub fn event(&mut self, time: Duration) -> Result<Option<Event>, String> {
        match self.read(time)? {
            Some(Said::Event(event)) => Ok(Some(event)),
            _ => Ok(None),
        }
    }

    fn read(&mut self, time: Duration) -> Result<Option<Said>, String> {
        self.stream.get_ref().set_read_timeout(Some(time)).map_err(|error| error.to_string())?;
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(0) => {
                self.is_closed = true;
                Err("QEMU has closed its machine protocol".to_owned())
            }
            Ok(_) => {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                let said = said(line.trim_end());
                match said {
                    Some(Said::Event(Event::Stop)) => self.is_running = false,
                    Some(Said::Event(Event::Resume)) => self.is_running = true,
                    _ => {}
                }
                Ok(said)
            }
            // What has been read of the line stays in `line`.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => {
                self.is_closed = true;
                Err(error.to_string())
            }
        }
    }
}

/// A line of QEMU's; None for its greeting.
fn said(line: &str) -> Option<Said> {
    if let Some(answer) = line.strip_prefix(r#"{"return": "#) {
        return Some(Said::Answer(answer.trim_end_matches('}').to_owned()));
    }
    if line.starts_with(r#"{"error""#) {
        let start = line.find(r#""desc": "#).map_or(0, |place| place + r#""desc": "#.len());
        return Some(Said::Error(text(&line[start..])));
    }
    let (_, event) = line.split_once(r#""event": ""#)?;
    Some(Said::Event(match event.split('"').next() {
        Some("STOP") => Event::Stop,
        Some("RESUME") => Event::Resume,
        _ => Event::Other,
    }))
}

/// The text of a JSON string that begins here; what follows it is ignored.
fn text(json: &str) -> String {
    let mut found = String::new();
    let mut rest = json.trim_start().strip_prefix('"').unwrap_or("").chars();
    while let Some(one) = rest.next() {
        match one {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => found.push('\n'),
                Some('r') | Some('t') => found.push(' '),
                Some(other) => found.push(other),
                None => break,
            },
            other => found.push(other),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(said(r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#), None);
        assert_eq!(said(r#"{"return": {}}"#), Some(Said::Answer("{".to_owned())));
        assert_eq!(said(r#"{"return": "a \"b\"\r\n"}"#), Some(Said::Answer(r#""a \"b\"\r\n""#.to_owned())));
        let error = r#"{"error": {"class": "GenericError", "desc": "no \"x\" there"}}"#;
        assert_eq!(said(error), Some(Said::Error("no \"x\" there".to_owned())));
        for (name, event) in [("STOP", Event::Stop), ("RESUME", Event::Resume), ("RESET", Event::Other)] {
            let line = format!(r#"{{"timestamp": {{"seconds": 1, "microseconds": 2}}, "event": "{name}"}}"#);
            assert_eq!(said(&line), Some(Said::Event(event)));
        }
    }

    #[test]
    fn a_string_is_read_up_to_its_end() {
        assert_eq!(text(r#""Error: a\r\n  b\\c" }"#), "Error: a \n  b\\c");
        assert_eq!((text("{"), text(r#""open"#)), (String::new(), "open".to_owned()));
    }
}
