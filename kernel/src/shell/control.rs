//! Commands of the main menu.

use super::{Command, Words, bench, fault_test, number, pool};
use crate::cpu::{self, without_interrupts};
use crate::println;
use crate::programs::{self, PROGRAMS};
use crate::scheduler::{self, Start};
use tinyos::console_input::CONSOLE_INPUT;
use tinyos::hardware;
use tinyos::memory::dynamic::{DYNAMIC_MEMORY_MANAGER, DynamicMemoryManager, Exhausted};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::layout::MAX_TASKS;
use tinyos::memory::pressure::Strategy;
use tinyos::memory::tables;

pub const COMMANDS: &[Command] = &[
    Command { name: "tasks", usage: "tasks", about: "every task", run: tasks },
    Command { name: "t", usage: "t", about: "what each task does, and where it is", run: activities },
    Command { name: "programs", usage: "programs", about: "every program that spawn can start", run: list_programs },
    Command { name: "spawn", usage: "spawn PROGRAM [POLICY] [ARGUMENT ...]", about: "start a task", run: spawn },
    Command { name: "kill", usage: "kill TASK", about: "end a task", run: kill },
    Command { name: "quota", usage: "quota [TASK FRAMES RANGES PAGES]", about: "the quotas of tasks", run: quota },
    Command { name: "hold", usage: "hold", about: "stop all tasks", run: hold },
    Command { name: "go", usage: "go", about: "let them continue", run: go },
    Command { name: "pool", usage: "pool [MIB | all]", about: "how much of the pool may be used", run: pool::command },
    Command { name: "run", usage: "run STRATEGY", about: "cache, relief, migration or defragmentation", run: strategy },
    Command { name: "migrate", usage: "migrate ADDRESS FRAME", about: "move a task's page to a frame", run: migrate },
    Command { name: "asid-bits", usage: "asid-bits BITS", about: "ASIDs of 2 to 16 bits", run: asid_bits },
    Command { name: "faults", usage: "faults COUNT", about: "take lazy page faults", run: fault_test::command },
    Command { name: "bench", usage: "bench", about: "measure the hot paths", run: bench::command },
    Command { name: "console", usage: "console", about: "what the console received and lost", run: console },
    Command { name: "uptime", usage: "uptime", about: "time since the counter started", run: uptime },
    Command { name: "panic", usage: "panic", about: "stop the kernel by a panic", run: stop_by_panic },
    Command { name: "crash", usage: "crash", about: "stop the kernel by a wild access", run: stop_by_wild_access },
    Command { name: "overflow", usage: "overflow", about: "stop the kernel by its own stack", run: stop_by_overflow },
];

fn tasks(_: Words) -> Result<(), &'static str> {
    super::memory::show(|_, scheduler, out| tinyos::text::tasks::tasks(scheduler, out));
    Ok(())
}

fn activities(_: Words) -> Result<(), &'static str> {
    let clock = (hardware::now(), cpu::frequency());
    super::memory::show(|manager, scheduler, out| tinyos::text::tasks::activities(manager, scheduler, clock, out));
    Ok(())
}

fn list_programs(_: Words) -> Result<(), &'static str> {
    for program in PROGRAMS {
        println!("{:<16} {}", program.name, program.about);
    }
    Ok(())
}

fn spawn(mut words: Words) -> Result<(), &'static str> {
    let program = programs::find(words.next().ok_or("a program is missing; see programs")?)
        .ok_or("no such program; see programs")?;
    let mut start = Start::of(program);
    let mut place = 0;
    for word in words {
        if let Some(policy) = policy(word) {
            start.policy = policy;
        } else {
            *start.arguments.get_mut(place).ok_or("at most three arguments")? = super::parse(word)?;
            place += 1;
        }
    }
    let id = scheduler::spawn(start).map_err(Exhausted::reason)?;
    let task = scheduler::task(id);
    println!("task {id} ({}) started on stack {}", task.name(), task.stack);
    Ok(())
}

fn policy(word: &str) -> Option<GrowthPolicy> {
    match word {
        "conservative" => Some(GrowthPolicy::Conservative),
        "aggressive" => Some(GrowthPolicy::Aggressive),
        "predictive" => Some(GrowthPolicy::Predictive),
        _ => None,
    }
}

fn kill(mut words: Words) -> Result<(), &'static str> {
    let id = u16::try_from(number(&mut words)?).unwrap_or(u16::MAX);
    if !scheduler::kill(id) {
        return Err("no such task");
    }
    println!("task {id} ended");
    Ok(())
}

