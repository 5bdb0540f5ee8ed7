//! The frame allocator: a bit map with one bit for each frame, a summary of the bit map, a small cache of frames, and a
//! reverse map.
//!
//! Each frame is in exactly one state: free, cached, retired (beyond the limit) or used. So
//! `free + cached + retired + used == total` always holds.

use super::layout::{MAX_TASKS, PAGE_SHIFT, POOL_BASE, POOL_FRAMES};
use super::quotas::{Quota, Quotas};

/// The most frames in the cache.
pub const CACHE_FRAMES: usize = 64;
const WORDS: usize = POOL_FRAMES / 64;
const SUMMARY_WORDS: usize = WORDS.div_ceil(64);

/// Physical address of a frame of the pool. There is no other value of this type, and the kernel keeps nothing of its own
/// in the pool, only tables and tasks' pages: so nothing that is done to the frame can break the kernel's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAddress(u64);

impl FrameAddress {
    /// `address`, if a frame of the pool starts there.
    #[inline(always)]
    pub const fn new(address: u64) -> Option<Self> {
        // One comparison also for the bits below the page number: they become the topmost.
        let number = address.wrapping_sub(POOL_BASE).rotate_right(PAGE_SHIFT);
        if number < POOL_FRAMES as u64 { Some(FrameAddress(address)) } else { None }
    }

    /// The address as a number.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a frame is used for.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUse {
    Free = 0,
    /// In the frame cache, which is used first.
    Cached = 1,
    /// A translation table of task `owner`; `index` has its place (`tables.rs`): its level in bits 1:0.
    Table = 2,
    /// The lazy page whose record is `index`.
    LazyPage = 3,
    /// Page `index & 0xffff` (0 = the topmost) of stack slot `index >> 16`.
    Stack = 4,
    /// The one shared zero page.
    ZeroPage = 5,
    /// Free, but beyond the pool's limit.
    Retired = 6,
    /// The page at `TASK_PAGE_BASE` of task `owner`.
    TaskPage = 7,
}

/// The reverse map's entry of a frame: how to find the page that is mapped to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    pub usage: FrameUse,
    pub reserved: u8,
    /// Task that owns it; 0 for none.
    pub owner: u16,
    pub index: u32,
}

impl FrameInfo {
    pub const fn new(usage: FrameUse, owner: u16, index: u32) -> Self {
        Self { usage, reserved: 0, owner, index }
    }

    const FREE: FrameInfo = FrameInfo::new(FrameUse::Free, 0, 0);

    /// Whether the frame is used: not free, cached or retired.
    pub fn is_used(&self) -> bool {
        !matches!(self.usage, FrameUse::Free | FrameUse::Cached | FrameUse::Retired)
    }

    /// Whether the reverse map tells which descriptor points to the frame, so that what is in it can be moved. The
    /// kernel's own table and the zero page stay where they are.
    pub fn is_movable(&self) -> bool {
        match self.usage {
            FrameUse::LazyPage | FrameUse::Stack | FrameUse::TaskPage => true,
            FrameUse::Table => self.owner != 0,
            _ => false,
        }
    }
}

/// The dynamic pool. Frames are numbered from 0 at physical address `base`.
#[repr(C)]
pub struct FrameAllocator {
    /// Physical address of frame 0.
    pub base: u64,
    /// Frames of the pool.
    pub total_frames: u32,
    /// Frames from this number on are not allocated.
    pub limit_frames: u32,
    pub free_frames: u32,
    pub cached_frames: u32,
    pub retired_frames: u32,
    /// Frames allocated since boot.
    pub allocation_count: u64,
    /// Frames released since boot.
    pub release_count: u64,
    /// Allocations that found no free frame.
    pub failure_count: u32,
    /// Frames of each task, and the most that it may own.
    pub quotas: Quotas,
    cache: [u32; CACHE_FRAMES],
    /// One bit for each word of `free_map`: set when the word is not 0.
    summary: [u64; SUMMARY_WORDS],
    /// One bit for each frame: set when it is free.
    pub free_map: [u64; WORDS],
    pub info: [FrameInfo; POOL_FRAMES],
}

impl FrameAllocator {
    pub const fn new() -> Self {
        Self {
            base: 0,
            total_frames: 0,
            limit_frames: 0,
            free_frames: 0,
            cached_frames: 0,
            retired_frames: 0,
            allocation_count: 0,
            release_count: 0,
            failure_count: 0,
            quotas: [Quota::EMPTY; MAX_TASKS + 1],
            cache: [0; CACHE_FRAMES],
            summary: [0; SUMMARY_WORDS],
            free_map: [0; WORDS],
            info: [FrameInfo::FREE; POOL_FRAMES],
        }
    }

    /// Makes every frame free, with no quota reached.
    pub fn initialize(&mut self) {
        self.quotas = [Quota { used: 0, max: u32::MAX }; MAX_TASKS + 1];
        self.base = POOL_BASE;
        self.total_frames = POOL_FRAMES as u32;
        self.limit_frames = self.total_frames;
        for frame in 0..self.total_frames {
            self.put_in_pool(frame);
        }
    }

    /// Physical address of frame number `frame`. Panics if the pool does not have that many.
    #[inline]
    pub fn address(&self, frame: u32) -> FrameAddress {
        assert!((frame as usize) < POOL_FRAMES, "there is no such frame");
        FrameAddress(POOL_BASE + ((frame as u64) << PAGE_SHIFT))
    }

    /// Number of the frame that contains physical address `address`, if that is in the pool.
    #[inline]
    pub fn number(&self, address: u64) -> Option<u32> {
        let number = address.checked_sub(self.base)? >> PAGE_SHIFT;
        (number < self.total_frames as u64).then_some(number as u32)
    }

