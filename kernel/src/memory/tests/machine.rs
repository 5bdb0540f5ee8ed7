//! A simulated machine: tasks that touch memory, a CPU that translates by the manager's tables, and a TLB that keeps
//! every translation until the manager invalidates it.

use super::support::in_heap;
use crate::hardware::{self, Operation};
use crate::memory::dynamic::{DynamicMemoryManager, Exhausted};
use crate::memory::faults::{Access, Cause, Fault, Unresolved};
use crate::memory::growth::GrowthPolicy;
use crate::memory::layout::{PAGE_SIZE, TASK_PAGE_BASE};
use crate::memory::quotas::Victim;
use crate::tasks::EndReason;
use std::collections::BTreeMap;

pub const PAGE: u64 = PAGE_SIZE as u64;
/// Physical address and number of pages of the programs, which are outside the pool.
pub const TEXT: u64 = 0x20_0000;
pub const TEXT_PAGES: u32 = 2;
/// Counts of the generic timer in a second.
const FREQUENCY: u64 = 62_500_000;

// Descriptor bits from the architecture, not from the code under test.
pub const VALID: u64 = 1;
pub const READ_ONLY: u64 = 1 << 7;
pub const ACCESS_FLAG: u64 = 1 << 10;
pub const EXECUTE_NEVER: u64 = 1 << 54;
pub const OUTPUT: u64 = 0x0000_ffff_ffff_f000;

/// The state of a task as the task knows it.
pub struct Task {
    pub slot: usize,
    pub stack_pointer: u64,
    pub max_size: u64,
    /// Address and number of pages of its lazy ranges.
    pub ranges: Vec<(u64, u32)>,
    /// The words that it wrote, by 8-byte aligned address.
    pub memory: BTreeMap<u64, u64>,
}

pub struct Machine {
    pub manager: Box<DynamicMemoryManager>,
    pub tasks: BTreeMap<u16, Task>,
    /// Page descriptors by ASID and page address.
    pub tlb: BTreeMap<(u16, u64), u64>,
    pub ttbr0: u64,
    /// The root that the walker may have used with each ASID since the ASID was last invalidated.
    walked: BTreeMap<u16, u64>,
    /// Number of invalidations: by address, by ASID, of everything.
    pub invalidations: [u64; 3],
    pub growths: u32,
    /// The tasks that ended because another needed a frame.
    pub victims: Vec<Victim>,
}

/// Reads a descriptor or a word of data.
pub fn word(physical: u64) -> u64 {
    // SAFETY: `linear` checks that the address is in the arena; it is a multiple of 8 here.
    unsafe { hardware::linear(physical).cast::<u64>().read() }
}

/// Writes a word of data, or a descriptor as a stray store would.
pub fn set_word(physical: u64, value: u64) {
    // SAFETY: as above.
    unsafe { hardware::linear(physical).cast::<u64>().write(value) }
}

/// The page descriptor of `address`, or 0: levels 0 to 3, 9 bits each.
pub fn walk(root: u64, address: u64) -> u64 {
    let mut table = root;
    for shift in [39, 30, 21] {
        let descriptor = word(table + (address >> shift & 0x1ff) * 8);
        if descriptor & VALID == 0 {
            return 0;
        }
        table = descriptor & OUTPUT;
    }
    word(table + (address >> 12 & 0x1ff) * 8)
}

impl Machine {
    pub fn new(asid_bits: u32) -> Machine {
        hardware::restart();
        let mut machine = Machine {
            manager: in_heap(DynamicMemoryManager::new),
            tasks: BTreeMap::new(),
            tlb: BTreeMap::new(),
            ttbr0: 0,
            walked: BTreeMap::new(),
            invalidations: [0; 3],
            growths: 0,
            victims: Vec::new(),
        };
        machine.manager.initialize(asid_bits, FREQUENCY).expect("the pool is empty");
        machine.follow_log();
        machine
    }

    /// As [`Self::new`], with `limit` available frames.
    pub fn with_limit(asid_bits: u32, limit: u32) -> Machine {
        let mut machine = Machine::new(asid_bits);
        machine.manager.set_pool_limit(limit);
        machine.follow_log();
        machine
    }

