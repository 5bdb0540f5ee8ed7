//! Address spaces, and the switch from one to another by TTBR0 and ASID.

use super::asid::{Allocation, AsidAllocator};
use super::layout::MAX_TASKS;
use crate::hardware;
use crate::probes::{SWITCH, probe};

/// A TTBR0 table and the ASID it is used with. Entry `n` belongs to task `n`; entry 0, an empty table with ASID 0,
/// to the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AddressSpace {
    /// Physical address of its level 0 table; 0 in an entry that is not in use.
    pub table: u64,
    /// Good while `generation` is the allocator's.
    pub asid: u16,
    pub is_active: bool,
    /// Id of the stack that its task runs on; 0 for none.
    pub stack: u32,
    /// Generation that `asid` is of; 0 before it ever had one.
    pub generation: u64,
    /// Switches to it.
    pub switch_count: u64,
}

impl AddressSpace {
    pub const UNUSED: AddressSpace =
        AddressSpace { table: 0, asid: 0, is_active: false, stack: 0, generation: 0, switch_count: 0 };
}

/// TLB invalidations by kind, since boot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Invalidations {
    /// `TLBI VAE1`, `VAAE1`: of one page.
    pub by_address: u64,
    /// `TLBI ASIDE1`: of one address space.
    pub by_asid: u64,
    /// `TLBI VMALLE1`: of everything.
    pub everything: u64,
}

#[repr(C)]
pub struct HardwareContextSwitcher {
    /// The space in TTBR0.
    pub current: u16,
    /// Switches since boot.
    pub switch_count: u64,
    /// Of them, those that found their ASID of the current generation and so invalidated nothing.
    pub fast_switch_count: u64,
    pub invalidations: Invalidations,
    pub spaces: [AddressSpace; MAX_TASKS + 1],
    pub asids: AsidAllocator,
}

impl HardwareContextSwitcher {
    pub const fn new() -> Self {
        Self {
            current: 0,
            switch_count: 0,
            fast_switch_count: 0,
            invalidations: Invalidations { by_address: 0, by_asid: 0, everything: 0 },
            spaces: [AddressSpace::UNUSED; MAX_TASKS + 1],
            asids: AsidAllocator::new(),
        }
    }

    /// Puts space `number` into TTBR0, with an ASID of the current generation. Nothing is invalidated unless the
    /// ASIDs roll over. Gives whether they did.
    #[inline]
    pub fn switch_to(&mut self, number: u16) -> bool {
        let (mut fast, mut rolled_over) = (true, false);
        if self.spaces[number as usize].generation != self.asids.generation {
            fast = number == 0;
            rolled_over = self.renew_asid(number);
        }
        let space = &mut self.spaces[number as usize];
        space.switch_count += 1;
        let ttbr0 = space.table | (space.asid as u64) << 48;
        self.current = number;
        self.switch_count += 1;
        self.fast_switch_count += fast as u64;
        hardware::write_ttbr0(ttbr0);
        probe!(SWITCH, number as u64, ttbr0);
        rolled_over
    }

    /// Starts a new generation of `bits`-bit ASIDs; the current space gets one at once.
    pub fn restart_asids(&mut self, bits: u32) {
        self.asids.restart(bits);
        self.invalidate_everything();
        self.renew_asid(self.current);
        let space = &self.spaces[self.current as usize];
        hardware::write_ttbr0(space.table | (space.asid as u64) << 48);
    }

    /// Drops what the TLB holds of one page of space `number`.
    #[inline]
    pub fn invalidate_address(&mut self, number: u16, address: u64) {
        let space = &self.spaces[number as usize];
        // An ASID of an older generation has had its entries dropped with that generation.
        if space.generation == self.asids.generation {
            self.invalidations.by_address += 1;
            hardware::invalidate_address(space.asid, address);
        }
    }

    /// Drops all that the TLB holds of space `number`.
    pub fn invalidate_space(&mut self, number: u16) {
        let space = &self.spaces[number as usize];
        if space.generation == self.asids.generation {
            self.invalidations.by_asid += 1;
            hardware::invalidate_asid(space.asid);
        }
    }

    /// The ASID of space `number`, as events name it: 0 when it has none of the current generation.
    #[inline]
    pub fn asid_of(&self, number: u16) -> u16 {
        let space = &self.spaces[number as usize];
        if space.generation == self.asids.generation { space.asid } else { 0 }
    }

    /// Drops all that the TLB holds, with the kernel's empty table in TTBR0: were the former space still there, the
    /// CPU could walk for it between this and the switch, and keep what it finds under an ASID that another space is
    /// given in the new generation.
    fn invalidate_everything(&mut self) {
        hardware::write_ttbr0(self.spaces[0].table);
        self.invalidations.everything += 1;
        hardware::invalidate_everything();
    }

    /// Gives space `number` an ASID of the current generation, or of a new one; gives whether it is of a new one.
    #[cold]
    fn renew_asid(&mut self, number: u16) -> bool {
        let (mut asid, mut rolled_over) = (0, false);
        if number != 0 {
            Allocation { asid, rolled_over } = self.asids.allocate();
            if rolled_over {
                self.invalidate_everything();
            }
        }
        let space = &mut self.spaces[number as usize];
        space.asid = asid;
        space.generation = self.asids.generation;
        rolled_over
    }
}

impl Default for HardwareContextSwitcher {
    fn default() -> Self {
        Self::new()
    }
}
