//! Classes forgotten: exactly while their rows are held, as an anonymous retired class beyond that, and without a trace.

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::head::{Head, Moments, SolvedHead};
use wheatear::learn::BlockKind;
use wheatear::store::{Access, Adapter, Batch, Creation, Durability};

use crate::corrected::{BITS, DIM, Life, class, forgotten, lost, names, retired};
use crate::disk::Disk;
use crate::world::{ID, KINDS, ORIGIN, Row, batch, creation, labels, row, rows, sums, sums_of, teach};

/// More than it can hold: single-label rows, mixed ones and background, one at a time.
fn overfull() -> Life {
    let mut life = Life::new(Creation { max_sources: 128, ..creation(DIM as u32, BITS) });
    for n in 0..70 {
        life.recording(n + 1, true, &[row(n, DIM, BITS)]);
    }
    assert!(life.adapter.evicted_rows() > 40);
    life
}

#[test]
fn a_class_whose_rows_are_all_held_is_forgotten_as_if_it_had_never_been_learned() {
    for name in ["wren", "robin", "a b/c", "Zaunkönig / 鷦鷯"] {
        for (checkpoint, reopen) in [(false, false), (true, false), (false, true)] {
            let mut life = Life::roomy();
            for n in 0..60 {
                life.recording(n + 1, true, &[row(n, DIM, BITS)]);
            }
            if checkpoint {
                life.adapter.checkpoint().unwrap();
            }
            if reopen {
                life.reopen();
            }
            let (retired, ack) = life.adapter.forget(&class(name), Durability::Now).unwrap();
            assert_eq!((retired, ack.durable), (0, true), "{name}");
            let gone: Vec<u64> =
                life.counted.keys().copied().filter(|id| !forgotten(&life.counted, &class(name)).contains_key(id)).collect();
            life.counted = forgotten(&life.counted, &class(name));
            life.check(name);
            let left: Vec<Row> = life.counted.values().cloned().collect();
            assert_eq!(life.adapter.statistics_digest().unwrap(), Life::digest_of(&left, ORIGIN), "{name}");
            assert_eq!(life.adapter.forget(&class(name), Durability::Now).unwrap_err().kind(), ErrorKind::Input, "{name} is unknown now");
            for id in life.counted.keys().chain(&gone) {
                assert_eq!(life.adapter.has_source(*id), !gone.contains(id), "{name}: recording {id} can be taught again");
            }
        }
    }
}

#[test]
fn sums_of_rows_that_had_left_stay_under_a_retired_name_that_no_head_scores() {
    for name in ["wren", "robin"] {
        let mut life = overfull();
        let (class, counted, held) = (class(name), life.counted.clone(), life.held());
        let digest = life.adapter.statistics_digest().unwrap();
        let (rows, _) = life.adapter.forget(&class, Durability::Now).unwrap();
        assert_ne!(life.adapter.statistics_digest().unwrap(), digest);
        // What is left of it: rows that had left keep all they were, under the retired name; held ones lose it.
        let mut expected = forgotten(&held, &class);
        expected.extend(retired(&counted, &held, &class));
        assert_eq!(rows, expected.values().filter(|r| names(&r.labels, &class.retired())).count() as u64, "{name}");
        assert!(rows > 3, "{name}: {rows} rows had left");
        life.counted = expected;
        life.check(name);
        let block = life.adapter.block(BlockKind::Latents).unwrap().unwrap();
        assert!(block.classes().contains_key(&class.retired()) && !block.classes().contains_key(&class));
        let rows: u64 = block.classes().values().map(|c| c.n).sum();
        assert_eq!(rows, block.rows(), "{name}: the classes add up to the rows");
        for d in 0..DIM {
            assert_eq!(block.classes().values().map(|c| c.sum[d]).sum::<i64>(), block.sum()[d], "{name}, component {d}");
        }
        let moments = Moments::new(&block, &life.adapter.header().creation.scale).unwrap();
        for head in SolvedHead::ALL {
            let scored = head.solve(&moments).unwrap().classes().to_vec();
            assert!(scored.len() >= 2 && !scored.contains(&class) && scored.iter().all(|c| !c.is_retired()), "{scored:?}");
        }
        assert_eq!(life.adapter.forget(&class.retired(), Durability::Now).unwrap_err().kind(), ErrorKind::Input);
        assert_eq!(life.adapter.forget(&class, Durability::Now).unwrap_err().kind(), ErrorKind::Input);
    }
}

