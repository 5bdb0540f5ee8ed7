//! The table of `tasks`, and the end of a task.

use super::place::Place;
use super::syndrome::{Syndrome, end_reason, is_by_exception};
use super::units::OrDash;
use crate::memory::dynamic::DynamicMemoryManager;
use crate::tasks::{EndReason, Scheduler, Task, TaskState};
use core::fmt::{self, Display, Formatter, Write};

macro_rules! columns {
    () => {
        "{:>4} {:<16} {:<8} {:>5} {:>12} {}"
    };
}

macro_rules! activity_columns {
    () => {
        "{:>4} {:<16} {:<8} {:<5} {:>5} {:>7} {:>7} {:>8} {:>10} {}"
    };
}

macro_rules! quota_columns {
    () => {
        "{:>4} {:<16} {:>8} {:>10} {:>8} {:>10} {:>8} {:>9}"
    };
}

pub fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Unused => "unused",
        TaskState::Ready => "ready",
        TaskState::Sleeping => "sleeping",
        TaskState::Stopped => "stopped",
        TaskState::Ended => "ended",
    }
}

/// Writes the end of a task and its exception, one line each; nothing for a task that has not ended.
pub fn describe_end(task: &Task, out: &mut dyn Write) -> fmt::Result {
    if task.state != TaskState::Ended {
        return Ok(());
    }
    write!(out, "task {} ({}) ended: {}", task.id, task.name(), end_reason(task.end_reason))?;
    if task.end_reason == EndReason::Exited {
        write!(out, " with code {}", task.end_address)?;
    }
    writeln!(out)?;
    if task.end_reason == EndReason::OwnedMost {
        writeln!(out, "  it owned {} frames when task {} needed one", task.end_frames, task.ended_for)?;
    }
    if is_by_exception(task.end_reason) {
        writeln!(out, "  {}", Syndrome(task.end_syndrome))?;
    }
    end_place(task).map_or(Ok(()), |address| writeln!(out, "  at {address:#x}, {}", Place(address)))
}

/// The address of a task's end: the address that it accessed, or else that of the instruction.
fn end_place(task: &Task) -> Option<u64> {
    let syndrome = Syndrome(task.end_syndrome);
    let is_known = is_by_exception(task.end_reason) && (syndrome.has_fault_address() || !syndrome.is_abort());
    is_known.then_some(task.end_address)
}

/// `tasks`: the state of the scheduler, and a row for each task. Task 0 is the shell.
pub fn tasks(scheduler: &Scheduler, out: &mut dyn Write) -> fmt::Result {
    let used = || scheduler.tasks.iter().filter(|task| task.state != TaskState::Unused);
    writeln!(out, "current_task: {}", scheduler.current)?;
    writeln!(out, "is_held: {}", if scheduler.is_held { "yes" } else { "no" })?;
    writeln!(out, "tick_count: {}", scheduler.tick_count)?;
    writeln!(out, "alive_tasks: {}", used().filter(|task| task.is_alive()).count())?;
    writeln!(out, columns!(), "task", "name", "state", "stack", "switches", "end")?;
    for task in used() {
        let name = if task.name().is_empty() { "-" } else { task.name() };
        let (state, stack) = (state_name(task.state), OrDash(task.stack as u64));
        writeln!(out, columns!(), task.id, name, state, stack, task.switch_count, ShortEnd(task))?;
    }
    Ok(())
}

/// `t`: what each living task does or waits for, its space and stack, how long it has run until generic timer count
/// `now`, and where it goes on. The registers of the running task are in the CPU.
pub fn activities(
    manager: &DynamicMemoryManager,
    scheduler: &Scheduler,
    (now, frequency): (u64, u64),
    out: &mut dyn Write,
) -> fmt::Result {
    let titles = ["task", "name", "state", "waits", "asid", "mapped", "max", "switches", "ran_us", "pc"];
    let [task, name, state, waits, asid, mapped, max, switches, ran, pc] = titles;
    writeln!(out, activity_columns!(), task, name, state, waits, asid, mapped, max, switches, ran, pc)?;
    for task in scheduler.tasks.iter().filter(|task| task.is_alive()) {
        let stack = (task.stack as usize).checked_sub(1).map(|slot| &manager.stack_manager.stacks[slot]);
        let (mapped, max) = stack.map_or((0, 0), |stack| (stack.current_size as u64, stack.max_size as u64));
        let micros = scheduler.run_time(task, now) * 1_000_000 / frequency;
        let asid = OrDash(manager.context_switcher.asid_of(task.id) as u64);
        writeln!(
            out,
            activity_columns!(),
            task.id,
            task.name(),
            state_name(task.state),
            waits_for(scheduler, task),
            asid,
            OrDash(mapped),
            OrDash(max),
            task.switch_count,
            micros,
            ContinuesAt(scheduler, task)
        )?;
    }
    Ok(())
}

