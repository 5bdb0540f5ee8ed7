//! The text on the kernel's console, as pure functions of the kernel's state.
//!
//! The format, which programs and people can read:
//!
//! - a single figure is a line `name: value` with the name of the field; a number of frames is followed by its size in
//!   parentheses;
//! - a table is a header line and rows with the same columns, separated by spaces; a size is two words, the number and
//!   the unit; only the first or the last column may have more words than its header;
//! - numbers are decimal, addresses are hexadecimal with `0x` and without leading zeros; `-` stands for no value;
//! - lines end with `\n` and have at most 100 columns.

pub mod answer;
pub mod console;
pub mod fault;
pub mod memory;
pub mod place;
pub mod syndrome;
pub mod tasks;
pub mod units;

/// Kernel states for tests. They are too large for the stack, so they are allocated in a box.
#[cfg(test)]
mod fixtures {
    use crate::memory::dynamic::DynamicMemoryManager;
    use crate::tasks::{Scheduler, Task, TaskState};

    /// A value whose bytes are all 0.
    ///
    /// # Safety
    ///
    /// All zeros must be a valid value of the type.
    unsafe fn zeroed<T>() -> Box<T> {
        // SAFETY: no type here has size 0, and the allocation has the layout that the box frees.
        unsafe {
            let bytes = std::alloc::alloc_zeroed(std::alloc::Layout::new::<T>());
            assert!(!bytes.is_null());
            Box::from_raw(bytes.cast())
        }
    }

    pub fn manager() -> Box<DynamicMemoryManager> {
        // SAFETY: all fields are integers, enums with a variant 0, or arrays of them.
        let mut manager = unsafe { zeroed::<DynamicMemoryManager>() };
        manager.frames.initialize();
        manager.pressure_handler.initialize(manager.frames.limit_frames);
        manager
    }

    pub fn scheduler(names: &[&str]) -> Box<Scheduler> {
        // SAFETY: as above; `false` is 0.
        let mut scheduler = unsafe { zeroed::<Scheduler>() };
        for (id, name) in names.iter().enumerate() {
            let mut task = Task { id: id as u16, state: TaskState::Ready, stack: id as u32, ..Task::UNUSED };
            task.name[..name.len()].copy_from_slice(name.as_bytes());
            scheduler.tasks[id] = task;
        }
        scheduler
    }

    /// Checks that a console can show the text. Returns its lines.
    pub fn lines(text: &str) -> Vec<&str> {
        assert!(text.is_ascii() && text.ends_with('\n'), "{text}");
        for line in text.lines() {
            assert!(line.len() <= 100, "{} columns: {line}", line.len());
            assert_eq!(line, line.trim_end(), "trailing space");
        }
        text.lines().collect()
    }

    /// Returns the value of the line `name: value`.
    pub fn value<'a>(text: &'a str, name: &str) -> &'a str {
        let prefix = format!("{name}: ");
        let mut found = text.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
        let value = found.next().unwrap_or_else(|| panic!("no line {name} in:\n{text}"));
        assert_eq!(found.next(), None, "two lines {name}");
        value
    }
}