#[test]
fn a_forgotten_class_can_be_taught_again_and_forgotten_again() {
    let mut life = overfull();
    let wren = class("wren");
    life.adapter.forget(&wren, Durability::Now).unwrap();
    let retired = |life: &Life| life.adapter.block(BlockKind::Latents).unwrap().unwrap().classes()[&wren.retired()].n;
    let before = (retired(&life), life.adapter.statistics_digest().unwrap());
    life.live(&[Row { labels: labels(&["wren"], &[]), ..row(3, DIM, BITS) }]);
    let block = life.adapter.block(BlockKind::Latents).unwrap().unwrap();
    assert_eq!((block.classes()[&wren].n, retired(&life)), (1, before.0));
    life.reopen();
    life.adapter.forget(&wren, Durability::Now).unwrap();
    assert_eq!((retired(&life), life.adapter.statistics_digest().unwrap()), before, "its one row was held");
    life.reopen();
    assert_eq!((retired(&life), life.adapter.statistics_digest().unwrap()), before);
}

#[test]
fn forgetting_a_class_takes_it_from_mixed_rows_and_leaves_what_else_they_are() {
    let sets = [
        (labels(&["wren", "robin"], &[]), Some(labels(&["robin"], &[]))),
        (labels(&["wren"], &["robin"]), Some(labels(&[], &["robin"]))),
        (labels(&["robin"], &["wren"]), Some(labels(&["robin"], &[]))),
        (labels(&["robin", "jay"], &["wren"]), Some(labels(&["robin", "jay"], &[]))),
        (labels(&[], &["wren"]), None),
        (labels(&["wren"], &[]), None),
        (labels(&["jay"], &[]), Some(labels(&["jay"], &[]))),
        (labels(&[], &[]), Some(labels(&[], &[]))),
    ];
    let mut life = Life::roomy();
    for (n, (before, _)) in (0..).zip(&sets) {
        life.live(&[Row { labels: before.clone(), ..row(n, DIM, BITS) }]);
    }
    life.adapter.forget(&class("wren"), Durability::Now).unwrap();
    for (id, (_, after)) in (1..).zip(sets) {
        match after {
            Some(labels) => life.counted.get_mut(&id).unwrap().labels = labels,
            None => drop(life.counted.remove(&id)),
        }
    }
    life.check("wren is forgotten");
    let left: Vec<Row> = life.counted.values().cloned().collect();
    assert_eq!(life.adapter.statistics_digest().unwrap(), Life::digest_of(&left, ORIGIN));
}

#[test]
fn forgetting_hard_leaves_the_sums_of_the_held_rows_and_tells_what_else_is_lost() {
    for name in ["wren", "robin", "a b/c", "Zaunkönig / 鷦鷯"] {
        let mut life = overfull();
        let class = class(name);
        let (counted, held) = (life.counted.clone(), life.held());
        let mut expected = lost(&counted, &held);
        expected.remove(&Some(class.clone()));
        assert!(expected.len() > 2 && expected.contains_key(&None), "{name}: {expected:?}");
        let generation = life.adapter.generation();
        let told = life.adapter.loss_of_forgetting_hard(&class).unwrap();
        assert_eq!((&told, life.adapter.generation()), (&expected, generation), "{name}: told before");
        assert_eq!(life.adapter.forget_hard(&class).unwrap(), expected, "{name}");
        life.counted = forgotten(&held, &class);
        assert_eq!(life.adapter.evicted_rows(), 0, "{name}: all that is counted is held");
        assert!(life.adapter.generation() > generation, "{name}");
        life.check(name);
        for id in 1..=70 {
            assert_eq!(life.adapter.has_source(id), life.counted.contains_key(&id), "{name}: recording {id} is known if its row is there");
        }
        for n in 0..20 {
            life.live(&[row(n, DIM, BITS)]);
        }
        life.check(&format!("{name}, taught on"));
    }
}

#[test]
fn a_class_that_was_forgotten_before_can_still_be_forgotten_hard() {
    let (mut life, wren) = (overfull(), class("wren"));
    life.adapter.forget(&wren, Durability::Now).unwrap();
    let counts = |life: &Life| life.adapter.tally().contains_key(&Some(wren.retired()));
    assert!(counts(&life), "rows of it had left replay");
    let told = life.adapter.loss_of_forgetting_hard(&wren).unwrap();
    assert!(!told.is_empty() && !told.contains_key(&Some(wren.retired())), "{told:?}");
    assert_eq!(life.adapter.forget_hard(&wren).unwrap(), told);
    assert!(!counts(&life));
    assert_eq!(life.adapter.forget_hard(&wren).unwrap_err().kind(), ErrorKind::Input, "nothing of it is left");
}

#[test]
fn a_class_that_was_never_taught_cannot_be_forgotten() {
    let mut life = Life::roomy();
    life.live(&rows(0, 3, DIM, BITS));
    let operations = life.disk.operations();
    let error = |e: wheatear::Error| (e.kind(), e.to_string().contains("jay"));
    assert_eq!(error(life.adapter.forget(&class("jay"), Durability::Now).unwrap_err()), (ErrorKind::Input, true));
    assert_eq!(error(life.adapter.forget_hard(&class("jay")).unwrap_err()), (ErrorKind::Input, true));
    assert_eq!(error(life.adapter.loss_of_forgetting_hard(&class("jay")).unwrap_err()), (ErrorKind::Input, true));
    assert_eq!(life.disk.operations(), operations);
    life.check("unchanged");
}

