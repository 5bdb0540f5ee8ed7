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
const FUTEX: &[u8] = if cfg!(target_arch = "x86_64") { b"202 " } else { b"98 " };
/// On a busy host it may be about to look at something for long: so often it must be seen at rest, one time after another.
const LOOKS: u32 = 2;

/// Waits until it waits for something, as it does when it has nothing more to do.
pub fn wait_until_quiet() {
    static STATE: OnceLock<Option<File>> = OnceLock::new();
    let is_quiet = |said: &[u8]| {
        // The state follows the name, which is in parentheses.
        let name_end = said.iter().rposition(|&byte| byte == b')');
        name_end.and_then(|end| said.get(end + 2)).is_none_or(|&state| state == b'S')
    };
    wait_until(&STATE, "stat", is_quiet);
}

/// Waits until it waits for cores that are to stop.
pub fn wait_until_stopping() {
    static CALL: OnceLock<Option<File>> = OnceLock::new();
    if !wait_until(&CALL, "syscall", |said| said.starts_with(FUTEX)) {
        std::thread::sleep(PATIENCE);
    }
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
