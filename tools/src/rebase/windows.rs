//! The labels of a recording carried over to other windows: those of a new backbone begin elsewhere and cover more or less.

use wheatear::learn::LabelSet;
use wheatear::store::RowFlags;
use wheatear::units::Moment;

/// What is known of a row that an adapter holds of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct OldRow {
    /// First sample, at the old backbone's rate.
    pub start_sample: u64,
    /// What it is.
    pub given: Given,
}

/// A label, who gave it and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What it is.
    pub labels: LabelSet,
    /// Who said so.
    pub by: String,
    /// When.
    pub time: Moment,
    /// How the row may be used.
    pub flags: RowFlags,
}

/// How a backbone cuts sound into windows.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Samples a second.
    pub rate_hz: u32,
    /// Samples of a window.
    pub window_samples: u32,
}

impl Cut {
    /// Begin and end in seconds of the window that begins at a sample.
    fn span(&self, start_sample: u64) -> (f64, f64) {
        let rate_hz = f64::from(self.rate_hz);
        (start_sample as f64 / rate_hz, (start_sample + u64::from(self.window_samples)) as f64 / rate_hz)
    }
}

/// True when all rows were given the same, so that it does not matter where they lie.
pub fn is_uniform(rows: &[OldRow]) -> bool {
    rows.windows(2).all(|pair| pair[0].given == pair[1].given)
}

/// What a window is that begins at `start_sample`, cut by `new`: what the row is that it overlaps most, by `old`; between rows
/// what both neighbours are, if they agree; before the first and behind the last what that one is. `rows` by their begin.
pub fn given_to(rows: &[OldRow], old: Cut, new: Cut, start_sample: u64) -> Option<&Given> {
    let (begin, end) = new.span(start_sample);
    let overlap = |row: &OldRow| {
        let (row_begin, row_end) = old.span(row.start_sample);
        end.min(row_end) - begin.max(row_begin)
    };
    // Rows that begin before the window ends, from the first whose end lies behind its begin.
    let (from, to) =
        (rows.partition_point(|r| old.span(r.start_sample).1 <= begin), rows.partition_point(|r| old.span(r.start_sample).0 < end));
    let mut most: Option<(f64, &OldRow)> = None;
    for row in rows.get(from..to).unwrap_or_default() {
        let seconds = overlap(row);
        if seconds > 0.0 && most.is_none_or(|(most, _)| seconds > most) {
            most = Some((seconds, row));
        }
    }
    if let Some((_, row)) = most {
        return Some(&row.given);
    }
    let behind = rows.partition_point(|row| old.span(row.start_sample).0 < begin);
    match (behind.checked_sub(1).and_then(|i| rows.get(i)), rows.get(behind)) {
        (Some(before), Some(after)) if before.given.labels != after.given.labels => None,
        (Some(before), _) => Some(&before.given),
        (None, after) => after.map(|row| &row.given),
    }
}

#[cfg(test)]
mod tests {
    use wheatear::learn::ClassName;

    use super::*;

    const OLD: Cut = Cut { rate_hz: 10, window_samples: 10 };

    fn rows(labelled: &[(u64, &str)]) -> Vec<OldRow> {
        let given = |class: &str| {
            let labels = if class.is_empty() { LabelSet::background() } else { LabelSet::single(ClassName::new(class).unwrap()) };
            Given { labels, by: "teach".into(), time: Moment::UNKNOWN, flags: RowFlags::default() }
        };
        labelled.iter().map(|(start_sample, class)| OldRow { start_sample: *start_sample, given: given(class) }).collect()
    }

    fn labels(rows: &[OldRow], new: Cut, starts: &[u64]) -> Vec<String> {
        let name = |g: &Given| g.labels.positive().iter().next().map_or("background".to_owned(), |c| c.to_string());
        starts.iter().map(|s| given_to(rows, OLD, new, *s).map_or("none".to_owned(), name)).collect()
    }

    #[test]
    fn a_window_is_what_it_overlaps_most() {
        let rows = rows(&[(0, "a"), (10, "b"), (20, ""), (30, "a")]);
        let twice = Cut { rate_hz: 20, window_samples: 20 };
        assert_eq!(labels(&rows, twice, &[0, 9, 11, 40, 49, 60]), ["a", "a", "b", "background", "background", "a"]);
        assert_eq!(labels(&rows, twice, &[10]), ["a"], "of two that it overlaps alike, the first");
        // Longer than the rows: the one that it covers wholly is met before the one that it covers in part.
        assert_eq!(labels(&rows, Cut { rate_hz: 10, window_samples: 18 }, &[5]), ["b"]);
    }

    #[test]
    fn between_rows_a_window_is_what_both_are_and_at_the_ends_what_the_last_one_is() {
        let rows = rows(&[(100, "a"), (200, "a"), (300, "b")]);
        assert_eq!(labels(&rows, OLD, &[0, 90, 150, 250, 310, 900]), ["a", "a", "a", "none", "b", "b"]);
        assert_eq!(labels(&[], OLD, &[0]), ["none"]);
    }

    #[test]
    fn rows_that_differ_in_who_said_so_are_not_uniform() {
        let mut all = rows(&[(0, "a"), (10, "a")]);
        assert!(is_uniform(&all) && is_uniform(&[]));
        all[1].given.by = "a person".into();
        assert!(!is_uniform(&all) && !is_uniform(&rows(&[(0, "a"), (10, "b")])));
    }
}
