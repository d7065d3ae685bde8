//! Lives of random labels and corrections, checked against a list of what should be counted after each step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wheatear::ErrorKind;
use wheatear::learn::LabelSet;
use wheatear::store::{Creation, Durability};

use crate::corrected::{BITS, DIM, Life, class, forgotten, lost, retired};
use crate::world::{Row, bulky, creation, labels, row, rows};

const CLASSES: [&str; 5] = ["wren", "robin", "a b/c", "Zaunkönig / 鷦鷯", "jay"];

#[derive(Debug, Clone)]
enum Step {
    Live(u64, u64),
    Recording(u64, bool, u64, u64),
    Bulky(usize, u64),
    Undo(usize),
    Relabel(usize, usize),
    Forget(usize),
    ForgetHard(usize),
    RollBack(usize),
    Compact,
    Checkpoint,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..1000u64, 1..4u64).prop_map(|(n, count)| Step::Live(n, count)),
        4 => (1..6u64, any::<bool>(), 0..1000u64, 1..5u64).prop_map(|(s, complete, n, count)| Step::Recording(s, complete, n, count)),
        4 => (2_000..26_000usize, 0..1000u64).prop_map(|(len, n)| Step::Bulky(len, n)),
        3 => (1..4usize).prop_map(Step::Undo),
        2 => (0..100usize, 0..8usize).prop_map(|(at, set)| Step::Relabel(at, set)),
        1 => (0..5usize).prop_map(Step::Forget),
        1 => (0..5usize).prop_map(Step::ForgetHard),
        1 => (0..2usize).prop_map(Step::RollBack),
        1 => Just(Step::Compact),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Reopen),
    ]
}

fn label_set(n: usize) -> LabelSet {
    let (a, b) = (CLASSES[n % 5], CLASSES[(n + 1) % 5]);
    match n {
        0..5 => labels(&[a], &[]),
        5 => labels(&[a, b], &[]),
        6 => labels(&[], &[a]),
        _ => labels(&[], &[]),
    }
}

struct World {
    life: Life,
    /// What was counted at each generation that a step ended with.
    then: BTreeMap<u64, BTreeMap<u64, Row>>,
    incarnation: u64,
}

impl World {
    fn take(&mut self, step: &Step) {
        let life = &mut self.life;
        match *step {
            Step::Live(n, count) => drop(life.live(&rows(n, count, DIM, BITS))),
            Step::Recording(source, complete, n, count) if !life.adapter.has_source(source) => {
                life.recording(source, complete, &rows(n, count, DIM, BITS));
                assert_eq!(life.adapter.has_source(source), complete);
            }
            Step::Recording(..) => {}
            Step::Bulky(len, n) => {
                let origin = life.adapter.origin();
                life.teach(&wheatear::store::Batch { origin, ..bulky(len) }, &[row(n, DIM, BITS)]);
            }
            Step::Undo(labels) => self.undo(labels),
            Step::Relabel(at, set) => {
                let ids: Vec<u64> = life.held().into_keys().collect();
                let ids: Vec<u64> = ids.iter().copied().skip(at % ids.len().max(1)).step_by(3).take(4).collect();
                life.adapter.relabel(&ids, &label_set(set), "teach", Durability::Later).unwrap();
                ids.iter().for_each(|id| life.counted.get_mut(id).unwrap().labels = label_set(set));
            }
            Step::Forget(name) => {
                let (class, held) = (class(CLASSES[name]), life.held());
                match life.adapter.forget(&class, Durability::Now) {
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Input, "{e}"),
                    Ok(_) => {
                        let mut left = forgotten(&held, &class);
                        left.extend(retired(&life.counted, &held, &class));
                        life.counted = left;
                    }
                }
            }
            Step::ForgetHard(name) => {
                let (class, held) = (class(CLASSES[name]), life.held());
                match life.adapter.forget_hard(&class) {
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Input, "{e}"),
                    Ok(loss) => {
                        let mut expected = lost(&life.counted, &held);
                        expected.retain(|lost, _| *lost != Some(class.clone()) && *lost != Some(class.retired()));
                        assert_eq!(loss, expected);
                        life.counted = forgotten(&held, &class);
                    }
                }
            }
            Step::RollBack(which) => {
                let generation = life.adapter.generations().get(which).copied();
                if let Some((generation, then)) = generation.and_then(|g| Some((g, self.then.get(&g)?))) {
                    self.incarnation += 1;
                    life.adapter.roll_back(generation, self.incarnation).unwrap();
                    life.counted = then.clone();
                }
            }
            Step::Compact => life.adapter.compact().unwrap(),
            Step::Checkpoint => life.adapter.checkpoint().unwrap(),
            Step::Reopen => {
                life.adapter.sync().unwrap();
                life.reopen();
            }
        }
        self.then.insert(self.life.adapter.generation(), self.life.counted.clone());
    }

    fn undo(&mut self, labels: usize) {
        let life = &mut self.life;
        let before = (life.adapter.generation(), life.adapter.statistics_digest().unwrap());
        let newest = life.counted.last_key_value().map(|(id, _)| *id);
        let reach = life.adapter.oldest_undoable_row().is_some_and(|horizon| newest >= Some(horizon));
        match life.adapter.undo(labels, Durability::Now) {
            Ok((undone, _)) => {
                assert!(undone >= labels as u64, "{undone} rows of {labels} labels");
                let held = life.held();
                for _ in 0..undone {
                    let (id, _) = life.counted.pop_last().unwrap();
                    assert!(!held.contains_key(&id), "the newest rows are gone");
                }
            }
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::Limit | ErrorKind::Input), "{e}");
                assert!(labels > 1 || !reach || life.adapter.evicted_rows() > 0, "one label within the horizon: {e}");
                assert_eq!((life.adapter.generation(), life.adapter.statistics_digest().unwrap()), before, "nothing is taken");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_life_of_random_labels_and_corrections_counts_what_it_should(steps in proptest::collection::vec(step(), 1..100)) {
        let life = Life::new(Creation { max_classes: 16, ..creation(DIM as u32, BITS) });
        let mut world = World { life, then: BTreeMap::new(), incarnation: 100 };
        for (n, step) in steps.iter().enumerate() {
            world.take(step);
            let when = format!("step {n}, {step:?}");
            match n % 6 {
                5 => world.life.check(&when),
                _ => world.life.check_one(&world.life.adapter, world.life.adapter.generation(), &when),
            }
        }
        world.life.check("at the end");
    }
}
