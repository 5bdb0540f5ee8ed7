//! The invariants of the manager outside a write: compares its records with the translation tables, the frames and the
//! TLB.

use super::machine::{
    ACCESS_FLAG, EXECUTE_NEVER, Machine, OUTPUT, PAGE, READ_ONLY, TEXT, TEXT_PAGES, VALID, walk, word,
};
use crate::hardware::frame_is_zero;
use crate::memory::frames::{FrameAddress, FrameInfo, FrameUse};
use crate::memory::layout::{
    LAZY_REGION_BASE, MAX_LAZY_PAGES, POOL_FRAMES, STACK_REGION_BASE, TASK_PAGE_BASE, USER_TEXT_BASE,
};
use crate::memory::lazy::LazyPage;
use std::collections::BTreeMap;

/// The result of following every descriptor from every root.
#[derive(Default)]
struct Found {
    /// Used frames of the pool, with the entries that the reverse map should have.
    frames: BTreeMap<u32, FrameInfo>,
    /// Page descriptors by space and address.
    pages: BTreeMap<(u16, u64), u64>,
}

/// Number of frames that [`audit_touched`] checks: the limits of the random tests are not above it.
const TOUCHED_FRAMES: usize = 1024;

/// Checks every record and every frame.
pub fn audit(machine: &Machine) {
    audit_up_to(machine, POOL_FRAMES);
    if cfg!(miri) {
        return;
    }
    check_own_audit(machine);
    let mut owners = vec![0u16; MAX_LAZY_PAGES];
    for (number, first, pages) in ranges(machine) {
        owners[first..first + pages].fill(number);
    }
    for (record, page) in machine.manager.lazy_allocator.pages.iter().enumerate() {
        assert_eq!(page.owner, owners[record], "record {record}");
        assert!(page.owner != 0 || *page == LazyPage::UNUSED, "record {record}");
    }
}

/// The same at a tenth of the cost: leaves out records outside all ranges, and frames beyond the limit.
pub fn audit_touched(machine: &Machine) {
    audit_up_to(machine, TOUCHED_FRAMES);
}

/// Compares the kernel's own audit, which the stress test uses, with the counts made here.
fn check_own_audit(machine: &Machine) {
    let own = machine.manager.audit();
    assert!(own.is_sound() && own.lost() == 0, "{own:?}");
    assert_eq!(
        (own.used, own.lazy_pages),
        (machine.manager.frames.used_frames(), machine.manager.lazy_allocator.allocated_pages)
    );
    assert_eq!(own.task_pages as usize, machine.tasks.len());
}

fn audit_up_to(machine: &Machine, frames: usize) {
    // Miri takes a minute for each, and there is no `unsafe` in it but the reading of words.
    if cfg!(miri) {
        return;
    }
    let mut found = Found::default();
    let zero = machine.manager.lazy_allocator.zero_frame;
    found.add_frame(machine, zero, FrameInfo::new(FrameUse::ZeroPage, 0, 0));
    for (number, space) in machine.manager.context_switcher.spaces.iter().enumerate() {
        if space.is_active {
            found.add_table(machine, number as u16, space.table, 0, 0);
        }
    }
    check_text_and_task_pages(machine, &mut found);
    check_lazy_pages(machine, &mut found);
    check_stacks(machine, &mut found);
    assert!(found.pages.is_empty(), "mapped, but no record says so: {:x?}", found.pages);
    check_frames(machine, &found, frames);
    check_statistics(machine);
    check_hardware(machine);
    let handler = &machine.manager.pressure_handler;
    let free = machine.manager.frames.free_frames;
    assert!(handler.keeps_level(free), "level {:?} with {free} frames free", handler.level);
    assert_eq!((handler.free_frames, handler.limit_frames), (free, machine.manager.frames.limit_frames));
    assert!(frame_is_zero(FrameAddress::new(zero).expect("it is in the pool")), "the zero page was written to");
}

impl Found {
    fn add_frame(&mut self, machine: &Machine, address: u64, info: FrameInfo) {
        let number = machine.manager.frames.number(address).expect("a frame of the pool");
        let before = self.frames.insert(number, info);
        assert_eq!(before, None, "frame {number} is used twice, now for {info:?}");
    }

