//! `pool`: the limit of the pool at run time; the pressure that follows from it.

use crate::cpu::without_interrupts;
use crate::println;
use crate::scheduler::read_memory_manager;
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::memory::layout::{PAGE_SIZE, POOL_FRAMES};
use tinyos::memory::pressure::PressureLevel;
use tinyos::text::units::Size;

const FRAMES_PER_MIB: u64 = (1024 * 1024 / PAGE_SIZE) as u64;

/// Limits the pool to `frames` frames (or all, if there are fewer), and moves pages out of the frames beyond the limit
/// until no more can be moved. Returns how many frames beyond the limit stay in use.
pub fn set_limit(frames: u32) -> u32 {
    without_interrupts(|| DYNAMIC_MEMORY_MANAGER.write().set_pool_limit(frames));
    while without_interrupts(|| DYNAMIC_MEMORY_MANAGER.write().evacuate_more()) > 0 {}
    read_memory_manager(|manager| {
        let beyond = &manager.frames.info[manager.frames.limit_frames as usize..];
        beyond.iter().filter(|info| info.is_used()).count() as u32
    })
}

/// The current pressure level.
pub fn level() -> PressureLevel {
    read_memory_manager(|manager| manager.pressure_handler.level)
}

/// `pool [MIB]`.
pub fn command(mut words: super::Words) -> Result<(), &'static str> {
    let stuck = match words.next() {
        None => 0,
        Some("all") => set_limit(POOL_FRAMES as u32),
        Some(word) => {
            let mib = super::parse(word)?;
            if !(1..=POOL_FRAMES as u64 / FRAMES_PER_MIB).contains(&mib) {
                return Err("the limit must be from 1 MiB to the size of the pool");
            }
            set_limit((mib * FRAMES_PER_MIB) as u32)
        }
    };
    let (limit, total) = read_memory_manager(|manager| (manager.frames.limit_frames, manager.frames.total_frames));
    println!("pool: {} of {} may be used", Size::of_pages(limit as u64), Size::of_pages(total as u64));
    if stuck > 0 {
        println!("pool: {stuck} frames beyond the limit stay in use: pages and tables that do not fit below it");
    }
    Ok(())
}