    /// Applies the logged operations to the TLB. Between two operations the CPU may walk the table in TTBR0, even if no
    /// task runs.
    fn follow_log(&mut self) {
        for operation in hardware::take_log() {
            match operation {
                Operation::Address { asid, address } => {
                    self.tlb.remove(&(asid, address & !(PAGE - 1)));
                    self.invalidations[0] += 1;
                }
                Operation::Asid(asid) => {
                    self.tlb.retain(|entry, _| entry.0 != asid);
                    self.walked.remove(&asid);
                    self.invalidations[1] += 1;
                }
                Operation::Everything => {
                    self.tlb.clear();
                    self.walked.clear();
                    self.invalidations[2] += 1;
                }
                Operation::Ttbr0(value) => self.ttbr0 = value,
                // The rules for these are in `hardware/model.rs`.
                Operation::Descriptor { .. } | Operation::Zero(_) | Operation::Copy { .. } | Operation::Publish => {}
            }
            if self.ttbr0 != 0 {
                let (asid, root) = ((self.ttbr0 >> 48) as u16, self.ttbr0 & OUTPUT);
                let before = *self.walked.entry(asid).or_insert(root);
                assert_eq!(before, root, "ASID {asid} was used with another table without invalidation");
            }
        }
    }

    /// Enters the kernel and calls `function`.
    pub fn kernel<T>(&mut self, function: impl FnOnce(&mut DynamicMemoryManager) -> T) -> T {
        let current = self.manager.context_switcher.current;
        if let Some(task) = self.tasks.get(&current) {
            self.manager.record_stack_pointer(current, task.stack_pointer);
        }
        let result = function(&mut self.manager);
        hardware::check_settled();
        self.follow_log();
        result
    }

    pub fn switch_to(&mut self, number: u16) {
        if self.manager.context_switcher.current != number {
            self.kernel(|manager| manager.switch_to(number));
        }
    }

    /// Starts task `number` with a stack of at most `max_size` bytes. If that fails, nothing is allocated.
    pub fn start(&mut self, number: u16, policy: GrowthPolicy, max_size: usize) -> Result<(), Exhausted> {
        let made = self.kernel(|manager| {
            let made = manager
                .create_space(number, TEXT, TEXT_PAGES)
                .and_then(|()| manager.create_stack(number, policy, max_size));
            if made.is_err() {
                manager.end_space(number);
            }
            made
        });
        match made {
            Ok(slot) => {
                let stack = &self.manager.stack_manager.stacks[slot];
                let (stack_pointer, max_size) = (stack.base_address, stack.max_size as u64);
                let task = Task { slot, stack_pointer, max_size, ranges: Vec::new(), memory: BTreeMap::new() };
                self.tasks.insert(number, task);
                Ok(())
            }
            Err(exhausted) => Err(exhausted),
        }
    }

    pub fn end(&mut self, number: u16) {
        self.kernel(|manager| manager.end_space(number));
        self.tasks.remove(&number);
    }

    pub fn reserve(&mut self, number: u16, pages: u32) -> Option<u64> {
        let address = self.kernel(|manager| manager.reserve(number, pages)).ok()?;
        self.tasks.get_mut(&number).unwrap().ranges.push((address, pages));
        Some(address)
    }

    /// Discards or releases a range of the task.
    pub fn give_up(&mut self, number: u16, range: usize, release: bool) {
        let task = self.tasks.get_mut(&number).unwrap();
        let (address, pages) = task.ranges[range];
        let end = address + pages as u64 * PAGE;
        task.memory.retain(|known, _| !(address..end).contains(known));
        if release {
            task.ranges.swap_remove(range);
            assert!(self.kernel(|manager| manager.release(number, address)));
        } else {
            assert!(self.kernel(|manager| manager.discard(number, address)));
        }
    }

