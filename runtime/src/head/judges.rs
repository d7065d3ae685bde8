//! Which of the labelled rows judge a head: some of every class, recordings taken whole, the same ones in whatever order they came.

use std::collections::BTreeMap;

use crate::mix::mix;

/// Rows of one class that judge, at least.
const ROWS_OF_CLASS_MIN: usize = 4;

/// Indices, in order, of the rows that judge. `rows` are the class and recording of each. Of a class recordings are taken in an order
/// that depends on their numbers alone, until there are as many rows as its share of `judges`; one that would lead over its share of
/// `rows_max` is passed over.
pub fn choose(rows: &[(usize, u64)], judges: usize, rows_max: usize) -> Vec<usize> {
    let mut classes: BTreeMap<usize, BTreeMap<(u64, u64), Vec<usize>>> = BTreeMap::new();
    for (i, (class, recording)) in rows.iter().enumerate() {
        classes.entry(*class).or_default().entry((mix(*recording), *recording)).or_default().push(i);
    }
    let (share, most) = ((judges / classes.len().max(1)).max(ROWS_OF_CLASS_MIN), rows_max / classes.len().max(1));
    let mut chosen = Vec::new();
    for recordings in classes.values() {
        let mut count = 0;
        for members in recordings.values() {
            if count < share && count + members.len() <= most {
                count += members.len();
                chosen.extend(members);
            }
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_judges_and_recordings_stay_whole() {
        // Three classes; the first has 300 rows in recordings of 6, the second 10, the third one recording of 90.
        let rows: Vec<(usize, u64)> = (0..400)
            .map(|n| {
                if n < 300 {
                    (0, n / 6)
                } else if n < 310 {
                    (1, n)
                } else {
                    (2, 9999)
                }
            })
            .collect();
        let chosen = choose(&rows, 400, usize::MAX);
        let of = |class: usize| chosen.iter().filter(|i| rows[**i].0 == class).count();
        assert_eq!((of(0), of(1), of(2)), (138, 10, 90));
        for i in &chosen {
            let whole = |j: usize| rows[j].0 != rows[*i].0 || rows[j].1 != rows[*i].1 || chosen.contains(&j);
            assert!((0..400).all(whole));
        }
        assert!(chosen.is_sorted() && choose(&[], 400, usize::MAX).is_empty());
    }

    #[test]
    fn the_same_recordings_judge_in_whatever_order_they_came_and_many_classes_share() {
        let rows: Vec<(usize, u64)> = (0..900).map(|n| (n % 150, n as u64)).collect();
        let mut reversed = rows.clone();
        reversed.reverse();
        let recordings = |rows: &[(usize, u64)]| {
            let mut all: Vec<u64> = choose(rows, 400, usize::MAX).iter().map(|i| rows[*i].1).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(recordings(&rows), recordings(&reversed));
        assert_eq!(recordings(&rows).len(), 150 * 4);
    }

    #[test]
    fn no_more_judge_than_may_and_a_long_recording_is_passed_over_for_shorter_ones() {
        // Two classes: a recording of 90 rows and ten of 5, and recordings of 3.
        let rows: Vec<(usize, u64)> = (0..200)
            .map(|n| match n {
                0..90 => (0, 1000),
                90..140 => (0, n / 5),
                _ => (1, 2000 + n / 3),
            })
            .collect();
        for rows_max in [0, 7, 40, 160, 400] {
            let chosen = choose(&rows, 400, rows_max);
            let of = |class: usize| chosen.iter().filter(|i| rows[**i].0 == class).count();
            assert!(of(0) <= rows_max / 2 && of(1) <= rows_max / 2, "{rows_max}: {} {}", of(0), of(1));
            assert_eq!(of(0) > 0, rows_max >= 10, "{rows_max}");
        }
    }
}