fn quota(mut words: Words) -> Result<(), &'static str> {
    if let Some(word) = words.next() {
        let task = super::parse(word)?;
        let (frames, ranges, pages) = (number(&mut words)?, number(&mut words)?, number(&mut words)?);
        if !(1..=MAX_TASKS as u64).contains(&task) || !scheduler::task(task as u16).is_alive() {
            return Err("no such task");
        }
        let limit = |value| u32::try_from(value).unwrap_or(u32::MAX);
        without_interrupts(|| {
            let mut manager = DYNAMIC_MEMORY_MANAGER.write();
            manager.frames.quotas[task as usize].max = limit(frames);
            manager.lazy_allocator.quotas[task as usize].max = limit(ranges);
            manager.lazy_allocator.page_quotas[task as usize].max = limit(pages);
        });
    }
    super::memory::show(tinyos::text::tasks::quotas);
    Ok(())
}

fn hold(_: Words) -> Result<(), &'static str> {
    scheduler::hold(true);
    println!("all tasks are stopped");
    Ok(())
}

fn go(_: Words) -> Result<(), &'static str> {
    scheduler::hold(false);
    println!("all tasks continue");
    Ok(())
}

fn strategy(mut words: Words) -> Result<(), &'static str> {
    let strategy = match words.next() {
        Some("cache") => Strategy::CacheOptimization,
        Some("relief") => Strategy::PressureRelief,
        Some("migration") => Strategy::PageMigration,
        Some("defragmentation") => Strategy::Defragmentation,
        _ => return Err("use cache, relief, migration or defragmentation"),
    };
    let (won, moved, run) = without_interrupts(|| {
        let mut manager = DYNAMIC_MEMORY_MANAGER.write();
        let moved = |manager: &DynamicMemoryManager| manager.pressure_handler.strategies[strategy as usize].pages_moved;
        let before = moved(&manager);
        let won = manager.run_strategy(strategy);
        manager.check_pressure();
        (won, moved(&manager) - before, manager.frames.longest_free_run())
    });
    println!("{}: gain {won} {}", tinyos::text::memory::strategy_name(strategy), strategy.unit());
    println!("pages_moved: {moved}");
    println!("longest_free_run: {run}");
    Ok(())
}

fn migrate(mut words: Words) -> Result<(), &'static str> {
    let (address, target) = (number(&mut words)?, number(&mut words)?);
    let (from, to) = without_interrupts(|| {
        let mut manager = DYNAMIC_MEMORY_MANAGER.write();
        let to = manager.frames.number(target).ok_or("the physical address is not in the pool")?;
        let (owner, from) = frame_of(&manager, address).ok_or("no task has a page of its own at that address")?;
        if !manager.move_frame(from, to) {
            return Err("the frame is not free, or the page cannot be moved");
        }
        debug_assert_eq!(frame_of(&manager, address), Some((owner, to)));
        Ok((manager.frames.address(from).get(), manager.frames.address(to).get()))
    })?;
    println!("moved {:#x} from {from:#x} to {to:#x}", address & !0xfff);
    Ok(())
}

/// The first task that has a movable page at `address`, and the number of its frame.
fn frame_of(manager: &DynamicMemoryManager, address: u64) -> Option<(u16, u32)> {
    (1..=MAX_TASKS as u16).find_map(|owner| {
        let space = manager.context_switcher.spaces[owner as usize];
        let entry = tables::find(space.is_active.then_some(space.table())?, address)?;
        let descriptor = hardware::read_descriptor(entry);
        let frame = manager.frames.number(descriptor.output())?;
        (descriptor.is_valid() && manager.frames.info[frame as usize].is_movable()).then_some((owner, frame))
    })
}

fn asid_bits(mut words: Words) -> Result<(), &'static str> {
    let bits = number(&mut words)?;
    if !(2..=16).contains(&bits) {
        return Err("the number of bits must be from 2 to 16");
    }
    without_interrupts(|| DYNAMIC_MEMORY_MANAGER.write().context_switcher.restart_asids(bits as u32));
    println!("ASIDs have {bits} bits");
    Ok(())
}

fn console(_: Words) -> Result<(), &'static str> {
    super::memory::show(|_, _, out| CONSOLE_INPUT.read(|input| tinyos::text::console::console(input, out)));
    Ok(())
}

fn uptime(_: Words) -> Result<(), &'static str> {
    println!("{} ms", hardware::now() * 1000 / cpu::frequency());
    Ok(())
}

fn stop_by_panic(_: Words) -> Result<(), &'static str> {
    panic!("requested by the shell")
}

fn stop_by_wild_access(_: Words) -> Result<(), &'static str> {
    // SAFETY: not safe: the page at the top of the address space is not mapped, and the read is meant to fail.
    unsafe { (0xffff_ffff_ffff_f000 as *const u64).read_volatile() };
    Ok(())
}

fn stop_by_overflow(_: Words) -> Result<(), &'static str> {
    println!("{}", descend(0));
    Ok(())
}

/// Recurses until the shell's stack reaches its guard page.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { descend(depth + 1) + frame[0] }
}