    /// One access of the CPU, through the TLB and the tables.
    fn translate(&mut self, address: u64, access: Access) -> Result<u64, Cause> {
        let entry = ((self.ttbr0 >> 48) as u16, address & !(PAGE - 1));
        if !self.tlb.contains_key(&entry) {
            let descriptor = if address >> 48 == 0 { walk(self.ttbr0 & OUTPUT, address) } else { 0 };
            if descriptor & VALID == 0 {
                return Err(Cause::Translation);
            }
            if descriptor & ACCESS_FLAG == 0 {
                return Err(Cause::AccessFlag);
            }
            self.tlb.insert(entry, descriptor);
        }
        let descriptor = self.tlb[&entry];
        let forbidden = match access {
            Access::Read => 0,
            Access::Write => READ_ONLY,
            Access::Execute => EXECUTE_NEVER,
        };
        if descriptor & forbidden == 0 { Ok((descriptor & OUTPUT) + address % PAGE) } else { Err(Cause::Permission) }
    }

    /// Task `number` accesses `address`. Returns the physical address. A fault that the manager has resolved must not
    /// happen again.
    pub fn access(&mut self, number: u16, address: u64, access: Access) -> Result<u64, EndReason> {
        self.switch_to(number);
        let mut causes = Vec::new();
        loop {
            let cause = match self.translate(address, access) {
                Ok(physical) => return Ok(physical),
                Err(cause) => cause,
            };
            // The access flag is checked before the permissions: an access may take one fault of each.
            let again = causes.iter().any(|&before| (before == Cause::AccessFlag) == (cause == Cause::AccessFlag));
            assert!(!again, "{access:?} of {address:#x}: {cause:?} after {causes:?} were resolved");
            causes.push(cause);
            let stack_pointer = self.tasks[&number].stack_pointer;
            let fault = Fault { task: number, address, access, cause, stack_pointer };
            loop {
                match self.kernel(|manager| manager.handle_fault(fault)) {
                    Ok(()) => break,
                    Err(Unresolved::End(reason)) => return Err(reason),
                    Err(Unresolved::EndOther(victim)) => {
                        assert_ne!(victim.task, number);
                        self.end(victim.task);
                        self.victims.push(victim);
                    }
                }
            }
        }
    }

    pub fn write(&mut self, number: u16, address: u64, value: u64) -> Result<(), EndReason> {
        let physical = self.access(number, address, Access::Write)?;
        set_word(physical, value);
        self.tasks.get_mut(&number).unwrap().memory.insert(address, value);
        Ok(())
    }

    /// Reads a word, and checks that it is the one that the task wrote last, or 0.
    pub fn read(&mut self, number: u16, address: u64) -> Result<(), EndReason> {
        let physical = self.access(number, address, Access::Read)?;
        let expected = self.tasks[&number].memory.get(&address).copied().unwrap_or(0);
        assert_eq!(word(physical), expected, "task {number} at {address:#x}");
        Ok(())
    }

    /// Reads the task page, which has the same address in every space.
    pub fn read_task_page(&mut self, number: u16) {
        let physical = self.access(number, TASK_PAGE_BASE, Access::Read).expect("the task page is mapped");
        assert_eq!(word(physical), number as u64, "task {number} saw another's memory");
    }

    /// Pushes: stores below the stack pointer and moves it there, in one instruction (`STP …, [SP, #-bytes]!`) or the
    /// pointer first.
    pub fn push(&mut self, number: u16, bytes: u64, in_one: bool, value: u64) -> Result<(), EndReason> {
        let slot = self.tasks[&number].slot;
        let before = self.manager.stack_manager.stacks[slot].growth_count;
        let target = self.tasks[&number].stack_pointer - bytes;
        self.switch_to(number);
        if !in_one {
            self.tasks.get_mut(&number).unwrap().stack_pointer = target;
        }
        let result = self.write(number, target, value);
        self.growths += self.manager.stack_manager.stacks[slot].growth_count - before;
        if result.is_ok() {
            self.tasks.get_mut(&number).unwrap().stack_pointer = target;
        }
        result
    }

    pub fn pop(&mut self, number: u16, bytes: u64) {
        self.switch_to(number);
        let top = self.manager.stack_manager.stacks[self.tasks[&number].slot].base_address;
        let task = self.tasks.get_mut(&number).unwrap();
        let below = task.stack_pointer;
        task.stack_pointer = (below + bytes).min(top);
        let gone = below..task.stack_pointer;
        task.memory.retain(|address, _| !gone.contains(address));
    }
}
