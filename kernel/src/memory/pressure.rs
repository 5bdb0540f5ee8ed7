//! Memory pressure: the level, which follows from the pool's free frames, and the choice of strategies against it.

/// How scarce free frames are.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PressureLevel {
    Low = 0,
    Medium = 1,
    High = 2,
    Critical = 3,
}

impl PressureLevel {
    pub const ALL: [PressureLevel; 4] =
        [PressureLevel::Low, PressureLevel::Medium, PressureLevel::High, PressureLevel::Critical];
}

/// A strategy against memory pressure.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Returns cached frames to the pool, and maps the zero page in place of lazy pages that contain only zeros.
    CacheOptimization = 0,
    /// Unmaps stack pages below the stack pointer, and releases empty translation tables.
    PressureRelief = 1,
    /// Moves pages out of frames beyond the pool's limit, then out of the 2 MiB section with the fewest pages.
    PageMigration = 2,
    /// Moves pages into the lowest free frames, so that the free frames form one run.
    Defragmentation = 3,
}

impl Strategy {
    pub const ALL: [Strategy; 4] =
        [Strategy::CacheOptimization, Strategy::PressureRelief, Strategy::PageMigration, Strategy::Defragmentation];

    /// The strategies that can free a frame, cheapest first. The others only move pages.
    pub const FREE_FRAMES: [Strategy; 2] = [Strategy::CacheOptimization, Strategy::PressureRelief];

    /// What the strategy is for.
    pub const fn need(self) -> Need {
        match self {
            Strategy::CacheOptimization | Strategy::PressureRelief => Need::Frames,
            Strategy::PageMigration | Strategy::Defragmentation => Need::Run,
        }
    }

    /// The unit in which the strategy counts its gain: that of its need.
    pub const fn unit(self) -> &'static str {
        self.need().unit()
    }
}

/// What is missing. All strategies for a need count their gain in the same unit, so that their gains compare.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Free frames.
    Frames = 0,
    /// Free frames in one run.
    Run = 1,
}

impl Need {
    pub const ALL: [Need; 2] = [Need::Frames, Need::Run];

    pub const fn unit(self) -> &'static str {
        match self {
            Need::Frames => "frames",
            Need::Run => "frames in one run",
        }
    }
}

/// The threshold of a level, in free frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The level is entered when fewer frames than this are free.
    pub enter_below: u32,
    /// The level is left when at least this many are free again.
    pub leave_at: u32,
}

/// The runs of a strategy and their gain.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StrategyRecord {
    pub strategy: Strategy,
    /// Number of times that it was skipped because its last run had no gain.
    pub skip_count: u32,
    pub run_count: u32,
    /// Gain of the last run, in the unit of the strategy's need: how many frames more are free, or are in the longest
    /// free run.
    pub last_won: u32,
    /// The expected gain, in sixteenths: an exponentially weighted average, to which a run adds a quarter of the
    /// difference.
    pub average_won: u32,
    /// Total gain.
    pub total_won: u64,
    /// Pages and tables that it moved.
    pub pages_moved: u64,
    /// Generic timer count of the last run.
    pub last_run_time: u64,
    /// Calls of `choose` that skip the strategy before its next run, and how many of them are left.
    pub backoff: u8,
    pub backoff_left: u8,
}

impl StrategyRecord {
    const EMPTY: StrategyRecord = StrategyRecord {
        strategy: Strategy::CacheOptimization,
        skip_count: 0,
        run_count: 0,
        last_won: 0,
        average_won: 0,
        total_won: 0,
        pages_moved: 0,
        last_run_time: 0,
        backoff: 0,
        backoff_left: 0,
    };
}

/// The most calls of `choose` in a row that skip a strategy without gain.
pub const BACKOFF_LIMIT: u8 = 8;
/// Where Medium, High and Critical are entered and left, in per cent of the pool's limit.
pub const THRESHOLD_PERCENT: [(u32, u32); 3] = [(50, 55), (25, 30), (10, 15)];

#[repr(C)]
pub struct MemoryPressureHandler {
    pub level: PressureLevel,
    /// Free frames at the last check.
    pub free_frames: u32,
    /// The pool's limit in frames: 100 per cent for the thresholds.
    pub limit_frames: u32,
    /// Of Medium, High and Critical.
    pub thresholds: [Threshold; 3],
    /// Number of times that each level was entered.
    pub level_events: [u32; 4],
    pub strategies: [StrategyRecord; 4],
    /// Generic timer count of the last change of level.
    pub last_change_time: u64,
    /// The level does not change while `level_kept_from <= free frames < level_kept_below`.
    level_kept_from: u32,
    level_kept_below: u32,
}

impl MemoryPressureHandler {
    pub const fn new() -> Self {
        Self {
            level: PressureLevel::Low,
            free_frames: 0,
            limit_frames: 0,
            thresholds: [Threshold { enter_below: 0, leave_at: 0 }; 3],
            level_events: [0; 4],
            strategies: [StrategyRecord::EMPTY; 4],
            last_change_time: 0,
            level_kept_from: 0,
            level_kept_below: 0,
        }
    }