/// What a task waits for: a time, input, the command `go`, or its turn.
fn waits_for(scheduler: &Scheduler, task: &Task) -> &'static str {
    match task.state {
        _ if task.id == scheduler.current => "-",
        TaskState::Sleeping if task.wake_time == u64::MAX => "input",
        TaskState::Sleeping => "time",
        TaskState::Stopped => "go",
        _ => "turn",
    }
}

/// Where a task goes on, which only its saved registers tell.
struct ContinuesAt<'a>(&'a Scheduler, &'a Task);

impl Display for ContinuesAt<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let ContinuesAt(scheduler, task) = self;
        if task.id == scheduler.current || task.id == 0 {
            return formatter.write_str("-");
        }
        write!(formatter, "{:#x}", task.context.pc)
    }
}

/// `quota`: what each task uses of its quotas.
pub fn quotas(manager: &DynamicMemoryManager, scheduler: &Scheduler, out: &mut dyn Write) -> fmt::Result {
    let [frames, ranges, pages] = [("frames", "max_frames"), ("ranges", "max_ranges"), ("pages", "max_pages")];
    writeln!(out, quota_columns!(), "task", "name", frames.0, frames.1, ranges.0, ranges.1, pages.0, pages.1)?;
    for task in scheduler.tasks.iter().skip(1).filter(|task| task.is_alive()) {
        let lazy = &manager.lazy_allocator;
        let [frames, ranges, pages] =
            [&manager.frames.quotas, &lazy.quotas, &lazy.page_quotas].map(|quotas| quotas[task.id as usize]);
        let (id, name) = (task.id, task.name());
        write!(
            out,
            quota_columns!(),
            id, name, frames.used, frames.max, ranges.used, ranges.max, pages.used, pages.max
        )?;
        writeln!(out)?;
    }
    Ok(())
}

/// The end of a task for the table's last column: `stack overflow at 0x70000001eff0`.
struct ShortEnd<'a>(&'a Task);

