//! Replay against a reservoir worked out from its definition, one row at a time, and what it keeps of long streams.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn labels(positive: &[&str], negative: &[&str]) -> LabelSet {
    let set = |names: &[&str]| names.iter().map(|n| ClassName::new(n).unwrap()).collect();
    LabelSet::new(set(positive), set(negative)).unwrap()
}

fn bounds(rows: u64, background_rows: u64, undo_rows: u64) -> Bounds {
    Bounds { rows, background_rows, bytes: u64::MAX / 4, undo_rows, seed: 5 }
}

/// A row to be learned: labels and bytes.
type New = (LabelSet, u32);

struct Replay {
    held: Held,
    next_row: u64,
}

impl Replay {
    fn new(bounds: Bounds) -> Replay {
        Replay { held: Held::new(bounds), next_row: 1 }
    }

    fn learn(&mut self, record: &[New]) {
        let incoming: Vec<&LabelSet> = record.iter().map(|(l, _)| l).collect();
        for place in self.held.leaving(&incoming, record.iter().map(|(_, cost)| u64::from(*cost)).sum(), &[]) {
            assert!(self.held.leave(place), "a row leaves once");
        }
        for (labels, cost) in record {
            self.held.push(self.next_row / 7, self.next_row, 0, *cost, RowFlags(0), labels);
            self.next_row += 1;
        }
        self.held.settle(self.next_row);
    }

    fn take_back(&mut self, id: u64) {
        let place = self.held.iter().find(|(_, e)| e.id == id).map(|(place, _)| place).unwrap();
        assert!(self.held.leave(place));
        self.held.take_back(id);
    }

    fn ids(&self) -> BTreeSet<u64> {
        self.held.iter().map(|(_, e)| e.id).collect()
    }
}

/// The definition, worked out anew for each row that leaves.
struct Oracle {
    bounds: Bounds,
    rows: Vec<(u64, LabelSet, u32)>,
    left: BTreeSet<u64>,
    next_row: u64,
}

impl Oracle {
    /// The newest rows that undo reaches, as many as half of the bytes hold.
    fn horizon(&self) -> BTreeSet<u64> {
        let (mut bytes, mut ids) = (0, BTreeSet::new());
        for (id, _, cost) in self.rows.iter().rev() {
            bytes += u64::from(*cost);
            if id + self.bounds.undo_rows < self.next_row || bytes > self.bounds.bytes / 2 {
                break;
            }
            ids.insert(*id);
        }
        ids
    }

    /// The oldest row of the horizon behind which none has left.
    fn oldest_undoable(&self) -> Option<u64> {
        self.horizon().into_iter().find(|id| self.left.range(id..).next().is_none())
    }

    fn leaves_next(&self, record: &[New], horizon: &BTreeSet<u64>) -> Option<u64> {
        let background = |l: &LabelSet| l.positive().is_empty() && l.negative().is_empty();
        let all = || self.rows.iter().map(|(_, l, cost)| (l, cost)).chain(record.iter().map(|(l, cost)| (l, cost)));
        let (backgrounds, rows) = (all().filter(|(l, _)| background(l)).count() as u64, all().count() as u64);
        let too_many_backgrounds = backgrounds > self.bounds.background_rows;
        let too_many_named = rows - backgrounds > self.bounds.rows - self.bounds.background_rows;
        let too_long = all().map(|(_, cost)| u64::from(*cost)).sum::<u64>() > self.bounds.bytes;
        let class_size = |class: &ClassName| all().filter(|(l, _)| l.positive().contains(class)).count();
        // A row that only says what it is not is one of those that say the same.
        let size =
            |l: &LabelSet| l.positive().iter().map(class_size).min().unwrap_or_else(|| self.rows.iter().filter(|r| r.1 == *l).count());
        let settled = || self.rows.iter().filter(|(id, _, _)| !horizon.contains(id));
        let of_background = || settled().filter(|(_, l, _)| background(l)).map(|r| r.0).max_by_key(|id| self.bounds.priority(*id));
        let of_named =
            || settled().filter(|(_, l, _)| !background(l)).max_by_key(|(id, l, _)| (size(l), self.bounds.priority(*id))).map(|r| r.0);
        let first = || if too_many_backgrounds { of_background() } else { None };
        let second = || if too_many_named || too_long { of_named() } else { None };
        let third = || if too_long { of_background() } else { None };
        first().or_else(second).or_else(third)
    }