    /// Sets up the strategies' records and the thresholds. [`Self::new`] leaves this out, so that the manager is all
    /// zeros until boot and takes no space in the image.
    pub fn initialize(&mut self, limit_frames: u32) {
        for (record, strategy) in self.strategies.iter_mut().zip(Strategy::ALL) {
            record.strategy = strategy;
        }
        self.set_limit(limit_frames);
    }

    /// Computes the thresholds from the pool's limit, in frames.
    pub fn set_limit(&mut self, limit_frames: u32) {
        self.limit_frames = limit_frames;
        for (threshold, (enter, leave)) in self.thresholds.iter_mut().zip(THRESHOLD_PERCENT) {
            threshold.enter_below = (limit_frames as u64 * enter as u64 / 100) as u32;
            threshold.leave_at = (limit_frames as u64 * leave as u64 / 100) as u32;
        }
        self.update_kept_range();
    }

    /// Whether the level stays the same with `free_frames`; if not, call [`Self::update`]. Two comparisons on each
    /// allocation.
    #[inline(always)]
    pub fn keeps_level(&self, free_frames: u32) -> bool {
        free_frames >= self.level_kept_from && free_frames < self.level_kept_below
    }

    /// Computes the level from the free frames. Returns the former level if it changed.
    pub fn update(&mut self, free_frames: u32, now: u64) -> Option<PressureLevel> {
        self.free_frames = free_frames;
        let level = level_of(self.level, free_frames, &self.thresholds);
        if level == self.level {
            return None;
        }
        let former = core::mem::replace(&mut self.level, level);
        self.level_events[level as usize] += 1;
        self.last_change_time = now;
        self.update_kept_range();
        Some(former)
    }

    /// The strategies to run now for `need`: those that the level allows and that are not backing off, ordered by their
    /// expected gain, greatest first.
    pub fn choose(&mut self, need: Need) -> impl Iterator<Item = Strategy> + use<> {
        let mut chosen: [Option<(u32, Strategy)>; 4] = [None; 4];
        let mut count = 0;
        for &strategy in allowed(self.level).iter().filter(|strategy| strategy.need() == need) {
            let record = &mut self.strategies[strategy as usize];
            if record.backoff_left > 0 {
                record.backoff_left -= 1;
                record.skip_count += 1;
                continue;
            }
            // A strategy that never ran comes first: its gain is not known yet.
            let expected_gain = if record.run_count == 0 { u32::MAX } else { record.average_won };
            chosen[count] = Some((expected_gain, strategy));
            count += 1;
        }
        // A stable sort: equal ones stay in the order of `allowed`, cheapest first.
        for end in 1..count {
            let mut place = end;
            while place > 0 && chosen[place - 1].map(|c| c.0) < chosen[place].map(|c| c.0) {
                chosen.swap(place - 1, place);
                place -= 1;
            }
        }
        chosen.into_iter().flatten().map(|(_, strategy)| strategy)
    }

    /// Records a run of `strategy` at timer count `now` with the gain `won`.
    pub fn record_run(&mut self, strategy: Strategy, won: u32, now: u64) {
        let record = &mut self.strategies[strategy as usize];
        record.run_count += 1;
        record.last_won = won;
        let sixteenths = won.saturating_mul(16);
        record.average_won = match record.run_count {
            1 => sixteenths,
            _ => (record.average_won as u64 * 3 / 4 + sixteenths as u64 / 4) as u32,
        };
        record.total_won += won as u64;
        record.last_run_time = now;
        record.backoff = if won > 0 { 0 } else { (record.backoff * 2).clamp(1, BACKOFF_LIMIT) };
        record.backoff_left = record.backoff;
    }

    fn update_kept_range(&mut self) {
        let level = self.level as usize;
        self.level_kept_from = self.thresholds.get(level).map_or(0, |next| next.enter_below);
        self.level_kept_below = if level == 0 { u32::MAX } else { self.thresholds[level - 1].leave_at };
    }
}

impl Default for MemoryPressureHandler {
    fn default() -> Self {
        Self::new()
    }
}

/// The level for `free` frames, starting from level `current`: up as soon as `free` is below a threshold's
/// `enter_below`, down only when it reaches `leave_at`.
pub fn level_of(current: PressureLevel, free: u32, thresholds: &[Threshold; 3]) -> PressureLevel {
    let mut level = current as usize;
    while level < 3 && free < thresholds[level].enter_below {
        level += 1;
    }
    while level > 0 && free >= thresholds[level - 1].leave_at {
        level -= 1;
    }
    PressureLevel::ALL[level]
}

/// The strategies allowed at a level, cheapest first.
pub fn allowed(level: PressureLevel) -> &'static [Strategy] {
    match level {
        PressureLevel::Low => &[],
        PressureLevel::Medium => &[Strategy::CacheOptimization, Strategy::PageMigration],
        PressureLevel::High => {
            &[Strategy::CacheOptimization, Strategy::PressureRelief, Strategy::PageMigration, Strategy::Defragmentation]
        }
        PressureLevel::Critical => &Strategy::ALL,
    }
}
