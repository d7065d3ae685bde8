//! The head that serves: tried before it does, kept with the adapter, and served on when a newer one is refused.

use std::path::Path;

use wheatear::ErrorKind;
use wheatear::head::{Head, argmax};
use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::learner::{self, Budget, Standing};
use wheatear::monitor::Monitor;
use wheatear::store::{Access, Adapter, Batch, Creation, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

const DIM: usize = 8;
const NAMES: [&str; 3] = ["ant", "bee", "cat"];

fn class(n: usize) -> ClassName {
    ClassName::new(NAMES[n]).unwrap()
}

fn create(folder: &Path) -> Adapter {
    let origin = Origin { device: [7; 16], incarnation: 1 };
    let creation = Creation::new(SpaceId([3; 32]), "made-up", DIM as u32, 8, vec![0.05; DIM], origin);
    Adapter::create(folder, Creation { max_classes: 8, max_sources: 512, undo_rows: 256, ..creation.with_replay_rows(1024) }, [9; 16])
        .unwrap()
}

/// Two windows of recording `n` that sound like class `sound`.
fn windows(sound: usize, n: u64) -> Vec<[i8; DIM]> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let strength = [25, 45, 70, 95][n as usize / 3 % 4];
    (0..2).map(|_| std::array::from_fn(|i| (if i % 3 == sound { strength } else { 0 } + next() % 41 - 20) as i8)).collect()
}

/// Learns recordings, each said to be what `said` makes of what it sounds like.
fn teach(adapter: &mut Adapter, recordings: impl Iterator<Item = u64>, said: impl Fn(usize) -> usize) {
    for n in recordings {
        let sound = (n % 3) as usize;
        let labels = LabelSet::single(class(said(sound)));
        let windows = windows(sound, n);
        let row = |latent| NewRow { latent, labels: &labels, time_delta_ns: 0, start_sample: 0, flags: RowFlags::default() };
        let rows: Vec<NewRow<'_>> = windows.iter().map(|w| row(w.as_slice())).collect();
        let batch =
            Batch { origin: adapter.origin(), by: "test".into(), time: Moment::UNKNOWN, graph: 1, source: n + 1, source_complete: true };
        adapter.learn(&batch, &rows, Durability::Now).unwrap();
    }
}

fn settle(adapter: &mut Adapter) -> Standing {
    learner::settle(adapter, &Monitor::new(DIM).unwrap(), &Budget::default()).unwrap()
}

/// Share of unheard windows that are named right.
fn accuracy(standing: &Standing) -> f64 {
    let head = &standing.served.head;
    let mut z = vec![0.0; head.classes().len()];
    let unheard: Vec<(usize, [i8; DIM])> =
        (900..960).flat_map(|n| windows((n % 3) as usize, n).into_iter().map(move |w| ((n % 3) as usize, w))).collect();
    let right = unheard.iter().filter(|(sound, w)| {
        head.scores(&w.map(|q| f32::from(q) * 0.05), &mut z);
        head.classes()[argmax(&z)] == class(*sound)
    });
    right.count() as f64 / unheard.len() as f64
}

#[test]
fn what_serves_is_kept_and_comes_back_without_being_solved_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut adapter = create(&path);
    teach(&mut adapter, 0..60, |c| c);
    let standing = settle(&mut adapter);
    assert!(standing.verdict.is_none() && standing.generation == adapter.generation() && accuracy(&standing) > 0.9);
    drop(adapter);
    let again = Adapter::open(&path, Access::Read).unwrap();
    let kept = learner::stand(&again, &Budget::default()).unwrap();
    assert_eq!(
        (&kept.served.head, &kept.served.unknown, kept.generation),
        (&standing.served.head, &standing.served.unknown, standing.generation)
    );
    // Solving would have given the answers of the rows too.
    assert!(kept.served.answers.rows.is_empty() && !standing.served.answers.rows.is_empty());
}

