//! What QEMU's first thread does, which has the main loop, as Linux tells (proc(5)).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_micros(20);
/// How long it is waited for at most.
const MOST: Duration = Duration::from_secs(2);
/// How long it may take for a command, where Linux does not tell.
const PATIENCE: Duration = Duration::from_millis(10);
/// The system call that waits for another thread: that of x86, and that of all newer architectures.
const FUTEX: &str = if cfg!(target_arch = "x86_64") { "202 " } else { "98 " };
/// Its operation where it waits for a condition (FUTEX_WAIT_BITSET), and those bits of its second argument that tell. For a
/// lock, as QEMU's big one, it has another.
const FOR_CONDITION: u32 = 9;
const OPERATION: u32 = 0x7f;
/// On a busy host it may be about to look at something for long: so often it must be seen at rest, one time after another.
const LOOKS: u32 = 2;

/// The system call that it waits in, if Linux tells.
static CALL: OnceLock<Option<File>> = OnceLock::new();
/// What it does, in one letter.
static STATE: OnceLock<Option<File>> = OnceLock::new();

/// Waits until it waits for something to happen, as it does when it has nothing more to do.
pub fn wait_until_quiet() {
    if !wait_until(&CALL, "syscall", rests) {
        wait_until(&STATE, "stat", sleeps);
    }
}

/// Waits until it waits for cores that are to stop.
pub fn wait_until_stopping() {
    if !wait_until(&CALL, "syscall", waits_for_condition) {
        std::thread::sleep(PATIENCE);
    }
}

/// Whether a system call is a wait, but not one for a lock: then it has more to do.
fn rests(said: &[u8]) -> bool {
    let is_lock = said.starts_with(FUTEX.as_bytes()) && !waits_for_condition(said);
    said.first().is_some_and(u8::is_ascii_digit) && !is_lock
}

/// Whether a thread sleeps, by its line. The state follows the name, which is in parentheses.
fn sleeps(said: &[u8]) -> bool {
    let name_end = said.iter().rposition(|&byte| byte == b')');
    name_end.and_then(|end| said.get(end + 2)).is_none_or(|&state| state == b'S')
}

/// Whether a system call is the wait for a condition: its number and its arguments, with spaces between.
fn waits_for_condition(said: &[u8]) -> bool {
    let mut words = std::str::from_utf8(said).unwrap_or("").split(' ');
    let operation = |word: &str| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    words.next() == Some(FUTEX.trim_end())
        && words.nth(1).and_then(operation).is_some_and(|it| it & OPERATION == FOR_CONDITION)
}

/// Waits until `is_there` holds for what a file tells of the thread. Returns whether there is such a file.
fn wait_until(file: &OnceLock<Option<File>>, name: &str, is_there: impl Fn(&[u8]) -> bool) -> bool {
    let path = || format!("/proc/self/task/{}/{name}", std::process::id());
    let Some(file) = file.get_or_init(|| File::open(path()).ok()) else { return false };
    let end = Instant::now() + MOST;
    let mut looks = 0;
    while looks < LOOKS && Instant::now() < end {
        std::thread::sleep(LOOK);
        let mut bytes = [0; 128];
        let Ok(count) = file.read_at(&mut bytes, 0) else { return false };
        looks = if is_there(&bytes[..count]) { looks + 1 } else { 0 };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_a_condition_is_not_one_for_a_lock() {
        let call = |operation| format!("{FUTEX}0x7f30 {operation} 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f31\n");
        assert!(waits_for_condition(call("0x189").as_bytes()));
        assert!(waits_for_condition(call("0x89").as_bytes()));
        assert!(!waits_for_condition(call("0x80").as_bytes()));
        assert!(!waits_for_condition(b"271 0x55d0 0x89 0x0"));
        assert!(!waits_for_condition(b"running\n") && !waits_for_condition(b"202 "));
        assert!(rests(b"271 0x55d0 0x89 0x0") && rests(call("0x189").as_bytes()));
        assert!(!rests(b"running\n") && !rests(call("0x80").as_bytes()));
    }
}
