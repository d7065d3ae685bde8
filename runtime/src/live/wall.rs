//! Moments from the monotonic clock alone: where the wall clock is, seen from it, and when it jumps.

use crate::units::Moment;

/// A wall clock that moved by more than this against the monotonic one was set.
pub const JUMP_MS: i64 = 2000;

/// The wall clock as it stands against the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WallClock {
    last: Moment,
}

impl WallClock {
    /// As it stands `now`.
    pub fn new(now: Moment) -> WallClock {
        WallClock { last: now }
    }

    /// Looks at the clock again. By how much it was set since, in ms, where it was.
    pub fn look(&mut self, now: Moment) -> Option<i64> {
        let expected = self.at(now.monotonic_ns).wall_ms;
        self.last = now;
        let moved = now.wall_ms?.saturating_sub(expected?);
        (moved.abs() > JUMP_MS).then_some(moved)
    }

    /// The moment `monotonic_ns` of this boot, by the wall clock as it stood when it was last looked at.
    pub fn at(&self, monotonic_ns: u64) -> Moment {
        let later_ms = (i128::from(monotonic_ns) - i128::from(self.last.monotonic_ns)).div_euclid(1_000_000);
        let wall_ms = self.last.wall_ms.map(|wall| wall.saturating_add(later_ms as i64));
        Moment { monotonic_ns, wall_ms, ..self.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64, wall_ms: i64) -> Moment {
        Moment { monotonic_ns: seconds * 1_000_000_000, wall_ms: Some(wall_ms), ..Moment::UNKNOWN }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_a_clock_that_drifts_is_not() {
        let mut wall = WallClock::new(moment(10, 1_000_000));
        assert_eq!(wall.look(moment(20, 1_010_500)), None);
        assert_eq!(wall.at(15_000_000_000).wall_ms, Some(1_005_500));
        let two_years_ms = 63_072_000_000;
        assert_eq!(wall.look(moment(30, 1_020_500 + two_years_ms)), Some(two_years_ms));
        assert_eq!(wall.look(moment(40, 1_030_500 + two_years_ms)), None);
        assert_eq!(wall.at(25_000_000_000).wall_ms, Some(1_015_500 + two_years_ms));
    }

    #[test]
    fn a_device_without_a_clock_has_moments_without_one() {
        let mut wall = WallClock::new(Moment::UNKNOWN);
        assert_eq!((wall.look(moment(5, 1)), wall.look(moment(6, 1001))), (None, None));
        assert_eq!(WallClock::new(Moment::UNKNOWN).at(7).wall_ms, None);
    }
}