#[test]
fn a_poisoned_head_is_refused_until_its_labels_are_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut adapter = create(&path);
    teach(&mut adapter, 0..60, |c| c);
    let before = settle(&mut adapter);
    // Someone takes ants for bees and bees for ants, often enough to outvote what was right.
    let oldest_wrong = adapter.generation();
    teach(&mut adapter, 60..180, |c| [1, 0, 2][c]);
    let poisoned = settle(&mut adapter);
    assert!(poisoned.is_refused() && poisoned.served.head == before.served.head, "{:?}", poisoned.verdict);
    assert!(poisoned.generation == oldest_wrong && accuracy(&poisoned) > 0.9);
    assert!(accuracy(&learner::newest(&adapter, &Budget::default()).unwrap()) < 0.7);
    drop(adapter);
    let mut adapter = Adapter::open(&path, Access::Write).unwrap();
    assert!(learner::stand(&adapter, &Budget::default()).unwrap().is_refused());
    // What a person accepts serves, also after the next opening.
    let copy = folder.path().join("b");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(&path).unwrap().map(|f| f.unwrap()) {
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let accepted = learner::accept(&mut Adapter::open(&copy, Access::Write).unwrap(), &Budget::default()).unwrap();
    let served = learner::stand(&Adapter::open(&copy, Access::Read).unwrap(), &Budget::default()).unwrap();
    assert!(!served.is_refused() && served.served.head == accepted.served.head && accuracy(&served) < 0.7);
    // Nor does writing it anew make it serve.
    adapter.compact().unwrap();
    assert!(learner::stand(&adapter, &Budget::default()).unwrap().is_refused());
    assert_eq!(adapter.undo(120, Durability::Now).unwrap().0, 240);
    let mended = settle(&mut adapter);
    assert!(!mended.is_refused() && mended.generation == adapter.generation() && accuracy(&mended) > 0.9, "{:?}", mended.verdict);
}

#[test]
fn adding_a_class_serves_and_a_forgotten_one_is_never_named_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = create(&folder.path().join("a"));
    teach(&mut adapter, (0..60).filter(|n| n % 3 < 2), |c| c);
    settle(&mut adapter);
    teach(&mut adapter, (0..60).filter(|n| n % 3 == 2), |c| c);
    let three = settle(&mut adapter);
    assert!(three.verdict.as_ref().is_some_and(|v| v.accepts() && v.rows == 80) && three.served.head.classes().len() == 3);
    adapter.forget(&class(0), Durability::Now).unwrap();
    let two = settle(&mut adapter);
    assert!(!two.is_refused() && two.served.head.classes() == [class(1), class(2)], "{:?}", two.verdict);
}

#[test]
fn taking_a_class_away_does_not_let_a_refused_head_serve_and_it_is_not_named_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = create(&folder.path().join("a"));
    teach(&mut adapter, 0..60, |c| c);
    settle(&mut adapter);
    teach(&mut adapter, (60..240).filter(|n| n % 3 < 2), |c| [1, 0, 2][c]);
    assert!(settle(&mut adapter).is_refused());
    // Nothing was learned since: nothing is written.
    let generation = adapter.generation();
    assert!(settle(&mut adapter).is_refused() && adapter.generation() == generation);
    adapter.forget(&class(2), Durability::Now).unwrap();
    let left = settle(&mut adapter);
    assert!(left.is_refused() && left.served.head.classes() == [class(0), class(1)], "{:?}", left.verdict);
    assert_eq!(left.served.unknown.unwrap().classes(), [class(0), class(1)]);
}

