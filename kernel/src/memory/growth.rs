//! Growth policies: by how many pages a stack grows when a push goes below its mapped part.

/// A stack's growth policy.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowthPolicy {
    /// One page at a time.
    Conservative = 0,
    /// Several pages at a time.
    Aggressive = 1,
    /// As many as the stack's history suggests.
    Predictive = 2,
}

/// Pages that [`GrowthPolicy::Aggressive`] adds at a time.
pub const AGGRESSIVE_PAGES: u32 = 4;
/// The most pages that [`GrowthPolicy::Predictive`] adds at a time.
pub const PREDICTIVE_LIMIT: u32 = 16;
/// Growths less than this apart are one descent.
pub const DESCENT_MILLISECONDS: u64 = 10;

/// The history of a stack, for the predictive policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Pages mapped now.
    pub mapped: u32,
    /// The most pages that were ever mapped.
    pub high_water: u32,
    /// Pages added by the last growth; 0 before the first.
    pub last_growth: u32,
    /// The last growth was less than [`DESCENT_MILLISECONDS`] ago.
    pub is_descending: bool,
}

/// Pages to add: at least `needed`, to reach the faulting page, and at most `room`, to stay within `max_size`. The
/// caller has checked that `needed <= room`.
pub fn pages_to_add(policy: GrowthPolicy, needed: u32, room: u32, history: History) -> u32 {
    let wanted = match policy {
        GrowthPolicy::Conservative => 1,
        GrowthPolicy::Aggressive => AGGRESSIVE_PAGES,
        GrowthPolicy::Predictive => predict(history),
    };
    wanted.max(needed).min(room)
}

/// A stack that was deeper before will probably get there again: it grows halfway to that depth. A stack that is deeper
/// than ever before doubles its step while the descent lasts, and starts with one page after a pause.
fn predict(history: History) -> u32 {
    let below_high_water = history.high_water.saturating_sub(history.mapped);
    if below_high_water > 1 {
        return below_high_water.div_ceil(2).min(PREDICTIVE_LIMIT);
    }
    if history.is_descending {
        return (history.last_growth * 2).min(PREDICTIVE_LIMIT);
    }
    1
}