    fn add_table(&mut self, machine: &Machine, owner: u16, table: u64, level: u32, base: u64) {
        // The level, and above it as many bits of the address as there are levels above the table, nine for each.
        let index = level + 4 * (base.checked_shr(48 - 9 * level).unwrap_or(0)) as u32;
        self.add_frame(machine, table, FrameInfo::new(FrameUse::Table, owner, index));
        for index in 0..512 {
            let descriptor = word(table + index * 8);
            if descriptor & VALID == 0 {
                assert_eq!(descriptor, 0);
                continue;
            }
            assert_eq!(descriptor & 0b11, 0b11, "a block descriptor, or a reserved one");
            let address = base + (index << (39 - 9 * level));
            if level < 3 {
                self.add_table(machine, owner, descriptor & OUTPUT, level + 1, address);
            } else {
                self.pages.insert((owner, address), descriptor);
            }
        }
    }

    /// Takes a page that must be mapped. Returns its frame, and whether it is read-only and execute-never.
    fn take(&mut self, owner: u16, address: u64) -> (u64, bool, bool) {
        let descriptor = self.pages.remove(&(owner, address));
        let descriptor = descriptor.unwrap_or_else(|| panic!("{address:#x} of task {owner} is not mapped"));
        // EL0 may access, not global, never executed by the kernel, inner shareable, memory attributes 0.
        assert_eq!(descriptor & 0x0020_0000_0000_0b5c, 0x0020_0000_0000_0b40, "{address:#x}: {descriptor:#x}");
        (descriptor & OUTPUT, descriptor & READ_ONLY != 0, descriptor & EXECUTE_NEVER != 0)
    }
}

fn check_text_and_task_pages(machine: &Machine, found: &mut Found) {
    for &number in machine.tasks.keys() {
        for page in 0..TEXT_PAGES as u64 {
            assert_eq!(found.take(number, USER_TEXT_BASE + page * PAGE), (TEXT + page * PAGE, true, false));
        }
        let (frame, read_only, execute_never) = found.take(number, TASK_PAGE_BASE);
        assert!(!read_only && execute_never);
        assert_eq!(word(frame), number as u64);
        found.add_frame(machine, frame, FrameInfo::new(FrameUse::TaskPage, number, 0));
    }
}

/// Owner, first record and number of pages of each range of a task.
fn ranges(machine: &Machine) -> impl Iterator<Item = (u16, usize, usize)> {
    machine.tasks.iter().flat_map(|(&number, task)| {
        let record = |address| ((address - LAZY_REGION_BASE) / PAGE) as usize;
        task.ranges.iter().map(move |&(address, pages)| (number, record(address), pages as usize))
    })
}

fn check_lazy_pages(machine: &Machine, found: &mut Found) {
    let lazy = &machine.manager.lazy_allocator;
    let (mut reserved, mut allocated, mut zero) = (0, 0, 0);
    for (owner, first, pages) in ranges(machine) {
        reserved += pages as u32;
        for record in first..first + pages {
            let page = &lazy.pages[record];
            let address = LAZY_REGION_BASE + record as u64 * PAGE;
            assert_eq!((page.owner, page.virtual_address), (owner, address), "record {record}");
            assert!(!(page.is_allocated && page.is_zero_page));
            allocated += page.is_allocated as u32;
            zero += page.is_zero_page as u32;
            if page.is_allocated {
                assert_eq!(found.take(owner, address), (page.physical_address, false, true));
                let info = FrameInfo::new(FrameUse::LazyPage, owner, record as u32);
                found.add_frame(machine, page.physical_address, info);
            } else if page.is_zero_page {
                assert_eq!(page.physical_address, lazy.zero_frame);
                assert_eq!(found.take(owner, address), (lazy.zero_frame, true, true));
            } else {
                assert_eq!(page.physical_address, 0);
            }
            assert_eq!(page.allocation_time != 0, page.is_allocated);
        }
    }
    assert_eq!((lazy.reserved_pages, lazy.allocated_pages, lazy.zero_pages), (reserved, allocated, zero));
    for (&number, task) in &machine.tasks {
        assert_eq!(lazy.quotas[number as usize].used as usize, task.ranges.len());
        let pages: u32 = task.ranges.iter().map(|range| range.1).sum();
        assert_eq!(lazy.page_quotas[number as usize].used, pages);
    }
}