    /// Frames in use.
    pub fn used_frames(&self) -> u32 {
        self.total_frames - self.free_frames - self.cached_frames - self.retired_frames
    }

    /// Frames that can be allocated: free or cached.
    #[inline]
    pub fn available_frames(&self) -> u32 {
        self.free_frames + self.cached_frames
    }

    /// Allocates a frame: the one last put in the cache, else the lowest free one. None if there is none, or if the
    /// owner has reached its quota.
    #[inline]
    pub fn allocate(&mut self, info: FrameInfo) -> Option<u32> {
        if self.quotas[info.owner as usize].is_reached() {
            return None;
        }
        let frame = if self.cached_frames > 0 {
            self.cached_frames -= 1;
            self.cache[self.cached_frames as usize]
        } else {
            match self.lowest_free() {
                Some(frame) => {
                    self.take_from_pool(frame);
                    frame
                }
                None => {
                    self.failure_count += 1;
                    return None;
                }
            }
        };
        self.allocation_count += 1;
        self.quotas[info.owner as usize].used += 1;
        self.info[frame as usize] = info;
        Some(frame)
    }

    /// Allocates frame `frame` if it is free or cached, even if the owner's quota is reached: a page that moves has two frames for
    /// a moment. Returns whether it was.
    pub fn claim(&mut self, frame: u32, info: FrameInfo) -> bool {
        match self.info.get(frame as usize).map(|known| known.usage) {
            Some(FrameUse::Free) if frame < self.limit_frames => self.take_from_pool(frame),
            Some(FrameUse::Cached) => {
                let held = self.cached_frames as usize;
                let Some(place) = self.cache[..held].iter().position(|&cached| cached == frame) else { return false };
                self.cache[place] = self.cache[held - 1];
                self.cached_frames -= 1;
            }
            _ => return false,
        }
        self.allocation_count += 1;
        self.quotas[info.owner as usize].used += 1;
        self.info[frame as usize] = info;
        true
    }

    /// Releases a used frame: into the cache, or into the pool if the cache is full.
    #[inline]
    pub fn release(&mut self, frame: u32) {
        if (self.cached_frames as usize) < CACHE_FRAMES && frame < self.limit_frames {
            debug_assert!(self.info[frame as usize].is_used(), "frame released twice");
            self.release_count += 1;
            self.quotas[self.info[frame as usize].owner as usize].used -= 1;
            self.info[frame as usize] = FrameInfo::new(FrameUse::Cached, 0, 0);
            self.cache[self.cached_frames as usize] = frame;
            self.cached_frames += 1;
        } else {
            self.release_to_pool(frame);
        }
    }

    /// Releases a used frame into the pool, not into the cache.
    pub fn release_to_pool(&mut self, frame: u32) {
        debug_assert!(self.info[frame as usize].is_used(), "frame released twice");
        self.release_count += 1;
        self.quotas[self.info[frame as usize].owner as usize].used -= 1;
        if frame < self.limit_frames {
            self.put_in_pool(frame);
        } else {
            self.info[frame as usize] = FrameInfo::new(FrameUse::Retired, 0, 0);
            self.retired_frames += 1;
        }
    }

    /// Returns all cached frames to the pool. Returns how many.
    pub fn drain_cache(&mut self) -> u32 {
        let held = core::mem::take(&mut self.cached_frames);
        for place in 0..held as usize {
            self.put_in_pool(self.cache[place]);
        }
        held
    }

    /// Limits the pool to its first `limit` frames. Frames in use beyond the limit stay in use until their pages are
    /// released or moved.
    pub fn set_limit(&mut self, limit: u32) {
        let limit = limit.min(self.total_frames);
        self.drain_cache();
        for frame in limit..self.limit_frames {
            if self.info[frame as usize].usage == FrameUse::Free {
                self.take_from_pool(frame);
                self.info[frame as usize] = FrameInfo::new(FrameUse::Retired, 0, 0);
                self.retired_frames += 1;
            }
        }
        for frame in self.limit_frames..limit {
            if self.info[frame as usize].usage == FrameUse::Retired {
                self.retired_frames -= 1;
                self.put_in_pool(frame);
            }
        }
        self.limit_frames = limit;
    }

    /// The lowest free frame.
    #[inline]
    pub fn lowest_free(&self) -> Option<u32> {
        for (place, &summary) in self.summary.iter().enumerate() {
            if summary != 0 {
                let word = place * 64 + summary.trailing_zeros() as usize;
                return Some((word * 64) as u32 + self.free_map[word].trailing_zeros());
            }
        }
        None
    }

    /// Length of the longest run of free frames.
    pub fn longest_free_run(&self) -> u32 {
        let (mut longest, mut current) = (0u32, 0u32);
        for &word in &self.free_map {
            match word {
                0 => current = 0,
                u64::MAX => current += 64,
                _ => {
                    for bit in 0..64 {
                        current = if word >> bit & 1 == 1 { current + 1 } else { 0 };
                        longest = longest.max(current);
                    }
                }
            }
            longest = longest.max(current);
        }
        longest
    }

    #[inline]
    fn take_from_pool(&mut self, frame: u32) {
        let word = frame as usize / 64;
        self.free_map[word] &= !(1 << (frame % 64));
        if self.free_map[word] == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
        self.free_frames -= 1;
    }

    #[inline]
    fn put_in_pool(&mut self, frame: u32) {
        let word = frame as usize / 64;
        self.free_map[word] |= 1 << (frame % 64);
        self.summary[word / 64] |= 1 << (word % 64);
        self.info[frame as usize] = FrameInfo::FREE;
        self.free_frames += 1;
    }
}

impl Default for FrameAllocator {
    fn default() -> Self {
        Self::new()
    }
}
