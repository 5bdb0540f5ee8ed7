//! The ASID allocator: identifiers with generations.
//!
//! An ASID is good as long as its generation is the current one. When all are taken, a new generation starts: the
//! whole TLB is invalidated once, and every address space asks anew when it is next switched to. ASID 0 is the
//! kernel's, with an empty table behind it.

/// The most bits that an ASID has (`ID_AA64MMFR0_EL1.ASIDBits`).
pub const MAX_ASID_BITS: u32 = 16;
const WORDS: usize = (1 << MAX_ASID_BITS) / 64;

#[repr(C)]
pub struct AsidAllocator {
    /// ASID bits in use.
    pub bits: u32,
    /// Where the search for a free one starts.
    next: u32,
    /// The current generation, from 1.
    pub generation: u64,
    /// Generations that ended because every ASID was taken.
    pub rollover_count: u64,
    /// ASIDs handed out since boot.
    pub allocation_count: u64,
    taken: [u64; WORDS],
}

/// What [`AsidAllocator::allocate`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub asid: u16,
    /// A new generation began: the caller invalidates the whole TLB before the ASID is used.
    pub rolled_over: bool,
}

impl AsidAllocator {
    pub const fn new() -> Self {
        Self { bits: 0, next: 0, generation: 0, rollover_count: 0, allocation_count: 0, taken: [0; WORDS] }
    }

    /// Starts a new generation of `bits`-bit ASIDs (2 to 16). The caller invalidates the whole TLB.
    pub fn restart(&mut self, bits: u32) {
        self.bits = bits.clamp(2, MAX_ASID_BITS);
        self.begin_generation();
    }

    /// A free ASID of the current generation; begins the next one if there is none.
    pub fn allocate(&mut self) -> Allocation {
        self.allocation_count += 1;
        if let Some(asid) = self.take_free() {
            return Allocation { asid, rolled_over: false };
        }
        self.rollover_count += 1;
        self.begin_generation();
        // A generation that has just begun has at least three free ASIDs: `bits` is 2 or more.
        Allocation { asid: self.take_free().unwrap_or(1), rolled_over: true }
    }

    /// Gives an ASID of the current generation back. The caller has invalidated its TLB entries.
    pub fn release(&mut self, asid: u16, generation: u64) {
        if generation == self.generation && asid != 0 {
            self.taken[asid as usize / 64] &= !(1 << (asid % 64));
        }
    }

    /// ASIDs taken in this generation, the kernel's 0 included.
    pub fn taken_count(&self) -> u32 {
        self.taken.iter().map(|word| word.count_ones()).sum()
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
        self.taken = [0; WORDS];
        self.taken[0] = 1;
        self.next = 1;
    }

    /// Next fit, so that an ASID is reused as late as may be.
    fn take_free(&mut self) -> Option<u16> {
        let count = 1u32 << self.bits;
        let asid = self.first_free(self.next, count).or_else(|| self.first_free(1, self.next))?;
        self.taken[asid as usize / 64] |= 1 << (asid % 64);
        self.next = if asid + 1 == count { 1 } else { asid + 1 };
        Some(asid as u16)
    }

    fn first_free(&self, from: u32, to: u32) -> Option<u32> {
        let mut asid = from;
        while asid < to {
            let free = !self.taken[asid as usize / 64] >> (asid % 64);
            if free != 0 {
                let found = asid + free.trailing_zeros();
                return (found < to).then_some(found);
            }
            asid = (asid / 64 + 1) * 64;
        }
        None
    }
}

impl Default for AsidAllocator {
    fn default() -> Self {
        Self::new()
    }
}
