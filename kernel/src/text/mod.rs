//! What the kernel's console shows, as pure functions from the kernel's state to text.
//!
//! The forms, so that a program reads them as easily as a person:
//!
//! - a figure by itself is a line `name: value`, where the name is the field's; frames carry their size behind the
//!   number, in parentheses;
//! - a table is a header line and rows of the same columns, parted by spaces; a size is two words, the number and its
//!   unit; only the first or the last column may hold more words than its header;
//! - numbers are decimal, addresses hexadecimal with `0x` and without leading zeros; `-` is a value that does not exist;
//! - lines end with `\n` and are at most 100 columns wide.

pub mod fault;
pub mod memory;
pub mod place;
pub mod syndrome;
pub mod tasks;
pub mod units;

/// A kernel state to be filled by a test. Boxed without a copy on the stack, where it has no room.
#[cfg(test)]
mod fixtures {
    use crate::memory::dynamic::DynamicMemoryManager;
    use crate::tasks::{Scheduler, Task, TaskState};

    /// A value whose bytes are all 0.
    ///
    /// # Safety
    ///
    /// They must be a value of that type.
    unsafe fn zeroed<T>() -> Box<T> {
        // SAFETY: no type here is of size 0, and what is allocated has the layout that the box will free.
        unsafe {
            let bytes = std::alloc::alloc_zeroed(std::alloc::Layout::new::<T>());
            assert!(!bytes.is_null());
            Box::from_raw(bytes.cast())
        }
    }

    pub fn manager() -> Box<DynamicMemoryManager> {
        // SAFETY: all fields are integers, enums that have a variant 0, and arrays of them.
        let mut manager = unsafe { zeroed::<DynamicMemoryManager>() };
        manager.frames.initialize();
        manager.pressure_handler.initialize(manager.frames.limit_frames);
        manager
    }

    pub fn scheduler(names: &[&str]) -> Box<Scheduler> {
        // SAFETY: as above; a false `is_held` is 0.
        let mut scheduler = unsafe { zeroed::<Scheduler>() };
        for (id, name) in names.iter().enumerate() {
            let mut task = Task { id: id as u16, state: TaskState::Ready, stack: id as u32, ..Task::UNUSED };
            task.name[..name.len()].copy_from_slice(name.as_bytes());
            scheduler.tasks[id] = task;
        }
        scheduler
    }

    /// Fails on what a console could not show well; gives the text's lines.
    pub fn lines(text: &str) -> Vec<&str> {
        assert!(text.is_ascii() && text.ends_with('\n'), "{text}");
        for line in text.lines() {
            assert!(line.len() <= 100, "{} columns: {line}", line.len());
            assert_eq!(line, line.trim_end(), "trailing space");
        }
        text.lines().collect()
    }

    /// The value of the line `name: value`.
    pub fn value<'a>(text: &'a str, name: &str) -> &'a str {
        let prefix = format!("{name}: ");
        let mut found = text.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
        let value = found.next().unwrap_or_else(|| panic!("no line {name} in:\n{text}"));
        assert_eq!(found.next(), None, "{name} stands there twice");
        value
    }
}
