//! Salvage: what is whole of a wreck comes back, nothing else does, and the report says what is true.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wheatear::ErrorKind;
use wheatear::learn::{Block, ClassName, LabelSet};
use wheatear::store::frame::{Kind, unframe_postcard};
use wheatear::store::state::Root;
use wheatear::store::storage::DiskFolder;
use wheatear::store::{Access, Adapter, Batch, Durability, Header, HeaderFound, Salvage, Wrong};

use crate::committed;
use crate::disk::{Disk, Image};
use crate::world::{Row, batch, creation, held, labels, row, rows, sums, sums_of, teach};
use crate::wreck::{Broken, CHUNK, DIM, Life, NEW_ID, SLOT, chunks, life, long_life, records};

#[test]
fn an_undamaged_adapter_comes_back_whole() {
    for life in [life(), long_life()] {
        let found = life.salvage(life.image());
        assert_eq!(found.counted, life.counted);
        assert_eq!(found.rows, life.held());
        let report = &found.report;
        assert!(report.is_complete() && report.damage.is_empty() && report.unknown.is_empty(), "{report:#?}");
        assert_eq!((report.header, report.newest_generation, report.damaged_chunks), (HeaderFound::Whole, life.adapter.generation(), 0));
        let sources: Vec<u64> = life.adapter.sources().collect();
        assert_eq!(found.adapter.sources().collect::<Vec<_>>(), sources);
        assert!(sources.iter().all(|s| found.adapter.has_source(*s) == life.adapter.has_source(*s)));
        let counted: u64 = report.rows.iter().filter(|r| r.class == Some(ClassName::new("jay").unwrap())).map(|r| r.counted).sum();
        assert_eq!(counted, life.counted.values().filter(|l| l.positive().contains(&ClassName::new("jay").unwrap())).count() as u64);
    }
}

#[test]
fn what_was_salvaged_goes_on_learning() {
    let life = long_life();
    let mut adapter = life.salvage(life.image()).adapter;
    let own = Batch { origin: adapter.origin(), ..batch(1000, true) };
    let new = rows(7000, 3, DIM, 8);
    let first = teach(&mut adapter, &own, &new, Durability::Now).unwrap().first_row;
    assert!(life.rows.keys().all(|id| *id < first), "ids go on");
    let mut all = life.counted.clone();
    assert_eq!(adapter.undo(1, Durability::Now).unwrap().0, 3);
    assert_eq!(sums_of(&adapter), life.sums_of(&all));
    let last = *life.held().keys().next_back().unwrap();
    adapter.relabel(&[last], &labels(&["owl"], &[]), "a person", Durability::Now).unwrap();
    all.insert(last, labels(&["owl"], &[]));
    assert_eq!(sums_of(&adapter), life.sums_of(&all), "rows of before are relabelled");
}

#[test]
fn one_copy_of_the_header_is_as_good_as_two() {
    let life = life();
    let len = life.image().file("header").len();
    for (from, to, kept) in [(0, len / 2, true), (len / 2, len, true), (0, len, false)] {
        let mut image = life.image();
        image.file("header")[from..to].fill(0xa5);
        if kept {
            let found = life.salvage(image);
            assert_eq!((found.report.header, found.counted == life.counted), (HeaderFound::OneCopy, true));
            assert!(found.has(&Wrong::Header) && found.report.is_complete());
        } else {
            let error = life.try_salvage(&Broken::of(image), None).err().unwrap();
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("--like ADAPTER"), "{error}");
        }
    }
    // Power cut while a rewriting put its header in place.
    let mut image = life.image();
    let header = image.names.remove("header").unwrap();
    image.names.insert("header.new".to_owned(), header);
    let found = life.salvage(image);
    assert_eq!((found.report.header, found.counted == life.counted), (HeaderFound::Rewritten, true));
    // Cut in the second copy, and with bytes behind it.
    let mut image = life.image();
    image.file("header").truncate(len / 2 + 100);
    assert_eq!(life.salvage(image).report.header, HeaderFound::OneCopy);
    let mut image = life.image();
    image.file("header").extend([7; 5000]);
    assert_eq!(life.salvage(image).report.header, HeaderFound::Whole);
}

