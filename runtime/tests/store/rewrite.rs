//! Adapters written anew: gone back to a checkpoint, packed together; and that no correction changes the length of a file.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::tempdir;
use wheatear::learn::{ClassName, Origin};
use wheatear::store::{Access, Adapter, Batch, Creation, Durability, Recovery};
use wheatear::units::Moment;
use wheatear::{ErrorKind, Result};

use crate::corrected::{BITS, DIM, Life, lost};
use crate::world::{ID, ORIGIN, Row, batch, bulky, creation, labels, row, rows, sums, sums_of, teach};

fn names(life: &Life) -> Vec<String> {
    life.disk.image().names.into_keys().collect()
}

#[test]
fn going_back_gives_exactly_the_statistics_of_then_and_learning_goes_on_as_a_new_incarnation() {
    for small in [false, true] {
        let mut life = if small { Life::small() } else { Life::roomy() };
        for n in 0..30 {
            life.recording(n + 1, true, &[row(n, DIM, BITS)]);
        }
        life.adapter.checkpoint().unwrap();
        let (then, digest, generation) = (life.counted.clone(), life.adapter.statistics_digest().unwrap(), life.adapter.generation());
        let held = life.held();
        for n in 30..44 {
            life.recording(n + 1, true, &[row(n, DIM, BITS)]);
        }
        life.adapter.relabel(&[44], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
        life.counted.get_mut(&44).unwrap().labels = labels(&["jay"], &[]);
        life.adapter.checkpoint().unwrap();
        life.recording(99, true, &[row(77, DIM, BITS)]);
        life.reopen();
        let now = life.adapter.generation();
        assert_eq!(life.adapter.generations()[1], generation);
        let expected = lost(&life.counted, &then);
        assert_eq!(life.adapter.roll_back(generation, 4).unwrap(), expected);
        life.counted = then;
        assert_eq!(life.adapter.statistics_digest().unwrap(), digest);
        assert!(life.adapter.generation() > now, "the generation grows");
        assert_eq!(
            (life.adapter.origin(), names(&life)),
            (Origin { incarnation: 4, ..ORIGIN }, ["chunks.1", "header", "state.1"].map(String::from).to_vec())
        );
        life.check("gone back");
        assert!(life.held().keys().all(|id| held.contains_key(id)));
        assert!(small || life.held() == held, "with room nothing had to leave");
        let known: Vec<u64> = life.adapter.sources().collect();
        assert!(
            known.contains(&30) && !known.contains(&31) && !known.contains(&99),
            "what was taught since can be taught again: {known:?}"
        );
        for n in 50..70 {
            let ack = life.live(&[row(n, DIM, BITS)]);
            assert!(ack.first_row > 45, "ids of what was taken back are not used again");
        }
        life.check("taught on");
        assert_eq!(life.adapter.origins(), [ORIGIN, Origin { incarnation: 4, ..ORIGIN }]);
        life.reopen();
        assert_eq!((life.adapter.origin().incarnation, life.adapter.recovery()), (4, Recovery::Clean));
    }
}

#[test]
fn going_back_is_possible_to_each_of_the_checkpoints_named_and_to_no_other() {
    let mut life = Life::roomy();
    let mut states = BTreeMap::new();
    for n in 0..4 {
        life.live(&rows(3 * n, 3, DIM, BITS));
        life.adapter.checkpoint().unwrap();
        states.insert(life.adapter.generation(), life.adapter.statistics_digest().unwrap());
    }
    assert_eq!(life.adapter.generations(), [4, 3]);
    let operations = life.disk.operations();
    for generation in [0, 1, 2, 5] {
        let error = life.adapter.roll_back(generation, 4).unwrap_err();
        assert!(error.kind() == ErrorKind::Input && error.to_string().contains("[4, 3]"), "{error}");
    }
    assert_eq!(life.adapter.roll_back(3, ORIGIN.incarnation).unwrap_err().kind(), ErrorKind::Input, "the incarnation must be new");
    assert_eq!(life.disk.operations(), operations);
    life.check("refused");
    for (generation, incarnation) in [(4, 10), (3, 11)] {
        let mut copy = crate::disk::Disk::of(life.disk.image()).open(Access::Write).unwrap();
        copy.roll_back(generation, incarnation).unwrap();
        assert_eq!(copy.statistics_digest().unwrap(), states[&generation]);
    }
}

#[test]
fn one_can_go_back_again_and_again() {
    let mut life = Life::roomy();
    life.live(&rows(0, 5, DIM, BITS));
    let first = (life.adapter.statistics_digest().unwrap(), life.counted.clone());
    for incarnation in 10..16 {
        life.adapter.checkpoint().unwrap();
        let generation = life.adapter.checkpoint_generation();
        life.live(&rows(5, 4, DIM, BITS));
        life.adapter.roll_back(generation, incarnation).unwrap();
        life.counted = first.1.clone();
        assert_eq!((life.adapter.statistics_digest().unwrap(), life.adapter.origin().incarnation), (first.0, incarnation));
        life.check("back");
        life.reopen();
    }
    assert_eq!(life.adapter.header().creation.max_origins, 2, "incarnations that left nothing take no room");
    let error = life.adapter.roll_back(life.adapter.checkpoint_generation(), 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "the first one's rows are still here");
}

#[test]
fn compacting_keeps_everything() {
    for small in [false, true] {
        let mut life = if small { Life::small() } else { Life::roomy() };
        for n in 0..50 {
            life.recording(n / 3 + 1, n % 3 == 2, &[row(n, DIM, BITS)]);
            if n % 20 == 19 {
                life.adapter.checkpoint().unwrap();
            }
        }
        life.adapter.relabel(&[49], &labels(&["jay"], &["wren"]), "a person", Durability::Now).unwrap();
        life.counted.get_mut(&49).unwrap().labels = labels(&["jay"], &["wren"]);
        life.adapter.undo(1, Durability::Later).unwrap();
        life.counted.retain(|id, _| *id < 49);
        let (held, creation, horizon) = (life.held(), life.adapter.header().creation.clone(), life.adapter.oldest_undoable_row());
        let (known, unfinished): (Vec<u64>, u64) = (life.adapter.sources().collect(), life.adapter.rows_of_unfinished(17));
        let digest = life.adapter.statistics_digest().unwrap();
        for time in 1..4 {
            let generation = life.adapter.generation();
            life.adapter.compact().unwrap();
            assert_eq!((life.held(), &life.adapter.header().creation), (held.clone(), &creation), "compacted {time} times");
            assert_eq!((life.adapter.sources().collect::<Vec<_>>(), life.adapter.rows_of_unfinished(17)), (known.clone(), unfinished));
            assert_eq!((life.adapter.statistics_digest().unwrap(), life.adapter.oldest_undoable_row()), (digest, horizon));
            assert!(life.adapter.generation() > generation && life.adapter.origin() == ORIGIN);
            assert_eq!(names(&life), [format!("chunks.{time}"), "header".into(), format!("state.{time}")]);
            life.check("compacted");
        }
        let undone = life.adapter.undo(1, Durability::Now).unwrap().0;
        assert!(undone > 0);
        (0..undone).for_each(|_| drop(life.counted.pop_last()));
        life.live(&rows(100, 30, DIM, BITS));
        life.check("and corrected and taught on");
    }
}

#[test]
fn compacting_packs_rows_together_so_that_what_follows_has_room() {
    let mut life = Life::small();
    for n in 0..60 {
        // Long ones that leave, and short ones between them that stay.
        let batch = if n % 3 == 0 { batch(0, false) } else { bulky(18_000) };
        let labels = if n % 3 == 0 { labels(&["robin"], &[]) } else { labels(&["wren"], &[]) };
        life.teach(&batch, &[Row { labels, ..row(n, DIM, BITS) }]);
    }
    life.check("taught");
    life.adapter.compact().unwrap();
    life.check("compacted");
    let writes = |life: &Life| life.disk.operations();
    let before = writes(&life);
    life.live(&[row(99, DIM, BITS)]);
    assert_eq!(writes(&life) - before, 2, "one write and one sync");
}

/// Names and lengths of the files of an adapter.
fn lengths(folder: &Path) -> BTreeMap<String, u64> {
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap());
    files.map(|f| (f.file_name().into_string().unwrap(), f.metadata().unwrap().len())).collect()
}

