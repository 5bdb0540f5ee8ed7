//! Address spaces, and switching between them by TTBR0 and ASID.

use super::asid::{Allocation, AsidAllocator};
use super::frames::FrameAddress;
use super::layout::MAX_TASKS;
use crate::hardware;
use crate::probes::{SWITCH, probe};

/// An address space: a TTBR0 table and its ASID. Entry `n` is the space of task `n`. Entry 0, an empty table with ASID
/// 0, is the kernel's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AddressSpace {
    /// Physical address of its level 0 table; 0 in an entry that is not in use.
    pub(super) table: u64,
    /// Valid while `generation` is the allocator's current one.
    pub asid: u16,
    pub is_active: bool,
    /// ID of the stack of its task; 0 for none.
    pub stack: u32,
    /// Generation of `asid`; 0 before the first.
    pub generation: u64,
    /// Number of switches to this space.
    pub switch_count: u64,
}

impl AddressSpace {
    pub const UNUSED: AddressSpace =
        AddressSpace { table: 0, asid: 0, is_active: false, stack: 0, generation: 0, switch_count: 0 };

    /// A space with this level 0 table, without an ASID.
    pub(crate) fn new(table: FrameAddress) -> Self {
        AddressSpace { table: table.get(), is_active: true, ..AddressSpace::UNUSED }
    }

    /// Physical address of its level 0 table; 0 in an entry that is not in use.
    pub fn table(&self) -> u64 {
        self.table
    }

    /// The value of TTBR0 for it.
    #[inline(always)]
    fn ttbr0(&self) -> u64 {
        self.table | (self.asid as u64) << 48
    }
}

/// TLB invalidations by kind, since boot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Invalidations {
    /// One page: `TLBI VAE1`.
    pub by_address: u64,
    /// One address space: `TLBI ASIDE1`.
    pub by_asid: u64,
    /// The whole TLB: `TLBI VMALLE1`.
    pub everything: u64,
}

#[repr(C)]
pub struct HardwareContextSwitcher {
    /// The space in TTBR0.
    pub current: u16,
    /// Switches since boot.
    pub switch_count: u64,
    /// Switches to a space whose ASID was of the current generation, so that nothing was invalidated.
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

    /// Switches to space `number`, with an ASID of the current generation. Invalidates nothing unless a new generation
    /// begins. Returns whether one did.
    #[inline]
    pub fn switch_to(&mut self, number: u16) -> bool {
        let (mut fast, mut rolled_over) = (true, false);
        if self.spaces[number as usize].generation != self.asids.generation {
            fast = number == 0;
            rolled_over = self.renew_asid(number);
        }
        let space = &mut self.spaces[number as usize];
        space.switch_count += 1;
        let ttbr0 = space.ttbr0();
        self.current = number;
        self.switch_count += 1;
        self.fast_switch_count += fast as u64;
        // SAFETY: as for every space in use: its table was made for it, and is freed only when no TTBR0 holds it. The fields
        // that this depends on can be written only by memory management.
        unsafe { hardware::write_ttbr0(ttbr0) };
        probe!(SWITCH, number as u64, ttbr0);
        rolled_over
    }

    /// Begins a new generation with ASIDs of `bits` bits. The current space gets a new ASID at once.
    pub fn restart_asids(&mut self, bits: u32) {
        self.asids.restart(bits);
        self.invalidate_everything();
        self.renew_asid(self.current);
        let ttbr0 = self.spaces[self.current as usize].ttbr0();
        // SAFETY: see `switch_to`.
        unsafe { hardware::write_ttbr0(ttbr0) };
    }

    /// Replaces the level 0 table of space `number` by the one at physical address `table`, which `fill` fills in. The
    /// old table is in no TTBR0 and no TLB any more when `fill` is called.
    pub(super) fn replace_root(&mut self, number: u16, table: FrameAddress, fill: impl FnOnce()) {
        let is_current = self.current == number;
        if is_current {
            // SAFETY: see `switch_to`.
            unsafe { hardware::write_ttbr0(self.spaces[0].table) };
        }
        self.invalidate_space(number);
        fill();
        hardware::publish();
        let space = &mut self.spaces[number as usize];
        space.table = table.get();
        if is_current {
            // SAFETY: see `switch_to`; `fill` has copied the former table.
            unsafe { hardware::write_ttbr0(space.ttbr0()) };
        }
    }

    /// Invalidates the TLB entry of one page of space `number`.
    #[inline]
    pub fn invalidate_address(&mut self, number: u16, address: u64) {
        let space = &self.spaces[number as usize];
        // Entries of older generations were invalidated when the current one began.
        if space.generation == self.asids.generation {
            self.invalidations.by_address += 1;
            hardware::invalidate_address(space.asid, address);
        }
    }

    /// Invalidates all TLB entries of space `number`.
    pub fn invalidate_space(&mut self, number: u16) {
        let space = &self.spaces[number as usize];
        if space.generation == self.asids.generation {
            self.invalidations.by_asid += 1;
            hardware::invalidate_asid(space.asid);
        }
    }

    /// The ASID of space `number` for an event: 0 if it is not of the current generation.
    #[inline]
    pub fn asid_of(&self, number: u16) -> u16 {
        let space = &self.spaces[number as usize];
        if space.generation == self.asids.generation { space.asid } else { 0 }
    }

    /// Invalidates the whole TLB, with the kernel's empty table in TTBR0. With the old space in TTBR0, the CPU could
    /// walk its tables before the switch, and cache entries under an ASID that the new generation gives to another
    /// space.
    fn invalidate_everything(&mut self) {
        // SAFETY: see `switch_to`.
        unsafe { hardware::write_ttbr0(self.spaces[0].table) };
        self.invalidations.everything += 1;
        hardware::invalidate_everything();
    }

    /// Gives space `number` an ASID of the current generation, or of a new one. Returns whether a new one began.
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
