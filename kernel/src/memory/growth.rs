//! How many pages a stack grows by when it is pushed past its mapped part.

/// A stack's growth policy.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowthPolicy {
    /// One page at a time.
    Conservative = 0,
    /// Several pages at a time.
    Aggressive = 1,
    /// As many as the stack's own history lets expect.
    Predictive = 2,
}

/// Pages that [`GrowthPolicy::Aggressive`] adds at a time.
pub const AGGRESSIVE_PAGES: u32 = 4;
/// The most that [`GrowthPolicy::Predictive`] adds at a time, in pages.
pub const PREDICTIVE_LIMIT: u32 = 16;
/// Growths that follow within this many counts of the generic timer belong to one descent (10 ms at 62.5 MHz).
pub const DESCENT_COUNTS: u64 = 625_000;

/// What the predictive policy knows of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Pages mapped now.
    pub mapped: u32,
    /// The most pages that were ever mapped.
    pub high_water: u32,
    /// Pages added by the last growth; 0 before the first.
    pub last_growth: u32,
    /// Generic timer counts since the last growth.
    pub since_last: u64,
}

/// Pages to add, at least `needed` (what reaches the faulting page) and at most `room` (what `max_size` leaves).
/// The caller has seen that `needed <= room`.
pub fn pages_to_add(policy: GrowthPolicy, needed: u32, room: u32, history: History) -> u32 {
    let wanted = match policy {
        GrowthPolicy::Conservative => 1,
        GrowthPolicy::Aggressive => AGGRESSIVE_PAGES,
        GrowthPolicy::Predictive => predict(history),
    };
    wanted.max(needed).min(room)
}

/// A stack that was deeper before will probably go there again: halfway at once. One that is growing for the first
/// time doubles its step while the descent lasts, and starts over with one page after a pause.
fn predict(history: History) -> u32 {
    let below_high_water = history.high_water.saturating_sub(history.mapped);
    if below_high_water > 1 {
        return below_high_water.div_ceil(2).min(PREDICTIVE_LIMIT);
    }
    if history.last_growth > 0 && history.since_last < DESCENT_COUNTS {
        return (history.last_growth * 2).min(PREDICTIVE_LIMIT);
    }
    1
}