#[test]
fn after_forgetting_hard_no_byte_of_the_name_is_in_any_file_of_the_folder() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(DIM as u32, BITS), ID).unwrap();
    let secret = "Zaunkönig / 鷦鷯";
    let files_with_it = || {
        let files = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path());
        let has = |path: &std::path::PathBuf| {
            let bytes = std::fs::read(path).unwrap();
            [secret, "Zaunk", "鷦鷯"].iter().any(|part| bytes.windows(part.len()).any(|w| w == part.as_bytes()))
        };
        files.filter(has).map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    for n in 0..50 {
        let mut row = row(n, DIM, BITS);
        if n % 5 == 0 {
            row.labels = labels(&[secret], &[]);
        }
        teach(&mut adapter, &Batch { origin: ORIGIN, ..batch(n + 1, true) }, &[row], Durability::Now).unwrap();
        if n % 20 == 10 {
            adapter.checkpoint().unwrap();
        }
    }
    assert_eq!(files_with_it().len(), 2, "in the rows and in the checkpoint");
    adapter.forget(&class(secret), Durability::Now).unwrap();
    assert_eq!(files_with_it().len(), 2, "softly forgotten, the bytes of before are still there");
    teach(&mut adapter, &batch(99, true), &[Row { labels: labels(&[secret], &["wren"]), ..row(1, DIM, BITS) }], Durability::Now).unwrap();
    adapter.forget_hard(&class(secret)).unwrap();
    assert_eq!(files_with_it(), Vec::<String>::new());
    for class in KINDS.iter().filter_map(|k| adapter.block(*k).unwrap()).flat_map(|b| b.classes().keys().cloned().collect::<Vec<_>>()) {
        assert!(!class.is_retired(), "not even its digest");
    }
    let held = crate::world::held(&adapter).unwrap();
    drop(adapter);
    let again = Adapter::open(&folder, Access::Write).unwrap();
    assert_eq!(sums_of(&again), sums(&held.into_iter().map(|(_, r)| r).collect::<Vec<_>>(), DIM));
    assert_eq!(files_with_it(), Vec::<String>::new(), "nor after reopening");
}

#[test]
fn forgetting_a_class_of_a_recording_that_was_cut_off_does_not_have_its_other_rows_learned_again() {
    let mut life = Life::roomy();
    let mut recording = rows(0, 12, DIM, BITS);
    recording.iter_mut().enumerate().for_each(|(i, row)| row.labels = labels(&[if i % 3 == 1 { "jay" } else { "tit" }], &[]));
    life.recording(9, false, &recording);
    life.adapter.forget(&class("jay"), Durability::Now).unwrap();
    life.counted = forgotten(&life.counted, &class("jay"));
    for _ in 0..2 {
        assert_eq!(life.adapter.rows_of_unfinished(9), 12, "it goes on behind all that were learned");
        life.reopen();
    }
    life.adapter.forget(&class("tit"), Durability::Now).unwrap();
    assert_eq!(life.adapter.rows_of_unfinished(9), 0, "nothing is left of it");
    life.counted.clear();
    life.check("forgotten");
}

#[test]
fn rows_of_a_class_that_was_forgotten_while_they_could_not_be_read_do_not_come_back() {
    for checkpoint in [false, true] {
        let mut life = Life::roomy();
        for n in 0..60 {
            life.recording(n + 1, true, &[row(n, DIM, BITS)]);
        }
        life.adapter.checkpoint().unwrap();
        life.adapter.checkpoint().unwrap();
        let mut image = life.disk.image();
        image.file("chunks")[800] ^= 4;
        let disk = Disk::of(image);
        let mut adapter = disk.open(Access::Write).unwrap();
        assert_eq!((adapter.damaged_chunks(), adapter.held_rows()), (1, 0));
        adapter.forget(&class("wren"), Durability::Now).unwrap();
        if checkpoint {
            adapter.checkpoint().unwrap();
        }
        drop(adapter);
        let mut image = disk.image();
        image.file("chunks")[800] ^= 4;
        let again = Disk::of(image).open(Access::Write).unwrap();
        assert_eq!(again.damaged_chunks(), 0);
        assert!(again.held_labels().all(|(_, labels, _)| !names(labels, &class("wren"))), "checkpoint: {checkpoint}");
        assert_eq!(again.held_rows() > 0, !checkpoint, "the others come back unless they were given up for good");
    }
}
