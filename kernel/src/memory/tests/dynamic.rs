//! The whole manager: random operations on a simulated machine.

use super::audit::{audit, audit_touched};
use super::machine::{Machine, PAGE};
use super::support::cases;
use crate::hardware;
use crate::memory::faults::Access;
use crate::memory::growth::GrowthPolicy;
use crate::memory::layout::{PAGE_SIZE, POOL_FRAMES};
use crate::memory::pressure::Strategy as Answer;
use crate::tasks::EndReason;
use proptest::prelude::*;

const POLICIES: [GrowthPolicy; 3] = [GrowthPolicy::Conservative, GrowthPolicy::Aggressive, GrowthPolicy::Predictive];
/// Number of tasks: more than there are ASIDs of 2 or 3 bits.
const TASKS: u16 = 9;

/// An operation. A number of type `usize` chooses among the objects that exist at the time.
#[derive(Clone, Debug)]
enum Step {
    Start(u16, usize, usize),
    End(usize),
    Switch(usize),
    Reserve(usize, u32),
    GiveUp(usize, usize, bool),
    /// Task, range, first page, pages, word of the page, value.
    Write(usize, usize, usize, u32, u64, u64),
    Read(usize, usize, usize, u32, u64),
    Push(usize, u64, bool),
    Pop(usize, u64),
    ReadStack(usize, usize),
    Age,
    Run(usize),
    Move(usize, u32),
    Limit(u32),
    Restart(u32),
    Wild(usize, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let choice = any::<usize>;
    let place = || prop_oneof![Just(0u64), Just(8), Just(PAGE - 8)];
    let value = prop_oneof![2 => Just(0u64), 3 => 1..u64::MAX];
    let push = prop_oneof![3 => 1..32u64, 2 => 1..256u64, 1 => 1..3000u64];
    prop_oneof![
        6 => (1..TASKS, 0..3usize, 1..40usize).prop_map(|(task, policy, pages)| Step::Start(task, policy, pages)),
        1 => choice().prop_map(Step::End),
        6 => choice().prop_map(Step::Switch),
        5 => (choice(), prop_oneof![4 => 1..40u32, 1 => 40..600u32]).prop_map(|(task, pages)| Step::Reserve(task, pages)),
        2 => (choice(), choice(), any::<bool>()).prop_map(|(task, range, release)| Step::GiveUp(task, range, release)),
        14 => (choice(), choice(), choice(), 1..24u32, place(), value)
            .prop_map(|(task, range, page, pages, word, value)| Step::Write(task, range, page, pages, word, value)),
        10 => (choice(), choice(), choice(), 1..24u32, place())
            .prop_map(|(task, range, page, pages, word)| Step::Read(task, range, page, pages, word)),
        14 => (choice(), push, any::<bool>()).prop_map(|(task, pairs, in_one)| Step::Push(task, pairs * 16, in_one)),
        6 => (choice(), 1..2000u64).prop_map(|(task, pairs)| Step::Pop(task, pairs * 16)),
        6 => (choice(), choice()).prop_map(|(task, place)| Step::ReadStack(task, place)),
        3 => Just(Step::Age),
        4 => (0..4usize).prop_map(Step::Run),
        5 => (choice(), 0..700u32).prop_map(|(frame, to)| Step::Move(frame, to)),
        2 => (60..700u32).prop_map(Step::Limit),
        1 => (2..5u32).prop_map(Step::Restart),
        1 => (choice(), any::<u64>()).prop_map(|(task, address)| Step::Wild(task, address & !7)),
        2 => (1..2_000_000u64).prop_map(Step::Wait),
    ]
}

/// A task, the address of a page in one of its ranges, and the number of pages after it in the range.
fn page_of(machine: &Machine, task: usize, range: usize, page: usize) -> Option<(u16, u64, u32)> {
    let number = task_of(machine, task)?;
    let ranges = &machine.tasks[&number].ranges;
    let (address, pages) = *ranges.get(range % ranges.len().max(1))?;
    let page = page % pages as usize;
    Some((number, address + page as u64 * PAGE, pages - page as u32))
}

fn task_of(machine: &Machine, choice: usize) -> Option<u16> {
    machine.tasks.keys().nth(choice % machine.tasks.len().max(1)).copied()
}

/// Ends a task if the manager says so. Out of memory is a valid reason only when no frame is available, and a quota
/// only when it is reached.
fn obey(machine: &mut Machine, number: u16, result: Result<(), EndReason>, allowed: &[EndReason]) {
    let Err(reason) = result else { return };
    let by_need = matches!(reason, EndReason::OutOfMemory | EndReason::QuotaReached);
    assert!(by_need || allowed.contains(&reason), "task {number}: {reason:?}");
    if reason == EndReason::QuotaReached {
        let quota = machine.manager.frames.quotas[number as usize];
        assert!(quota.used + 4 > quota.max, "{quota:?}");
    }
    if reason == EndReason::OutOfMemory {
        let available = machine.manager.frames.available_frames();
        assert!(available < 4, "out of memory with {available} frames");
    }
    machine.end(number);
}

fn touch(machine: &mut Machine, number: u16, first: u64, pages: u32, value: Option<u64>) {
    for page in 0..pages as u64 {
        let address = first + page * PAGE;
        let result = match value {
            Some(value) => machine.write(number, address, value),
            None => machine.read(number, address),
        };
        obey(machine, number, result, &[]);
        if result.is_err() {
            return;
        }
    }
}

fn push(machine: &mut Machine, number: u16, bytes: u64, in_one: bool) {
    let bytes = if in_one { bytes.min(512) } else { bytes };
    let task = &machine.tasks[&number];
    let stack = &machine.manager.stack_manager.stacks[task.slot];
    let fits = task.stack_pointer - bytes >= stack.base_address - task.max_size;
    let result = machine.push(number, bytes, in_one, bytes);
    assert!(fits || result == Err(EndReason::StackOverflow), "beyond its limit: {result:?}");
    obey(machine, number, result, if fits { &[] } else { &[EndReason::StackOverflow] });
}

fn wild(machine: &mut Machine, number: u16, address: u64) {
    let of_the_lower_half = address % (1 << 40);
    let expected = if address >> 63 == 1 { EndReason::KernelAccess } else { EndReason::WildAccess };
    let address = if address >> 63 == 1 { address } else { of_the_lower_half | 1 << 41 };
    let result = machine.access(number, address, Access::Write);
    assert_eq!(result, Err(expected), "{address:#x}");
    machine.end(number);
}

fn take(machine: &mut Machine, step: Step) {
    match step {
        Step::Start(number, policy, pages) => {
            if !machine.tasks.contains_key(&number) {
                // The manager may be out of memory or not; in both cases no frame may be lost.
                let _ = machine.start(number, POLICIES[policy], pages * PAGE_SIZE);
            }
        }
        Step::Write(task, range, page, pages, word, value) => {
            if let Some((number, first, left)) = page_of(machine, task, range, page) {
                touch(machine, number, first + word, pages.min(left), Some(value));
            }
        }
        Step::Read(task, range, page, pages, word) => {
            if let Some((number, first, left)) = page_of(machine, task, range, page) {
                touch(machine, number, first + word, pages.min(left), None);
            }
        }
        Step::Age => machine.kernel(|manager| manager.age()),
        Step::Run(number) => _ = machine.kernel(|manager| manager.run_strategy(Answer::ALL[number])),
        Step::Move(choice, to) => {
            let frames = &machine.manager.frames;
            let used: Vec<u32> = (0..1000).filter(|&frame| frames.info[frame as usize].is_used()).collect();
            let from = used[choice % used.len()];
            let possible = frames.info[from as usize].is_movable()
                && to < frames.limit_frames
                && !frames.info[to as usize].is_used();
            let moved = machine.kernel(|manager| {
                let moved = manager.move_frame(from, to);
                manager.check_pressure();
                moved
            });
            assert_eq!(moved, possible, "{from} to {to}");
        }
        Step::Limit(limit) => machine.kernel(|manager| manager.set_pool_limit(limit)),
        Step::Restart(bits) => machine.kernel(|manager| manager.context_switcher.restart_asids(bits)),
        Step::Wait(counts) => hardware::advance_clock(counts),
        Step::End(task)
        | Step::Switch(task)
        | Step::Reserve(task, _)
        | Step::GiveUp(task, ..)
        | Step::Push(task, ..)
        | Step::Pop(task, _)
        | Step::ReadStack(task, _)
        | Step::Wild(task, _) => {
            if let Some(number) = task_of(machine, task) {
                take_of_task(machine, number, step);
            }
        }
    }
}

fn take_of_task(machine: &mut Machine, number: u16, step: Step) {
    match step {
        Step::End(_) => machine.end(number),
        Step::Switch(_) => {
            machine.switch_to(number);
            machine.read_task_page(number);
        }
        Step::Reserve(_, pages) => _ = machine.reserve(number, pages),
        Step::GiveUp(_, range, release) => {
            let ranges = machine.tasks[&number].ranges.len();
            if ranges > 0 {
                machine.give_up(number, range % ranges, release);
            }
        }
        Step::Push(_, bytes, in_one) => push(machine, number, bytes, in_one),
        Step::Pop(_, bytes) => machine.pop(number, bytes),
        Step::ReadStack(_, place) => {
            let task = &machine.tasks[&number];
            let known: Vec<u64> = task.memory.range(task.stack_pointer..).map(|(&address, _)| address).collect();
            if !known.is_empty() {
                machine.read(number, known[place % known.len()]).expect("memory above the stack pointer is mapped");
            }
        }
        Step::Wild(_, address) => wild(machine, number, address),
        other => unreachable!("{other:?} is not a task's"),
    }
}

/// Steps of a random test.
const MAX_STEPS: usize = if cfg!(miri) { 8 } else { 160 };

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn records_tables_and_frames_agree_whatever_is_done(
        bits in 2..4u32, limit in 60..600u32, steps in prop::collection::vec(step(), 1..MAX_STEPS),
    ) {
        let mut machine = Machine::with_limit(bits, limit);
        for step in steps {
            take(&mut machine, step);
            audit_touched(&machine);
        }
        audit(&machine);
        // Everything that the tasks wrote is still there, and no frame is used when all have ended.
        for number in machine.tasks.keys().copied().collect::<Vec<_>>() {
            let known: Vec<u64> = machine.tasks[&number].memory.keys().copied().collect();
            for address in known {
                machine.read(number, address).expect("written pages are mapped");
            }
            machine.end(number);
        }
        audit(&machine);
        prop_assert_eq!(machine.manager.frames.used_frames(), 2, "the zero page and the kernel's empty table");
        machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
        prop_assert_eq!(machine.manager.frames.available_frames() as usize, POOL_FRAMES - 2);
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn the_promised_numbers_of_stacks_and_lazy_pages_fit() {
    const PROMISED: (u16, u32) = (64, 512);
    let mut machine = Machine::new(8);
    for number in 1..=PROMISED.0 {
        let policy = POLICIES[number as usize % 3];
        machine.start(number, policy, 16 * PAGE_SIZE).expect("there is room for 64 tasks");
        let first = machine.reserve(number, PROMISED.1).expect("there is room for 32,768 pages");
        touch(&mut machine, number, first, PROMISED.1, None);
        touch(&mut machine, number, first, PROMISED.1 / 2, Some(number as u64));
        (0..3).for_each(|_| machine.push(number, PAGE, false, 1).expect("there is room"));
    }
    audit(&machine);
    let lazy = &machine.manager.lazy_allocator;
    assert_eq!((lazy.reserved_pages, lazy.allocated_pages, lazy.zero_pages), (32_768, 16_384, 16_384));
    assert_eq!(machine.manager.stats.active_dynamic_stacks, 64);
    for number in 1..=PROMISED.0 {
        let first = machine.tasks[&number].ranges[0].0;
        touch(&mut machine, number, first, PROMISED.1, None);
        machine.end(number);
    }
    audit(&machine);
    assert_eq!(machine.manager.frames.used_frames(), 2);
}
