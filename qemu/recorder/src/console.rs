//! The guest's serial line, between QEMU and whoever is at the console: so that what is typed is known with the
//! instruction at which it came, and what is written while the past is replayed is not written twice.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 4096;
const UNREAD: u64 = 0x5411;
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether what the guest writes is a replay, and dropped.
static IS_REPLAY: AtomicBool = AtomicBool::new(false);

pub fn set_replay(is_replay: bool) {
    IS_REPLAY.store(is_replay, Ordering::Relaxed);
}

/// The guest's end of the line.
pub struct Console {
    line: UnixStream,
    /// What was typed.
    pub typed: Receiver<Vec<u8>>,
}

impl Console {
    /// Takes over a connection to the guest's serial line and a listening socket for those at the console, by their
    /// descriptors.
    pub fn open(line: c_int, listener: c_int) -> std::io::Result<Console> {
        // SAFETY: whoever started QEMU opened them for this.
        let (line, listener) = unsafe { (UnixStream::from_raw_fd(line), UnixListener::from_raw_fd(listener)) };
        let terminal = Arc::new(Mutex::new(None));
        let (sender, typed) = channel();
        let (output, there) = (line.try_clone()?, terminal.clone());
        std::thread::Builder::new().name("console output".into()).spawn(move || write_all(output, &there))?;
        std::thread::Builder::new()
            .name("console input".into())
            .spawn(move || read_all(&listener, &terminal, &sender))?;
        Ok(Console { line, typed })
    }

    /// Gives a byte to the guest, and waits until QEMU has read it. The guest's receiver must have room.
    pub fn give(&mut self, byte: u8) -> Result<(), String> {
        self.line.write_all(&[byte]).map_err(|error| format!("the console is closed: {error}"))?;
        let end = Instant::now() + PATIENCE;
        while unread(&self.line) > 0 {
            if Instant::now() > end {
                return Err("the guest does not take what is typed".to_owned());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

/// Writes what the guest writes to the terminal that is connected, if one is.
fn write_all(mut line: UnixStream, terminal: &Mutex<Option<UnixStream>>) {
    let mut bytes = [0; READ_BYTES];
    while let Some(count) = read(&mut line, &mut bytes) {
        let there = terminal.lock().expect("a panic ends QEMU").as_ref().and_then(|one| one.try_clone().ok());
        if let Some(mut there) = there.filter(|_| !IS_REPLAY.load(Ordering::Relaxed))
            && there.write_all(&bytes[..count]).is_err()
        {
            // It has gone; `read_all` sees that, too.
        }
    }
    // QEMU ends: so does the terminal's connection.
    if let Some(there) = terminal.lock().expect("a panic ends QEMU").take() {
        let _ = there.shutdown(std::net::Shutdown::Both);
    }
}

/// Reads what is typed at one terminal after the other.
fn read_all(listener: &UnixListener, terminal: &Mutex<Option<UnixStream>>, typed: &Sender<Vec<u8>>) {
    let mut bytes = [0; READ_BYTES];
    while let Ok((mut there, _)) = listener.accept() {
        *terminal.lock().expect("a panic ends QEMU") = there.try_clone().ok();
        while let Some(count) = read(&mut there, &mut bytes) {
            if typed.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
        *terminal.lock().expect("a panic ends QEMU") = None;
    }
}

/// Reads some bytes; None at the end.
fn read(stream: &mut UnixStream, bytes: &mut [u8]) -> Option<usize> {
    loop {
        match stream.read(bytes) {
            Ok(0) => return None,
            Ok(count) => return Some(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

unsafe extern "C" {
    fn ioctl(file: c_int, request: u64, ...) -> c_int;
}

/// What the other end has not read; 0 if that is not known.
fn unread(stream: &UnixStream) -> c_int {
    let mut count: c_int = 0;
    // SAFETY: SIOCOUTQ writes one integer (unix(7)).
    unsafe { ioctl(stream.as_raw_fd(), UNREAD, &raw mut count) };
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_as_unread_until_they_are_read() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert_eq!(unread(&one), 0);
        one.write_all(b"x").unwrap();
        assert!(unread(&one) > 0);
        other.read_exact(&mut [0]).unwrap();
        assert_eq!(unread(&one), 0);
    }
}