#[test]
fn without_a_header_another_adapter_of_the_space_gives_it() {
    let life = long_life();
    let mut other = creation(DIM as u32, 8);
    (other.origin.device, other.replay_rows, other.undo_rows) = ([8; 16], 16, 4);
    let like = Disk::new(&Header::new(other, [1; 16]).unwrap()).open(Access::Read).unwrap();
    for wrecked in ["nothing else", "checkpoints"] {
        let mut image = life.image();
        image.names.remove("header");
        if wrecked == "checkpoints" {
            image.file("state").fill(0);
        }
        let found = life.salvage_from(&Broken::of(image), Some(&like));
        assert_eq!(found.report.header, HeaderFound::Like);
        assert!(!found.report.is_complete() && !found.report.unknown.is_empty(), "its scales are another's");
        if wrecked == "nothing else" {
            assert_eq!((found.counted, found.rows), (life.counted.clone(), life.held()));
        } else {
            assert!(life.held().keys().all(|id| found.rows.contains_key(id)), "all that was held is there");
        }
    }
    // An adapter of other dimensions, or other bits, is refused.
    for (dim, bits) in [(DIM as u32 + 1, 8), (DIM as u32, 7)] {
        let like = Disk::new(&Header::new(creation(dim, bits), [1; 16]).unwrap()).open(Access::Read).unwrap();
        let mut image = life.image();
        image.names.remove("header");
        for without_checkpoints in [false, true] {
            if without_checkpoints {
                image.file("state").fill(0);
            }
            let error = life.try_salvage(&Broken::of(image.clone()), Some(&like)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        }
    }
}

#[test]
fn without_a_checkpoint_the_statistics_are_summed_from_the_records() {
    let life = life();
    for gone in ["zeros", "missing", "empty"] {
        let mut image = life.image();
        match gone {
            "zeros" => image.file("state").fill(0),
            "missing" => drop(image.names.remove("state")),
            _ => image.file("state").clear(),
        }
        let found = life.salvage(image);
        assert_eq!((found.report.checkpoint, found.report.exact_to), (None, Some(life.adapter.generation())), "{gone}");
        assert_eq!((found.counted, found.rows), (life.counted.clone(), life.held()), "every record is there");
    }
    // Where chunks were taken again, what had left replay is gone from the sums, and all that is held is there.
    let life = long_life();
    let mut image = life.image();
    image.file("state").fill(0);
    let found = life.salvage(image);
    assert_eq!(found.report.exact_to, None);
    assert!(life.held().keys().all(|id| found.counted.get(id) == life.counted.get(id)), "what was held is counted as it was");
    assert!(life.held().iter().all(|(id, row)| found.rows.get(id) == Some(row)));
    assert!(found.counted.len() < life.counted.len() && !found.report.unknown.is_empty());
}

#[test]
fn a_damaged_newest_checkpoint_costs_nothing() {
    let life = life();
    let newest = {
        let mut image = life.image();
        let state = image.file("state").clone();
        let generation = |slot: usize| -> Option<u64> {
            unframe_postcard::<Root>(&state[slot * SLOT..(slot + 1) * SLOT], Kind::Root).ok().map(|r| r.generation)
        };
        (0..8).max_by_key(|slot| generation(*slot)).unwrap()
    };
    let mut image = life.image();
    image.file("state")[newest * SLOT + 40] ^= 1;
    let found = life.salvage(image);
    assert!(found.has(&Wrong::Root) && found.report.is_complete(), "{:#?}", found.report);
    assert!(found.report.checkpoint.is_some_and(|g| g < life.salvage(life.image()).report.checkpoint.unwrap()));
    assert_eq!((found.counted, found.rows), (life.counted.clone(), life.held()));
}

#[test]
fn a_destroyed_chunk_costs_its_rows_and_no_statistics_of_a_checkpoint() {
    let life = life();
    let mut image = life.image();
    let first = chunks(&mut image)[&0];
    image.file("chunks")[first..first + CHUNK].fill(0x5a);
    let found = life.salvage(image);
    assert!(found.has(&Wrong::Records) && !found.report.is_complete());
    assert_eq!(found.counted, life.counted, "the checkpoint covers it");
    assert!(!found.rows.is_empty() && found.rows.len() < life.held().len());
    assert!(found.rows.iter().all(|(id, row)| life.held().get(id) == Some(row)));
    let gone: u64 = found.report.rows.iter().map(|r| r.counted - r.held).sum();
    assert!(gone > 0, "{:#?}", found.report);
}

#[test]
fn a_record_destroyed_in_the_middle_of_the_journal_costs_only_itself() {
    // Where no checkpoint covers it, opening refuses.
    let mut life = life();
    for _ in 0..5 {
        life.learn(1, 15_500);
    }
    let image = &mut life.image();
    let all = chunks(image);
    let newest = *all.keys().next_back().unwrap();
    let places: Vec<_> = all.range(newest - 1..).flat_map(|(_, start)| records(image, *start)).collect();
    let opened = |image: &Image| Disk::of(image.clone()).open(Access::Read).err().map(|e| e.kind());
    let mut refused = 0;
    for (offset, len) in &places[..places.len() - 1] {
        let mut image = image.clone();
        image.file("chunks")[offset + 24..offset + len / 2].fill(0x33);
        refused += u64::from(opened(&image) == Some(ErrorKind::Corrupt));
        let found = life.salvage(image);
        assert!(!found.report.is_complete() && found.has(&Wrong::Records), "{:#?}", found.report);
        assert_eq!(found.report.damaged_chunks, 1);
        let damage = found.report.damage.iter().find(|d| d.what == Wrong::Records).unwrap();
        assert_eq!(damage.bytes, *offset as u64..(offset + len) as u64);
        let gone: BTreeSet<u64> = life.counted.keys().filter(|id| !found.counted.contains_key(id)).copied().collect();
        match found.report.exact_to {
            Some(exact) if exact < life.adapter.generation() => assert!(gone.len() <= 3, "one record's rows at most: {gone:?}"),
            _ => assert!(gone.is_empty(), "the checkpoint has it: {gone:?}"),
        }
    }
    assert!(refused > 1, "opening refuses some of these");
}

#[test]
fn what_a_lost_record_did_is_not_done_twice_nor_undone_wrongly() {
    // Learn, relabel (lost), relabel again, take back something else.
    let mut life = Life::begin();
    life.learn(2, 500);
    life.checkpoint();
    // So many that taking out one that is not among them goes unnoticed.
    let ids = life.learn(6, 500);
    life.relabel(&ids, &labels(&["jay"], &[]));
    life.relabel(&[1, 2], &labels(&["jay"], &[]));
    life.relabel(&ids[..1], &labels(&["owl"], &[]));
    life.relabel(&[1], &labels(&["owl"], &[]));
    let places = records(&mut life.image(), 0);
    // Of a row that the checkpoint counts, a gap hides what it is counted as: that correction is left out.
    let first = life.rows[&1].labels.positive().iter().next().unwrap().as_str().to_owned();
    for (lost, skipped, seen) in [(1, 0, ["owl", "owl"]), (2, 0, ["owl", "owl"]), (3, 1, ["owl", &first])] {
        let mut image = life.image();
        image.file("chunks")[places[lost].0 + 30] ^= 1;
        let found = life.salvage(image);
        assert_eq!(found.report.skipped.len(), skipped, "record {lost}: {:#?}", found.report);
        let now = |id: u64| found.counted[&id].positive().iter().next().unwrap().as_str().to_owned();
        assert_eq!([now(ids[0]), now(1)], seen, "record {lost}");
    }
}

#[test]
fn what_was_taken_back_or_forgotten_stays_so_where_the_record_of_it_is_whole() {
    let mut life = Life::begin();
    life.learn(2, 500);
    let ids = life.learn(2, 500);
    life.relabel(&ids, &labels(&["a secret"], &[]));
    life.learn(1, 500);
    life.undo();
    life.adapter.forget(&ClassName::new("a secret").unwrap(), Durability::Now).unwrap();
    ids.iter().for_each(|id| drop(life.counted.remove(id)));
    life.note();
    let places = records(&mut life.image(), 0);
    for lost in 0..places.len() {
        let mut image = life.image();
        image.file("chunks")[places[lost].0 + 30] ^= 1;
        let found = life.salvage(image);
        let secret = |l: &LabelSet| l.positive().iter().any(|c| c.as_str() == "a secret");
        // Record 5 takes the rows of the class back; without it they are.
        let expected = if lost + 1 == places.len() { 2 } else { 0 };
        assert_eq!(found.rows.values().filter(|r| secret(&r.labels)).count(), expected, "record {lost}");
    }
}

#[test]
fn a_class_that_was_forgotten_comes_back_under_no_name() {
    // Rows that had left replay: their sums stay as an anonymous class.
    let mut life = Life::begin();
    for _ in 0..30 {
        life.learn(2, 9_000);
    }
    let wren = ClassName::new("wren").unwrap();
    life.adapter.forget(&wren, Durability::Now).unwrap();
    let expected = sums_of(&life.adapter);
    for without_checkpoints in [false, true] {
        let mut image = life.image();
        if without_checkpoints {
            image.file("state").fill(0);
        }
        let salvage = Salvage::read(&Broken::of(image), None).unwrap();
        let new = Disk::default();
        let adapter = salvage.restore_in(new.folder(), NEW_ID, 1).unwrap();
        let named = adapter.blocks().any(|(_, b): (_, &Block)| b.classes().contains_key(&wren));
        assert!(!named, "it has no name");
        assert!(held(&adapter).unwrap().iter().all(|(_, r)| !r.labels.positive().contains(&wren)));
        assert!(without_checkpoints || sums_of(&adapter) == expected);
    }
}

#[test]
fn a_chunk_file_that_ends_early_gives_what_lies_before() {
    let life = life();
    for len in [0, 100, 40_000, CHUNK + 30_000, 2 * CHUNK + 700] {
        let mut image = life.image();
        image.file("chunks").truncate(len);
        let found = life.salvage(image);
        assert!(found.has(&Wrong::CutShort) && !found.report.is_complete(), "{len}: {:#?}", found.report);
        assert_eq!(found.report.exact_to, found.report.checkpoint.max(Some(found.report.newest_generation)), "{len}");
        assert!(found.rows.iter().all(|(id, _)| life.rows.contains_key(id)));
    }
    let mut image = life.image();
    image.names.remove("chunks");
    let found = life.salvage(image);
    assert!(found.has(&Wrong::Missing) && found.rows.is_empty());
    assert_eq!(found.report.exact_to, found.report.checkpoint);
    let mut image = life.image();
    for name in ["chunks", "state"] {
        image.file(name).extend([0xee; 70_001]);
    }
    let found = life.salvage(image);
    assert!(found.has(&Wrong::TooLong) && found.report.is_complete(), "{:#?}", found.report);
    assert_eq!((found.counted, found.rows), (life.counted.clone(), life.held()));
}

#[test]
fn sectors_that_cannot_be_read_cost_what_lies_on_them() {
    let life = life();
    let mut wreck = Broken::of(life.image());
    wreck.unreadable = vec![("chunks", 20_000..20_001), ("state", 0..1), ("header", 10..11)];
    let found = life.salvage_from(&wreck, None);
    assert!(found.has(&Wrong::Unreadable) && found.has(&Wrong::Header) && !found.report.is_complete(), "{:#?}", found.report);
    assert_eq!(found.counted, life.counted, "a checkpoint is whole");
    assert!(found.rows.len() < life.held().len() && !found.rows.is_empty());
    wreck.unreadable = vec![("chunks", 0..u64::MAX), ("state", 0..u64::MAX)];
    assert_eq!(life.try_salvage(&wreck, None).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn where_nothing_is_whole_nothing_is_made() {
    let life = life();
    let mut image = life.image();
    image.file("chunks").fill(0x77);
    image.file("state").fill(0x77);
    let error = life.try_salvage(&Broken::of(image.clone()), None).err().unwrap();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("nothing"), "{error}");
    let error = life.try_salvage(&Broken::of(image), Some(&life.adapter)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(Salvage::read(&Broken::of(Image::default()), None).is_err());
}

#[test]
fn a_wreck_that_is_being_written_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let mut writer = Adapter::create(&path, creation(DIM as u32, 8), NEW_ID).unwrap();
    teach(&mut writer, &batch(1, true), &rows(0, 2, DIM, 8), Durability::Now).unwrap();
    let disk = DiskFolder::new(&path);
    assert_eq!(Salvage::read(&disk, None).err().unwrap().kind(), ErrorKind::Busy);
    drop(writer);
    let salvage = Salvage::read(&disk, None).unwrap();
    assert_eq!(Adapter::open(&path, Access::Write).err().unwrap().kind(), ErrorKind::Busy, "as long as it is being salvaged");
    drop(salvage);
    Adapter::open(&path, Access::Write).unwrap();
}

#[test]
fn adapters_of_each_format_are_salvaged_with_and_without_their_checkpoints() {
    for (version, without_checkpoints) in [(1, false), (1, true), (2, false), (2, true)] {
        let mut taught = rows(0, 12, committed::DIM, committed::BITS);
        if version == 2 {
            taught[1].labels = labels(&["jay"], &[]);
        }
        let mut image = committed::committed(version);
        if without_checkpoints {
            image.file("state").fill(0);
        }
        let salvage = Salvage::read(&Broken::of(image), None).unwrap();
        assert!(salvage.report().is_complete(), "format {version}: {:#?}", salvage.report());
        let new = Disk::default();
        let adapter = salvage.restore_in(new.folder(), NEW_ID, 1).unwrap();
        assert_eq!(sums_of(&adapter), sums(&taught, committed::DIM), "format {version}");
        let rows: BTreeMap<u64, Row> = held(&adapter).unwrap().into_iter().collect();
        assert_eq!(rows.into_values().collect::<Vec<_>>(), taught, "format {version}");
        assert!(adapter.has_source(77) && adapter.rows_of_unfinished(78) == 3);
    }
}

#[test]
fn a_rewritten_adapter_is_salvaged_from_its_new_files() {
    let mut life = long_life();
    life.adapter.compact().unwrap();
    life.after.insert(life.adapter.generation(), life.counted.clone());
    life.learn(2, 900);
    let found = life.salvage(life.image());
    assert_eq!((&found.counted, &found.rows), (&life.counted, &life.held()));
    assert!(found.report.is_complete(), "{:#?}", found.report);
    // Its header gone, with and without its checkpoints.
    let mut image = life.image();
    image.names.remove("header");
    let found = life.salvage_from(&Broken::of(image.clone()), Some(&life.adapter));
    assert_eq!((&found.counted, &found.rows), (&life.counted, &life.held()));
    image.file("state.1").fill(0);
    let found = life.salvage_from(&Broken::of(image), Some(&life.adapter));
    assert_eq!((found.rows, found.report.exact_to), (life.held(), None));
}

#[test]
fn what_lies_behind_a_chunk_from_its_slots_earlier_life_stays_away() {
    // With the first bytes of a chunk gone, and the checkpoints, or neither.
    let life = long_life();
    let all = chunks(&mut life.image());
    for (sequence, start) in &all {
        for without_checkpoints in [false, true] {
            let mut image = life.image();
            image.file("chunks")[*start..*start + 512].fill(0);
            if without_checkpoints {
                image.file("state").fill(0);
            }
            let found = life.salvage(image);
            let held = life.held();
            assert!(held.iter().all(|(id, row)| found.rows.get(id) == Some(row)), "chunk {sequence}: every row is there");
            assert!(without_checkpoints || found.rows.len() == held.len(), "chunk {sequence}");
        }
    }
}

#[test]
fn a_course_of_the_journal_that_was_rolled_back_stays_so() {
    let mut life = Life::begin();
    life.learn(2, 500);
    let common = life.image();
    (0..4).for_each(|_| drop(life.learn(1, 3_000)));
    let (mut rolled_back, places) = (life.image(), records(&mut life.image(), 0));
    // The same two rows, and then others, in fewer bytes.
    let disk = Disk::of(common);
    let mut life = Life { adapter: disk.open(Access::Write).unwrap(), disk, ..life };
    life.counted.retain(|id, _| *id <= 2);
    (0..3).for_each(|_| drop(life.learn(1, 500)));
    let end = records(&mut life.image(), 0).last().map(|(at, len)| at + len).unwrap();
    for (stale, left_out) in [(2, 1), (3, 1), (4, 1)] {
        let (at, len) = places[stale];
        let stale = rolled_back.file("chunks")[at..at + len].to_vec();
        let mut image = life.image();
        image.file("chunks")[end + 800..end + 800 + len].copy_from_slice(&stale);
        let found = life.salvage(image);
        assert_eq!((&found.counted, &found.rows), (&life.counted, &life.held()));
        assert_eq!(found.report.rolled_back, left_out, "{:#?}", found.report);
        assert!(found.report.is_complete());
    }
}

#[test]
fn a_whole_record_behind_one_that_never_arrived_is_taken() {
    // The disk wrote out of order when the power went: opening rolls back to the record before.
    let mut life = Life::begin();
    (0..5).for_each(|_| drop(life.learn(1, 600)));
    let places = records(&mut life.image(), 0);
    let mut image = life.image();
    image.file("chunks")[places[3].0..places[4].0].fill(0);
    let found = life.salvage(image);
    assert_eq!(found.rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 5]);
    assert_eq!((found.report.missing.as_slice(), found.report.exact_to), (&[(4, 4)][..], Some(3)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is damaged: nothing panics, and what [`Life::try_salvage`] checks holds.
    #[test]
    fn whatever_is_damaged_what_comes_back_is_true(
        long in any::<bool>(),
        damage in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), 1..6usize, any::<u32>()), 0..14),
        cut in prop::option::weighted(0.2, (0..3usize, any::<prop::sample::Index>())),
        with_like in any::<bool>(),
    ) {
        thread_local! {
            static LIVES: [Life; 2] = [life(), long_life()];
        }
        LIVES.with(|lives| {
            let life = &lives[usize::from(long)];
            let mut image = life.image();
            let files = ["header", "chunks", "state"];
            for (file, at, sectors, seed) in &damage {
                // The header twice as seldom: without it most of the rest is not reached.
                let file = if *file == 0 && seed % 2 == 0 { "chunks" } else { files[*file] };
                let bytes = image.file(file);
                let first = at.index(bytes.len() / 512) * 512;
                let end = bytes.len().min(first + sectors * 512);
                let garbage = row(u64::from(*seed), end - first, 8).latent;
                bytes[first..end].iter_mut().zip(garbage).for_each(|(b, g)| *b = g as u8);
            }
            if let Some((file, at)) = cut {
                let bytes = image.file(files[file]);
                bytes.truncate(at.index(bytes.len()));
            }
            let like = with_like.then_some(&life.adapter);
            match life.try_salvage(&Broken::of(image), like) {
                Ok(_) => {}
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
            }
        });
    }
}
