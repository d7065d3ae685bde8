//! Learning from labels while sound goes on, without threads: what is committed, what serves, and what bridges the time between.

use wheatear::head::{Head, LinearHead, argmax};
use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::learner::Budget;
use wheatear::live::facts::Facts;
use wheatear::live::learning::{Learning, Lesson, LessonRow};
use wheatear::store::{Access, Adapter, Creation, Durability};
use wheatear::units::Moment;

const DIM: usize = 8;

fn learning(folder: &std::path::Path) -> Learning {
    learning_of(folder, 1024)
}

/// With room for so many rows in replay.
fn learning_of(folder: &std::path::Path, replay_rows: u32) -> Learning {
    let origin = Origin { device: [7; 16], incarnation: 1 };
    let creation = Creation::new(SpaceId([3; 32]), "made-up", DIM as u32, 8, vec![0.05; DIM], origin).with_replay_rows(replay_rows);
    Learning::new(Adapter::create(folder, creation, [9; 16]).unwrap(), 1, Budget::default()).unwrap()
}

/// A window that sounds like class `c`, the `n`th of them.
fn latent(c: usize, n: usize) -> Vec<i8> {
    (0..DIM).map(|i| (if i % 4 == c { 60 } else { 0 } + (n * 7919 + i * 104_729 + c * 31) as i64 % 31 - 15) as i8).collect()
}

fn lesson(c: usize, first: usize, said: &str) -> Lesson {
    let rows = (first..first + 3).map(|n| LessonRow { latent: latent(c, n), time_delta_ns: 0, start_sample: n as u64 }).collect();
    let at = Moment { monotonic_ns: 1 + (c * 1000 + first) as u64, ..Moment::UNKNOWN };
    Lesson { labels: LabelSet::single(ClassName::new(said).unwrap()), rows, is_weak: false, by: "test".into(), at }
}

fn named(head: &LinearHead, latent: &[i8]) -> String {
    let x: Vec<f32> = latent.iter().map(|q| f32::from(*q) * 0.05).collect();
    let mut z = vec![0.0; head.classes().len()];
    head.scores(&x, &mut z);
    head.classes()[argmax(&z)].to_string()
}

const NAMES: [&str; 4] = ["ant", "bee", "cat", "dog"];

fn taught(folder: &std::path::Path, classes: usize) -> Learning {
    let mut learning = learning(folder);
    for round in 0..4 {
        (0..classes).for_each(|c| drop(learning.learn(&lesson(c, 10 * round, NAMES[c])).unwrap()));
        learning.follow().unwrap();
    }
    learning
}

#[test]
fn a_provisional_head_knows_the_class_that_was_just_named_and_forgets_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut learning = taught(&folder.path().join("a"), 3);
    let new = lesson(3, 0, "dog");
    assert!(learning.provisional(&new).unwrap().is_none(), "nothing was prepared");
    learning.prepare().unwrap();
    learning.learn(&new).unwrap();
    let served = learning.provisional(&new).unwrap().unwrap();
    for (c, name) in NAMES.into_iter().enumerate() {
        let right = (500..520).filter(|n| named(&served.head, &latent(c, *n)) == name).count();
        assert!(right >= 19, "{name}: {right} of 20");
    }
    let unknown = served.unknown.expect("there was one");
    let mut z = vec![0.0; 4];
    let x: Vec<f32> = latent(3, 500).iter().map(|q| f32::from(*q) * 0.05).collect();
    assert!(unknown.probability(&x, &mut z) < 0.5, "the new class is known");
    assert!(!learning.standing().unwrap().served.head.classes().iter().any(|c| c.as_str() == "dog"), "it only bridges the time");
    assert!(learning.follow().unwrap());
    assert!(learning.standing().unwrap().served.head.classes().iter().any(|c| c.as_str() == "dog"));
}

#[test]
fn what_serves_and_what_the_monitor_knows_is_kept_when_learning_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut learning = taught(&path, 3);
    let (head, answers) = (learning.standing().unwrap().served.head.clone(), learning.monitor().answers());
    assert!(answers > 0);
    learning.close().unwrap();
    drop(learning);
    let again = Learning::new(Adapter::open(&path, Access::Write).unwrap(), 1, Budget::default()).unwrap();
    assert_eq!((&again.standing().unwrap().served.head, again.monitor().answers()), (&head, answers));
}

#[test]
fn undo_takes_the_last_label_back_and_the_head_follows() {
    let folder = tempfile::tempdir().unwrap();
    let mut learning = taught(&folder.path().join("a"), 3);
    let before = learning.standing().unwrap().served.head.clone();
    learning.learn(&lesson(3, 0, "dog")).unwrap();
    learning.follow().unwrap();
    assert_eq!(learning.standing().unwrap().served.head.classes().len(), 4);
    assert_eq!(learning.undo(1).unwrap().0, 3);
    learning.follow().unwrap();
    assert_eq!(learning.standing().unwrap().served.head, before);
}

#[test]
fn a_refused_head_stays_refused_after_learning_ends_and_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    // A new adapter, taught live: nothing was kept before.
    let mut learning = learning(&path);
    for round in 0..10 {
        (0..3).for_each(|c| drop(learning.learn(&lesson(c, 10 * round, NAMES[c])).unwrap()));
    }
    learning.follow().unwrap();
    let right = learning.standing().unwrap().served.head.clone();
    for round in 10..60 {
        [1, 0, 2].into_iter().enumerate().for_each(|(c, said)| drop(learning.learn(&lesson(c, 10 * round, NAMES[said])).unwrap()));
    }
    learning.follow().unwrap();
    assert!(learning.standing().unwrap().is_refused());
    learning.close().unwrap();
    drop(learning);
    let again = Learning::new(Adapter::open(&path, Access::Write).unwrap(), 1, Budget::default()).unwrap();
    let standing = again.standing().unwrap();
    assert!(standing.is_refused() && standing.served.head == right, "{:?}", standing.verdict);
}

#[test]
fn a_class_that_was_forgotten_is_counted_and_not_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut learning = learning_of(&path, 16);
    for round in 0..10 {
        (0..2).for_each(|c| drop(learning.learn(&lesson(c, 10 * round, NAMES[c])).unwrap()));
    }
    let rows = |facts: &Facts| facts.classes.iter().map(|c| (c.class.to_string(), c.rows)).collect::<Vec<_>>();
    let before = Facts::of(&learning).unwrap();
    assert_eq!((rows(&before), before.rows), (vec![("ant".into(), 30), ("bee".into(), 30)], 60));
    learning.close().unwrap();
    drop(learning);
    let mut adapter = Adapter::open(&path, Access::Write).unwrap();
    adapter.forget(&ClassName::new("ant").unwrap(), Durability::Now).unwrap();
    let after = Facts::of(&Learning::new(adapter, 1, Budget::default()).unwrap()).unwrap();
    assert_eq!(rows(&after), [("bee".into(), 30)]);
    assert!((31..60).contains(&after.rows), "rows of it that had left replay stay counted: {}", after.rows);
}