    fn learn(&mut self, record: &[New]) {
        let horizon = self.horizon();
        while let Some(id) = self.leaves_next(record, &horizon) {
            self.rows.retain(|r| r.0 != id);
            self.left.insert(id);
        }
        for (labels, cost) in record {
            self.rows.push((self.next_row, labels.clone(), *cost));
            self.next_row += 1;
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Learn(Vec<New>),
    TakeBack(usize),
}

fn new_row() -> impl Strategy<Value = New> {
    let sets = vec![
        labels(&["a"], &[]),
        labels(&["a"], &[]),
        labels(&["b"], &[]),
        labels(&["c"], &[]),
        labels(&["a", "b"], &[]),
        labels(&["a", "d"], &["b"]),
        labels(&[], &["a"]),
        labels(&[], &[]),
    ];
    (proptest::sample::select(sets), 10..60u32)
}

fn steps(take_back: u32) -> impl Strategy<Value = Vec<Step>> {
    let learn = proptest::collection::vec(new_row(), 1..6).prop_map(Step::Learn);
    proptest::collection::vec(prop_oneof![8 => learn, take_back => (1..4usize).prop_map(Step::TakeBack)], 1..80)
}

fn compare(bounds: Bounds, steps: &[Step]) {
    let (mut replay, mut oracle) = (Replay::new(bounds), Oracle { bounds, rows: Vec::new(), left: BTreeSet::new(), next_row: 1 });
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Learn(record) => {
                replay.learn(record);
                oracle.learn(record);
            }
            Step::TakeBack(count) => {
                for id in oracle.horizon().into_iter().rev().take(*count) {
                    replay.take_back(id);
                    oracle.rows.retain(|r| r.0 != id);
                }
            }
        }
        let expected: BTreeSet<u64> = oracle.rows.iter().map(|r| r.0).collect();
        assert_eq!(replay.ids(), expected, "step {n}: {step:?}");
        assert_eq!(replay.held.rows(), expected.len() as u64, "step {n}");
        assert_eq!(replay.held.oldest_undoable(replay.next_row), oracle.oldest_undoable(), "step {n}");
        let cost: u64 = oracle.rows.iter().map(|r| u64::from(r.2)).sum();
        assert_eq!(replay.held.chunks.keys().map(|s| replay.held.cost_bytes_of(*s)).sum::<u64>(), cost, "step {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_same_rows_leave_as_by_the_definition(rows in 4..40u64, share in 0..=100u64, undo in 0..=100u64, seed: u64, steps in steps(2)) {
        let bounds = Bounds { seed, ..bounds(rows, rows * share / 200, rows * undo / 200) };
        compare(bounds, &steps);
    }

    #[test]
    fn the_same_rows_leave_as_by_the_definition_when_their_bytes_are_too_many(
        rows in 4..40u64, share in 0..=100u64, undo in 0..=100u64, seed: u64, bytes in 100..1500u64, steps in steps(0)
    ) {
        let bounds = Bounds { seed, bytes, ..bounds(rows, rows * share / 200, rows * undo / 200) };
        compare(bounds, &steps);
    }
}

/// Which class row `n` of a stream has; `per_thousand` are the shares of the classes.
fn class_of(n: u64, per_thousand: &[(&'static str, u64)]) -> &'static str {
    let mut at = bounds(0, 0, 0).priority(n ^ 0xabcd) % 1000;
    for (class, share) in per_thousand {
        if at < *share {
            return class;
        }
        at -= share;
    }
    ""
}

/// Learns `count` rows, one a record, of classes drawn by their shares; what is left is background.
fn stream(bounds: Bounds, count: u64, per_thousand: &[(&'static str, u64)]) -> (Replay, Vec<&'static str>) {
    let mut replay = Replay::new(bounds);
    let classes: Vec<&'static str> = (0..count).map(|n| class_of(n, per_thousand)).collect();
    for class in &classes {
        replay.learn(&[(if class.is_empty() { labels(&[], &[]) } else { labels(&[class], &[]) }, 20)]);
    }
    (replay, classes)
}

#[test]
fn a_class_with_few_rows_keeps_them_all_and_the_others_share_what_is_left() {
    let shares = [("common", 770), ("frequent", 150), ("rare", 10), ("scarce", 5)];
    let (replay, classes) = stream(bounds(200, 20, 16), 2000, &shares);
    let ids = replay.ids();
    let held = |class: &str| classes.iter().zip(1..).filter(|(c, id)| **c == class && ids.contains(id)).count();
    let all = |class: &str| classes.iter().filter(|c| **c == class).count();
    for class in ["rare", "scarce"] {
        assert!(all(class) >= 4 && held(class) == all(class), "{class}: {} of {}", held(class), all(class));
    }
    let (common, frequent) = (held("common"), held("frequent"));
    assert!(all("frequent") > 200 && common.abs_diff(frequent) <= 16, "{common} and {frequent} rows");
    assert!((20..=36).contains(&held("")), "background: {}", held(""));
    assert_eq!(ids.len() as u64, replay.held.rows());
    assert!((1985..=2000).all(|id| ids.contains(&id)), "the horizon");
}

#[test]
fn a_row_of_several_classes_stays_for_the_rarest_of_them() {
    let mut replay = Replay::new(bounds(40, 4, 4));
    let (both, common) = (labels(&["common", "rare"], &[]), labels(&["common"], &[]));
    for n in 0..600 {
        replay.learn(&[(if n % 100 == 50 { both.clone() } else { common.clone() }, 20)]);
    }
    let kept: Vec<u64> = replay.held.iter().filter(|(_, e)| *e.labels == both).map(|(_, e)| e.id).collect();
    assert_eq!(kept, [51, 151, 251, 351, 451, 551]);
}

#[test]
fn background_keeps_to_its_share_and_takes_no_other_row_s_place() {
    let mut replay = Replay::new(bounds(40, 8, 4));
    (0..30).for_each(|_| replay.learn(&[(labels(&["wren"], &[]), 20)]));
    (0..500).for_each(|_| replay.learn(&[(labels(&[], &[]), 20)]));
    let wrens = replay.held.iter().filter(|(_, e)| !is_background(&e.labels)).count();
    assert_eq!((wrens, replay.held.rows()), (30, 38));
}

#[test]
fn no_more_is_held_than_replay_rows_and_one_record() {
    let mut replay = Replay::new(bounds(64, 8, 16));
    for n in 0..400u64 {
        let record = (n * 7 % 23 + 1) as usize;
        let rows: Vec<New> = (0..record).map(|i| (labels(&[["a", "b", "c"][(n as usize + i) % 3]], &[]), 20)).collect();
        replay.learn(&rows);
        assert!(replay.held.rows() <= 64 + record as u64, "record {n}: {} rows", replay.held.rows());
    }
}

/// Pearson's statistic of how often each of `ids` was kept, and its degrees of freedom.
fn statistic(kept: &[BTreeSet<u64>], ids: &[u64]) -> (f64, f64) {
    let times: Vec<f64> = ids.iter().map(|id| kept.iter().filter(|k| k.contains(id)).count() as f64).collect();
    let (n, seeds) = (ids.len() as f64, kept.len() as f64);
    let p = times.iter().sum::<f64>() / (seeds * n);
    assert!(p > 0.02 && p < 0.9, "{p} of the rows are kept");
    (times.iter().map(|t| (t - seeds * p).powi(2) / (seeds * p * (1.0 - p))).sum(), n - 1.0)
}

#[test]
fn what_is_kept_of_a_class_is_a_uniform_sample_of_its_rows() {
    // The horizon is short: a class of which it holds a large part has its newest rows more often.
    let (bounds, shares) = (bounds(84, 24, 4), [("common", 500), ("frequent", 250), ("rare", 20)]);
    let count = 400;
    let (_, classes) = stream(bounds, count, &shares);
    let kept: Vec<BTreeSet<u64>> = (0..1000).map(|seed| stream(Bounds { seed, ..bounds }, count, &shares).0.ids()).collect();
    // The same with the newer half left out a little more often.
    let biased: Vec<BTreeSet<u64>> = (0..)
        .zip(&kept)
        .map(|(seed, ids)| ids.iter().copied().filter(|id| *id < 200 || bounds.priority(id ^ seed << 20) % 5 > 0).collect())
        .collect();
    for class in ["common", "frequent", ""] {
        // Those that were settled long before the end: the newest stay whatever their priority is.
        let of_class: Vec<u64> = (1..=count - 40).filter(|id| classes[*id as usize - 1] == class).collect();
        let (found, degrees) = statistic(&kept, &of_class);
        // Six standard deviations of the statistic, on a fixed list of seeds: it cannot come out otherwise another day.
        let bound = degrees + 6.0 * (2.0 * degrees).sqrt();
        assert!(found < bound, "{class:?}: {found:.0} with {degrees} degrees of freedom");
        let (found, _) = statistic(&biased, &of_class);
        assert!(found > bound, "{class:?}: a bias is not seen: {found:.0}");
    }
}

#[test]
fn the_choice_depends_on_the_seed_and_on_nothing_else() {
    let shares = [("common", 600), ("frequent", 300), ("rare", 20)];
    let ids = |seed| stream(Bounds { seed, ..bounds(60, 6, 8) }, 400, &shares).0.ids();
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

#[test]
fn one_row_in_eight_judges_trained_heads_whether_it_is_kept_or_not() {
    let shares = [("common", 500), ("frequent", 500)];
    let (replay, _) = stream(bounds(2000, 0, 8), 12_000, &shares);
    let held_out = |id: u64| replay.held.bounds.held_out(id, RowFlags(0));
    let all = (1..=12_000).filter(|id| held_out(*id)).count();
    let kept = replay.ids().into_iter().filter(|id| held_out(*id)).count();
    // Four standard deviations.
    assert!(all.abs_diff(1500) < 145 && kept.abs_diff(250) < 60, "{all} of 12000, {kept} of 2000 kept");
    assert!((1..100).all(|id| replay.held.bounds.held_out(id, RowFlags::HELD_OUT)), "and those that are flagged so");
}