fn check_stacks(machine: &Machine, found: &mut Found) {
    let manager = &machine.manager.stack_manager;
    assert_eq!(manager.growing, 0);
    for (slot, stack) in manager.stacks.iter().enumerate().filter(|(_, stack)| stack.is_active) {
        assert_eq!(stack.base_address, STACK_REGION_BASE + (slot as u64 + 1) * 0x20_0000);
        assert_eq!(machine.tasks[&stack.owner].slot, slot);
        assert_eq!(machine.manager.context_switcher.spaces[stack.owner as usize].stack, stack.id);
        let pages = stack.current_size as u64 / PAGE;
        assert!((PAGE as usize..=stack.max_size).contains(&stack.current_size));
        assert!(stack.high_water_mark >= stack.current_size && stack.high_water_mark <= stack.max_size);
        for page in 0..pages {
            let (frame, read_only, execute_never) = found.take(stack.owner, stack.base_address - (page + 1) * PAGE);
            assert!(!read_only && execute_never);
            found.add_frame(
                machine,
                frame,
                FrameInfo::new(FrameUse::Stack, stack.owner, (slot as u32) << 16 | page as u32),
            );
        }
    }
}

/// Checks that every frame has one state: used, as the tables show; or free, cached or retired, as the counters show.
fn check_frames(machine: &Machine, found: &Found, end: usize) {
    let frames = &machine.manager.frames;
    let (mut free, mut cached, mut retired) = (0, 0, (POOL_FRAMES - end) as u32);
    let mut used = found.frames.iter().peekable();
    for (number, info) in frames.info[..end].iter().enumerate() {
        match used.next_if(|known| *known.0 as usize == number) {
            Some((_, expected)) => assert_eq!(info, expected, "frame {number}"),
            None => match info.usage {
                FrameUse::Free => free += 1,
                FrameUse::Cached => cached += 1,
                FrameUse::Retired => retired += 1,
                _ => panic!("frame {number} is lost: {info:?}"),
            },
        }
    }
    assert_eq!((frames.free_frames, frames.cached_frames, frames.retired_frames), (free, cached, retired));
    assert_eq!(frames.used_frames() as usize, found.frames.len());
    for (task, quota) in frames.quotas.iter().enumerate() {
        let owned = found.frames.values().filter(|info| info.owner as usize == task).count();
        assert_eq!(quota.used as usize, owned, "task {task}");
    }
}

fn check_statistics(machine: &Machine) {
    let manager = &machine.manager;
    let (stats, lazy, switcher) = (&manager.stats, &manager.lazy_allocator, &manager.context_switcher);
    assert_eq!(stats.active_dynamic_stacks as usize, machine.tasks.len());
    assert_eq!(stats.active_dynamic_stacks, manager.stack_manager.active_count());
    assert!(stats.total_dynamic_stacks >= stats.active_dynamic_stacks);
    assert_eq!(stats.total_stack_growth_events, machine.growths);
    assert_eq!((stats.total_lazy_pages, stats.allocated_lazy_pages), (lazy.reserved_pages, lazy.allocated_pages));
    let faults = lazy.zero_fault_count + lazy.allocate_fault_count + lazy.upgrade_fault_count;
    assert_eq!(stats.total_lazy_page_faults as u64, faults);
    assert_eq!(stats.memory_pressure_events, manager.pressure_handler.level_events.iter().sum::<u32>());
    let runs = manager.pressure_handler.strategies.map(|record| record.run_count);
    assert_eq!(stats.optimization_events, runs.iter().sum::<u32>());
    assert_eq!(stats.context_switch_count as u64, switcher.switch_count);
    assert!(switcher.fast_switch_count <= switcher.switch_count);
    let counted = switcher.invalidations;
    assert_eq!([counted.by_address, counted.by_asid, counted.everything], machine.invalidations);
}

/// Checks that TTBR0 holds the current space, that no two spaces share an ASID, and that no TLB entry is stale.
fn check_hardware(machine: &Machine) {
    let switcher = &machine.manager.context_switcher;
    let current = &switcher.spaces[switcher.current as usize];
    assert!(current.is_active && current.generation == switcher.asids.generation);
    assert_eq!(machine.ttbr0, current.table | (current.asid as u64) << 48);
    let mut roots = BTreeMap::new();
    for space in switcher.spaces.iter().filter(|space| space.is_active) {
        if space.generation == switcher.asids.generation {
            assert_eq!(roots.insert(space.asid, space.table), None, "two spaces with ASID {}", space.asid);
        }
    }
    for (&(asid, address), &descriptor) in &machine.tlb {
        let root = roots.get(&asid).unwrap_or_else(|| panic!("the TLB knows {address:#x} of ASID {asid}: nobody's"));
        assert!(descriptor & ACCESS_FLAG != 0);
        assert_eq!(descriptor, walk(*root, address), "the TLB entry is stale at {address:#x} of ASID {asid}");
    }
}