impl Display for ShortEnd<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let task = self.0;
        if task.state != TaskState::Ended {
            return formatter.write_str("-");
        }
        let text = end_reason(task.end_reason);
        formatter.write_str(text.split_once(':').map_or(text, |(short, _)| short))?;
        if task.end_reason == EndReason::Exited {
            write!(formatter, " with code {}", task.end_address)?;
        }
        end_place(task).map_or(Ok(()), |address| write!(formatter, " at {address:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::quotas::Quota;
    use crate::text::fixtures;

    fn overflown() -> Box<Scheduler> {
        let mut scheduler = fixtures::scheduler(&["shell", "sleeper", "sixteen-letters-"]);
        scheduler.tasks[1].state = TaskState::Sleeping;
        let task = &mut scheduler.tasks[2];
        (task.state, task.end_reason, task.switch_count) = (TaskState::Ended, EndReason::StackOverflow, 12);
        (task.end_syndrome, task.end_address) = (0x9200_0047, 0x7000_001f_eff0);
        scheduler
    }

    #[test]
    fn the_table_has_a_row_for_each_used_slot() {
        let mut text = String::new();
        tasks(&overflown(), &mut text).unwrap();
        let lines = fixtures::lines(&text);
        assert_eq!(lines[..4], ["current_task: 0", "is_held: no", "tick_count: 0", "alive_tasks: 2"]);
        let rows: Vec<_> = lines[5..].iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            rows,
            [
                "0 shell ready - 0 -",
                "1 sleeper sleeping 1 0 -",
                "2 sixteen-letters- ended 2 12 stack overflow at 0x7000001feff0",
            ]
        );
    }

    #[test]
    fn what_each_living_task_does_has_a_row() {
        let mut manager = fixtures::manager();
        (manager.stack_manager.stacks[0].current_size, manager.stack_manager.stacks[0].max_size) = (8192, 65536);
        let mut scheduler = overflown();
        scheduler.turn_start = 1000;
        let task = &mut scheduler.tasks[1];
        (task.wake_time, task.switch_count, task.context.pc, task.run_time) = (77, 3, 0x40_0064, 500);
        let rows = |scheduler: &Scheduler| {
            let mut text = String::new();
            activities(&manager, scheduler, (3000, 1_000_000), &mut text).unwrap();
            let lines = fixtures::lines(&text);
            lines.iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            rows(&scheduler),
            [
                "task name state waits asid mapped max switches ran_us pc",
                "0 shell ready - - - - 0 2000 -",
                "1 sleeper sleeping time - 8192 65536 3 500 0x400064",
            ]
        );
        scheduler.tasks[1].wake_time = u64::MAX;
        assert!(rows(&scheduler)[2].starts_with("1 sleeper sleeping input"));
        scheduler.tasks[1].state = TaskState::Stopped;
        assert!(rows(&scheduler)[2].starts_with("1 sleeper stopped go"));
        scheduler.tasks[1].state = TaskState::Ready;
        assert!(rows(&scheduler)[2].starts_with("1 sleeper ready turn"));
    }

    #[test]
    fn a_turn_counts_for_the_task_that_ran() {
        let mut scheduler = overflown();
        scheduler.turn_start = 100;
        scheduler.end_turn(150);
        scheduler.current = 1;
        scheduler.end_turn(170);
        assert_eq!((scheduler.tasks[0].run_time, scheduler.tasks[1].run_time, scheduler.turn_start), (50, 20, 170));
        assert_eq!(scheduler.run_time(&scheduler.tasks[1], 175), 25);
        assert_eq!(scheduler.run_time(&scheduler.tasks[0], 175), 50);
    }

    #[test]
    fn the_end_of_a_task_is_told_with_its_exception() {
        let scheduler = overflown();
        let mut text = String::new();
        scheduler.tasks.iter().for_each(|task| describe_end(task, &mut text).unwrap());
        assert_eq!(
            fixtures::lines(&text),
            [
                "task 2 (sixteen-letters-) ended: stack overflow: a push beyond the maximum or into the guard page",
                "  data abort from EL0: write, translation fault, level 3",
                "  at 0x7000001feff0, stack 1, 4112 bytes below its end",
            ]
        );
    }

    #[test]
    fn an_end_without_an_exception_shows_no_syndrome() {
        let mut scheduler = overflown();
        let task = &mut scheduler.tasks[2];
        task.end_address = 7;
        let cases = [(EndReason::Exited, "exited with code 7"), (EndReason::Killed, "killed by the shell")];
        for (reason, expected) in cases {
            task.end_reason = reason;
            let mut text = String::new();
            describe_end(task, &mut text).unwrap();
            assert_eq!(text, format!("task 2 (sixteen-letters-) ended: {expected}\n"));
            assert_eq!(ShortEnd(task).to_string(), expected);
        }
    }

    #[test]
    fn an_end_for_another_task_says_who_and_why() {
        let mut scheduler = overflown();
        let task = &mut scheduler.tasks[2];
        (task.end_reason, task.ended_for, task.end_frames) = (EndReason::OwnedMost, 1, 3500);
        let mut text = String::new();
        describe_end(task, &mut text).unwrap();
        assert_eq!(
            fixtures::lines(&text),
            [
                "task 2 (sixteen-letters-) ended: out of memory: it owned the most frames",
                "  it owned 3500 frames when task 1 needed one",
            ]
        );
        assert_eq!(ShortEnd(task).to_string(), "out of memory");
    }

    #[test]
    fn quotas_show_what_each_living_task_uses() {
        let mut manager = fixtures::manager();
        manager.frames.quotas[1] = Quota { used: 12, max: 30_720 };
        manager.lazy_allocator.quotas[1] = Quota { used: 1, max: 64 };
        manager.lazy_allocator.page_quotas[1] = Quota { used: 300, max: 38_400 };
        let mut text = String::new();
        quotas(&manager, &overflown(), &mut text).unwrap();
        let lines: Vec<_> =
            fixtures::lines(&text).iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let header = "task name frames max_frames ranges max_ranges pages max_pages";
        assert_eq!(lines, [header, "1 sleeper 12 30720 1 64 300 38400"]);
    }

    #[test]
    fn the_end_by_an_instruction_shows_where_that_is() {
        let mut scheduler = overflown();
        let task = &mut scheduler.tasks[2];
        task.end_reason = EndReason::UndefinedInstruction;
        (task.end_syndrome, task.end_address) = (0x0200_0000, 0x40_0128);
        assert_eq!(ShortEnd(task).to_string(), "undefined or trapped instruction at 0x400128");
        let mut text = String::new();
        describe_end(task, &mut text).unwrap();
        assert!(text.ends_with("\n  undefined instruction\n  at 0x400128, program text\n"), "{text}");
        // An invalid fault address register is not shown.
        (task.end_reason, task.end_syndrome) = (EndReason::UnexpectedException, 0x9200_0410);
        assert_eq!(ShortEnd(task).to_string(), "unexpected exception");
    }
}