#[test]
fn a_head_that_cannot_be_made_out_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = create(&folder.path().join("a"));
    teach(&mut adapter, 0..60, |c| c);
    let good = settle(&mut adapter);
    let bytes = adapter.kept_head().unwrap().unwrap();
    let mut not_a_number = bytes.clone();
    let weight = good.served.head.weights[0].to_le_bytes();
    let at = not_a_number.windows(4).position(|w| w == weight).unwrap();
    not_a_number[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let other_version = [&[bytes[0] + 1], &bytes[1..]].concat();
    for wrong in [Vec::new(), vec![bytes[0]], bytes[..bytes.len() / 2].to_vec(), other_version, not_a_number] {
        adapter.keep_head(wrong).unwrap();
        assert_eq!(learner::stand(&adapter, &Budget::default()).unwrap().served.head, good.served.head);
        assert!(!learner::stand(&adapter, &Budget::default()).unwrap().served.answers.rows.is_empty());
    }
    let too_long = adapter.keep_head(vec![0; 10 << 20]).unwrap_err();
    assert!(too_long.kind() == ErrorKind::Limit && too_long.to_string().contains("room"), "{too_long}");
}

#[test]
fn what_the_monitor_knows_comes_back_with_the_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut adapter = create(&path);
    teach(&mut adapter, 0..60, |c| c);
    let standing = settle(&mut adapter);
    let mut monitor = Monitor::new(DIM).unwrap();
    let mut scores = vec![0.0; 3];
    for n in 100..160 {
        for w in windows((n % 3) as usize, n) {
            monitor.ask(&standing.served.head, &class((n % 3) as usize), &w.map(|q| f32::from(q) * 0.05), &mut scores).unwrap();
        }
    }
    assert!(monitor.answers() == 120 && monitor.report(None).accuracy.unwrap() > 0.9);
    learner::settle(&mut adapter, &monitor, &Budget::default()).unwrap();
    drop(adapter);
    let bytes = Adapter::open(&path, Access::Read).unwrap().kept_monitor().unwrap().unwrap();
    assert_eq!(Monitor::decode(&bytes, DIM), Some(monitor.clone()));
    let mut adapter = Adapter::open(&path, Access::Write).unwrap();
    assert_eq!(learner::monitor(&adapter).unwrap(), Some(monitor));
    adapter.keep_monitor(bytes[..bytes.len() / 2].to_vec()).unwrap();
    assert_eq!(learner::monitor(&adapter).unwrap(), None);
}

#[test]
fn going_back_to_where_a_head_was_refused_does_not_let_it_serve() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = create(&folder.path().join("a"));
    teach(&mut adapter, 0..60, |c| c);
    let right = settle(&mut adapter);
    teach(&mut adapter, 60..180, |c| [1, 0, 2][c]);
    assert!(settle(&mut adapter).is_refused());
    let refused = adapter.generation();
    teach(&mut adapter, 180..183, |c| c);
    adapter.roll_back(refused, 2).unwrap();
    let back = learner::stand(&adapter, &Budget::default()).unwrap();
    assert!(back.is_refused() && back.served.head == right.served.head, "{:?}", back.verdict);
}

#[test]
fn the_rows_of_one_live_label_stand_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = create(&folder.path().join("a"));
    // Of each class 24 windows, by two labels: with one of them left out as a whole, half of the class is.
    for n in 0..6u64 {
        let labels = LabelSet::single(class((n % 3) as usize));
        let latents: Vec<[i8; DIM]> = (0..6).flat_map(|k| windows((n % 3) as usize, 100 * n + k)).collect();
        let rows: Vec<NewRow<'_>> = latents
            .iter()
            .map(|latent| NewRow { latent, labels: &labels, time_delta_ns: 0, start_sample: 0, flags: RowFlags::default() })
            .collect();
        let time = Moment { monotonic_ns: 1000 + n, ..Moment::UNKNOWN };
        let batch = Batch { origin: adapter.origin(), by: "test".into(), time, graph: 1, source: 0, source_complete: true };
        adapter.learn(&batch, &rows, Durability::Now).unwrap();
    }
    let answers = learner::newest(&adapter, &Budget::default()).unwrap().served.answers;
    let recordings: std::collections::BTreeSet<u64> = answers.rows.iter().map(|r| r.recording).collect();
    assert_eq!((answers.rows.len(), recordings.len()), (72, 6));
}
