//! The ASID allocator, which works by generations.
//!
//! An ASID is valid while its generation is the current one. When all ASIDs are taken, a new generation begins: the
//! whole TLB is invalidated once, and every address space gets a new ASID when it is next switched to. ASID 0 belongs to
//! the kernel, whose TTBR0 table is empty.

/// The most bits that an ASID can have (`ID_AA64MMFR0_EL1.ASIDBits`).
pub const MAX_ASID_BITS: u32 = 16;
const WORDS: usize = (1 << MAX_ASID_BITS) / 64;

#[repr(C)]
pub struct AsidAllocator {
    /// ASID bits in use.
    pub bits: u32,
    /// Where the search for a free ASID starts.
    next: u32,
    /// The current generation, counted from 1.
    pub generation: u64,
    /// Generations that ended because every ASID was taken.
    pub rollover_count: u64,
    /// ASIDs allocated since boot.
    pub allocation_count: u64,
    taken: [u64; WORDS],
}

/// The result of [`AsidAllocator::allocate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub asid: u16,
    /// A new generation began: the caller must invalidate the whole TLB before it uses the ASID.
    pub rolled_over: bool,
}

impl AsidAllocator {
    pub const fn new() -> Self {
        Self { bits: 0, next: 0, generation: 0, rollover_count: 0, allocation_count: 0, taken: [0; WORDS] }
    }

    /// Begins a new generation with ASIDs of `bits` bits (2 to 16). The caller must invalidate the whole TLB.
    pub fn restart(&mut self, bits: u32) {
        self.bits = bits.clamp(2, MAX_ASID_BITS);
        self.begin_generation();
    }

    /// Allocates an ASID of the current generation, or begins the next generation if none is free.
    pub fn allocate(&mut self) -> Allocation {
        self.allocation_count += 1;
        if let Some(asid) = self.take_free() {
            return Allocation { asid, rolled_over: false };
        }
        self.rollover_count += 1;
        self.begin_generation();
        // A new generation has at least three free ASIDs, as `bits` is at least 2.
        Allocation { asid: self.take_free().unwrap_or(1), rolled_over: true }
    }

    /// Frees an ASID of the current generation. The caller has invalidated its TLB entries.
    pub fn release(&mut self, asid: u16, generation: u64) {
        if generation == self.generation && asid != 0 {
            self.taken[asid as usize / 64] &= !(1 << (asid % 64));
        }
    }

    /// ASIDs taken in this generation, including the kernel's 0.
    pub fn taken_count(&self) -> u32 {
        self.taken.iter().map(|word| word.count_ones()).sum()
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
        self.taken = [0; WORDS];
        self.taken[0] = 1;
        self.next = 1;
    }

    /// Takes the next free ASID (next fit), so that an ASID is reused as late as possible.
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
