//! The wall clock as text: RFC 3339 in UTC with milliseconds, as programs and people read it.

use crate::units::Moment;

/// `2026-11-27T03:49:34.120Z`; empty where the clock was not known, or is outside the years 0 to 9999 that RFC 3339 has.
pub(super) fn utc(moment: &Moment) -> String {
    const DAY_MS: i64 = 86_400_000;
    let Some(ms) = moment.wall_ms else { return String::new() };
    let (year, month, day) = date(ms.div_euclid(DAY_MS));
    if !(0..=9999).contains(&year) {
        return String::new();
    }
    let ms = ms.rem_euclid(DAY_MS);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar. Years begin in March, so that the leap day is
/// their last (Hinnant, "chrono-compatible low-level date algorithms").
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * of_year + 2) / 153;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, of_year - (153 * march_based + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        let text = |wall_ms| utc(&Moment { wall_ms: Some(wall_ms), ..Moment::UNKNOWN });
        // Checked with `date -u --date=@SECONDS +%FT%T`.
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_751_374_120, "2026-11-27T03:49:34.120Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(ms), expected);
        }
    }

    #[test]
    fn a_clock_that_is_not_known_or_absurd_is_written_as_nothing() {
        for wall_ms in [None, Some(i64::MAX), Some(i64::MIN), Some(253_402_300_800_000)] {
            assert_eq!(utc(&Moment { wall_ms, ..Moment::UNKNOWN }), "", "{wall_ms:?}");
        }
    }
}
