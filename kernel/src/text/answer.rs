//! A buffer for an answer of the shell, which is rendered with interrupts masked and printed afterwards.

use core::fmt::{Error, Result, Write};

/// Bytes of the longest answer. `*l` with a row for each of 256 ranges has about 26 KiB.
pub const CAPACITY: usize = 64 * 1024;

pub struct Answer {
    length: usize,
    bytes: [u8; CAPACITY],
}

impl Answer {
    pub const fn new() -> Self {
        Self { length: 0, bytes: [0; CAPACITY] }
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    pub fn text(&self) -> &str {
        // Only whole pieces of text are added.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Answer {
    /// Adds `text`; an error if it does not fit.
    fn write_str(&mut self, text: &str) -> Result {
        let place = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::layout::{MAX_LAZY_RANGES, MAX_STACKS, MAX_TASKS};
    use crate::tasks::TaskState;
    use crate::text::{fixtures, memory, tasks};

    #[test]
    fn text_is_kept_until_it_is_cleared() {
        let mut answer = Box::new(Answer::new());
        writeln!(answer, "{}", 12).unwrap();
        write!(answer, "\u{2026}").unwrap();
        assert_eq!(answer.text(), "12\n\u{2026}");
        answer.clear();
        assert_eq!(answer.text(), "");
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_leaves_the_rest() {
        let mut answer = Box::new(Answer::new());
        let most = "x".repeat(CAPACITY - 1);
        answer.write_str(&most).unwrap();
        assert_eq!(answer.write_str("\u{2026}"), Err(Error));
        assert_eq!(answer.text(), most);
    }

    #[test]
    fn the_longest_answers_fit() {
        let mut manager = fixtures::manager();
        for number in 0..MAX_LAZY_RANGES {
            let owner = (MAX_TASKS - number % 8) as u16;
            assert!(manager.lazy_allocator.reserve(owner, 100 + number as u32 % 2).is_some());
        }
        for page in manager.lazy_allocator.pages.iter_mut().step_by(2) {
            (page.is_allocated, page.access_count) = (true, u32::MAX);
        }
        for stack in &mut manager.stack_manager.stacks[..MAX_STACKS] {
            (stack.id, stack.is_active, stack.growth_count) = (u32::MAX, true, u32::MAX);
        }
        let mut scheduler = fixtures::scheduler(&["sixteen-letters-"; MAX_TASKS + 1]);
        for space in &mut manager.context_switcher.spaces {
            (space.is_active, space.switch_count) = (true, u64::MAX);
        }
        scheduler.tasks.iter_mut().for_each(|task| task.state = TaskState::Ended);
        let mut answer = Box::new(Answer::new());
        let out = &mut *answer;
        for result in [
            tasks::tasks(&scheduler, out),
            memory::context(&manager, &scheduler, {
                out.clear();
                out
            }),
            memory::stacks(&manager, {
                out.clear();
                out
            }),
            memory::lazy_pages(&manager, {
                out.clear();
                out
            }),
            memory::report(&manager, &scheduler, {
                out.clear();
                out
            }),
        ] {
            assert_eq!(result, Ok(()));
        }
    }
}
