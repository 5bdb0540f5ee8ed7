//! The pool's limit at run time.

use crate::println;
use crate::scheduler::{read_memory_manager, without_interrupts};
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::memory::layout::{PAGE_SIZE, POOL_FRAMES};
use tinyos::text::units::Size;

const FRAMES_PER_MIB: u64 = (1024 * 1024 / PAGE_SIZE) as u64;

/// Sets how many frames of the pool may be used (more than there are: all), and moves pages out of the others until
/// none is left there that can be moved. Gives how many stay in use beyond the limit.
pub fn set_limit(frames: u32) -> u32 {
    without_interrupts(|| DYNAMIC_MEMORY_MANAGER.write().set_pool_limit(frames));
    while without_interrupts(|| DYNAMIC_MEMORY_MANAGER.write().evacuate_more()) > 0 {}
    read_memory_manager(|manager| {
        let beyond = &manager.frames.info[manager.frames.limit_frames as usize..];
        beyond.iter().filter(|info| info.is_used()).count() as u32
    })
}

/// `pool [MIB]`.
pub fn command(mut words: super::Words) -> Result<(), &'static str> {
    let stuck = match words.next() {
        None => 0,
        Some("all") => set_limit(POOL_FRAMES as u32),
        Some(word) => {
            let mib = super::parse(word)?;
            if !(1..=POOL_FRAMES as u64 / FRAMES_PER_MIB).contains(&mib) {
                return Err("the pool's limit is from 1 MiB to the whole pool");
            }
            set_limit((mib * FRAMES_PER_MIB) as u32)
        }
    };
    let (limit, total) = read_memory_manager(|manager| (manager.frames.limit_frames, manager.frames.total_frames));
    println!("pool: {} of {} may be used", Size::of_pages(limit as u64), Size::of_pages(total as u64));
    if stuck > 0 {
        println!("pool: {stuck} frames beyond the limit stay in use: tables, or pages for which there is no room");
    }
    Ok(())
}