#[test]
fn no_correction_changes_the_length_of_a_file_and_rewriting_replaces_the_set_by_one_as_long() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, Creation { max_origins: 4, ..creation(DIM as u32, BITS) }, ID).unwrap();
    let made = lengths(&folder);
    assert_eq!(made.keys().collect::<Vec<_>>(), ["chunks", "header", "lock", "state"]);
    let mut next = 0;
    let mut teach_more = |adapter: &mut Adapter, count: u64| {
        for (n, row) in (next..).zip(rows(next, count, DIM, BITS)) {
            let time = Moment { monotonic_ns: n, ..Moment::UNKNOWN };
            teach(adapter, &Batch { origin: adapter.origin(), time, ..bulky(9_000) }, &[row], Durability::Now).unwrap();
        }
        next += count;
    };
    type Correction = fn(&mut Adapter) -> Result<()>;
    let corrections: [(&str, Correction); 5] = [
        ("undo", |a| a.undo(1, Durability::Now).map(drop)),
        ("relabel", |a| a.relabel(&[a.oldest_undoable_row().unwrap()], &labels(&["jay"], &[]), "a person", Durability::Now).map(drop)),
        ("forget", |a| a.forget(&ClassName::new("robin").unwrap(), Durability::Now).map(drop)),
        ("checkpoint", |a| a.checkpoint()),
        ("sync", |a| a.sync()),
    ];
    for round in 0..3 {
        for (what, correct) in corrections {
            teach_more(&mut adapter, 14);
            correct(&mut adapter).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(lengths(&folder), made, "round {round}: {what}");
        }
    }
    let renamed = |epoch: u64| {
        let name = |n: &String| if n == "chunks" || n == "state" { format!("{n}.{epoch}") } else { n.clone() };
        made.iter().map(|(n, len)| (name(n), *len)).collect::<BTreeMap<_, _>>()
    };
    let held_sums = |adapter: &Adapter| sums(&crate::world::held(adapter).unwrap().into_iter().map(|(_, r)| r).collect::<Vec<_>>(), DIM);
    adapter.compact().unwrap();
    assert_eq!(lengths(&folder), renamed(1), "compact");
    let digest = adapter.statistics_digest().unwrap();
    drop(adapter);
    for access in [Access::Read, Access::Write] {
        assert_eq!(Adapter::open(&folder, access).unwrap().statistics_digest().unwrap(), digest, "compacted and reopened");
    }
    let mut adapter = Adapter::open(&folder, Access::Write).unwrap();
    teach_more(&mut adapter, 20);
    adapter.forget_hard(&ClassName::new("wren").unwrap()).unwrap();
    assert_eq!((lengths(&folder), sums_of(&adapter)), (renamed(2), held_sums(&adapter)), "forget_hard");
    teach_more(&mut adapter, 20);
    adapter.checkpoint().unwrap();
    let digest = adapter.statistics_digest().unwrap();
    let generation = adapter.generation();
    teach_more(&mut adapter, 1);
    adapter.roll_back(generation, 77).unwrap();
    assert_eq!((lengths(&folder), adapter.statistics_digest().unwrap()), (renamed(3), digest), "roll_back");
    teach_more(&mut adapter, 40);
    assert_eq!(lengths(&folder), renamed(3), "and learning goes on");
    let error = Adapter::open(&folder, Access::Write).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "the lock is still held");
}
