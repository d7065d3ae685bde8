//! Verifying: what is whole is clean, and each damage that opening forgives is found.

use wheatear::ErrorKind;
use wheatear::learn::LabelSet;
use wheatear::store::verify::Verified;
use wheatear::store::{Access, Adapter, Anew, Durability, Header, Learned, NewRow, Recovery, RowFlags};

use crate::disk::{Disk, Event, Image};
use crate::world::{ID, ORIGIN, Row, batch, bulky, check, creation, held, labels, rows, teach};

const CHUNK: usize = 65_536;
const SLOT: usize = 65_536;

/// An adapter whose chunks have all been used, some more than once, with three rows behind its newest checkpoint.
fn full() -> (Disk, Vec<Row>) {
    let disk = Disk::new(&Header::new(creation(5, 8), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    let mut taught = Vec::new();
    for step in 0..70 {
        if step == 67 {
            adapter.checkpoint().unwrap();
        }
        let new = rows(taught.len() as u64, 1, 5, 8);
        teach(&mut adapter, &bulky(if step < 67 { 20_000 } else { 500 }), &new, Durability::Now).unwrap();
        taught.extend(new);
    }
    check(&adapter, &taught);
    (disk, taught)
}

fn verify(image: &Image) -> wheatear::Result<Verified> {
    Adapter::verify_in(&Disk::of(image.clone()).folder())
}

/// What is found when `byte` of the file `name` is flipped; the adapter opens all the same, with all that was taught.
fn forgiven(image: &Image, name: &str, byte: usize, taught: &[Row]) -> Verified {
    let mut image = image.clone();
    image.file(name)[byte] ^= 0x10;
    let verified = verify(&image).unwrap();
    assert!(!verified.is_clean() && verified.findings.len() == 1, "{name} byte {byte}: {verified:#?}");
    check(&Disk::of(image).open(Access::Write).unwrap(), taught);
    verified
}

/// The sequence that each chunk names, by slot.
fn sequences(image: &mut Image) -> Vec<u8> {
    image.file("chunks").chunks(CHUNK).map(|chunk| if chunk.starts_with(b"WHTR") { chunk[40] } else { u8::MAX }).collect()
}

#[test]
fn what_is_whole_is_clean_and_everything_is_counted() {
    let (disk, taught) = full();
    let seen = verify(&disk.image()).unwrap();
    assert!(seen.is_clean(), "{:#?}", seen.findings);
    let adapter = disk.open(Access::Write).unwrap();
    let lengths: usize = ["header", "chunks", "state"].iter().map(|n| disk.image().file(n).len()).sum();
    assert_eq!((seen.bytes, seen.header_copies, seen.generation), (lengths as u64, 2, adapter.generation()));
    assert_eq!((seen.chunks, seen.damaged_chunks), (10, 0), "those whose rows have left are looked at too");
    assert!(seen.roots > 2 && seen.extents >= 2 * 5, "{seen:?}");
    assert_eq!((seen.held_rows, seen.blocks, seen.components), (adapter.held_rows(), 3, 5 * adapter.held_rows()));
    let at_limit = held(&adapter).unwrap().iter().flat_map(|(_, r)| r.latent.clone()).filter(|q| q.abs() == 127).count();
    assert_eq!(seen.components_at_limit, at_limit as u64);
    assert!(seen.summed_blocks < 3 && (taught.len() as u64) > seen.held_rows, "rows have left");
    assert!(seen.bounds.iter().any(|b| (b.what, b.used, b.most) == ("classes", 4, 8)), "{:?}", seen.bounds);
}

#[test]
fn an_adapter_that_holds_all_its_rows_is_summed_exactly_before_and_behind_a_rewriting() {
    let disk = Disk::new(&Header::new(creation(7, 5), ID).unwrap());
    assert!(verify(&disk.image()).unwrap().is_clean(), "a new one");
    let mut adapter = disk.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(3, true), &rows(0, 10, 7, 5), Durability::Now).unwrap();
    adapter.relabel(&[1, 2], &labels(&["owl"], &["wren"]), "a person", Durability::Now).unwrap();
    for _ in 0..2 {
        let seen = verify(&disk.image()).unwrap();
        assert!(seen.is_clean(), "{:#?}", seen.findings);
        assert_eq!((seen.summed_blocks, seen.blocks), (3, 3));
        adapter.compact().unwrap();
    }
}

#[test]
fn damage_that_opening_forgives_is_found() {
    let (disk, taught) = full();
    let mut image = disk.image();
    for copy in 0..2 {
        let seen = forgiven(&image, "header", 4096 * copy + 100, &taught);
        assert_eq!(seen.header_copies, 1);
    }
    let sequences = sequences(&mut image);
    let open = sequences.iter().position(|s| s == sequences.iter().max().unwrap()).unwrap();
    let (mut sealed, mut dead) = (0, 0);
    for slot in 0..sequences.len() {
        let seen = forgiven(&image, "chunks", slot * CHUNK + 30, &taught);
        assert!(seen.findings[0].what.contains("first bytes"), "{seen:?}");
        let mut damaged = image.clone();
        damaged.file("chunks")[(slot + 1) * CHUNK - 512 + 20] ^= 0x10;
        // Where the chunk behind it is gone, nothing else tells where it ends; then it is damaged.
        if slot != open && verify(&damaged).unwrap().damaged_chunks == 0 {
            let seen = forgiven(&image, "chunks", (slot + 1) * CHUNK - 512 + 20, &taught);
            assert!(seen.findings[0].what.contains("seal"), "{seen:?}");
            sealed += 1;
        }
        let mut damaged = image.clone();
        damaged.file("chunks")[slot * CHUNK + 700] ^= 0x10;
        // A chunk that nothing needs any more.
        if slot != open && verify(&damaged).unwrap().damaged_chunks == 0 {
            let seen = forgiven(&image, "chunks", slot * CHUNK + 700, &taught);
            let found = &seen.findings[0];
            assert!(found.what.contains("not what its seal says") || found.what.contains("whose rows have left"), "{seen:?}");
            assert_eq!(found.means, "nothing is lost");
            dead += 1;
        }
    }
    assert!(sealed > 0 && dead > 0, "{sealed} seals, {dead} dead chunks");
}

#[test]
fn a_damaged_chunk_with_held_rows_is_told_with_what_it_costs() {
    let (disk, _) = full();
    let mut image = disk.image();
    let adapter = disk.open(Access::Read).unwrap();
    let mut found = 0;
    for slot in 0..8 {
        image.file("chunks")[slot * CHUNK + 700] ^= 1;
        let seen = verify(&image).unwrap();
        image.file("chunks")[slot * CHUNK + 700] ^= 1;
        assert!(!seen.is_clean(), "slot {slot}");
        if seen.held_rows < adapter.held_rows() {
            found += 1;
            assert!(seen.damaged_chunks == 1 && seen.findings[0].means.contains("left replay"), "{seen:?}");
        }
    }
    assert!(found > 0);
}

#[test]
fn either_checkpoint_and_either_of_its_parts_is_looked_at() {
    let disk = Disk::new(&Header::new(creation(5, 8), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    let taught = rows(0, 6, 5, 8);
    for (i, row) in taught.iter().enumerate() {
        teach(&mut adapter, &batch(0, false), std::slice::from_ref(row), Durability::Now).unwrap();
        if i % 3 == 2 {
            adapter.checkpoint().unwrap();
        }
    }
    let image = disk.image();
    assert!(verify(&image).unwrap().is_clean());
    let state = image.names["state"];
    let writes = disk.events().into_iter().filter_map(|e| match e {
        Event::Write { file, offset, bytes } if file == state => Some((offset, bytes.len())),
        _ => None,
    });
    let (mut roots, mut extents) = (0, 0);
    for (offset, len) in writes {
        let what = if offset < 8 * SLOT { "a checkpoint is torn or damaged" } else { "the checkpoint of generation" };
        *(if offset < 8 * SLOT { &mut roots } else { &mut extents }) += 1;
        let seen = forgiven(&image, "state", offset + len / 2, &taught);
        assert!(seen.findings[0].what.starts_with(what), "byte {offset}: {seen:?}");
    }
    assert!(roots == 2 && extents >= 4, "{roots} roots, {extents} extents");
}

#[test]
fn a_torn_record_is_told_as_rolled_back_and_a_lost_one_as_an_error() {
    let (disk, _) = full();
    let mut image = disk.image();
    let chunks = image.names["chunks"];
    let records: Vec<usize> = disk
        .events()
        .iter()
        .filter_map(|e| match e {
            Event::Write { file, offset, .. } if *file == chunks => Some(*offset),
            _ => None,
        })
        .collect();
    let last = records[records.len() - 1];
    image.file("chunks")[last + 100] ^= 1;
    let seen = verify(&image).unwrap();
    assert_eq!(seen.recovery, Recovery::RolledBack { generation: seen.generation });
    assert!(!seen.is_clean() && seen.findings.is_empty(), "{:#?}", seen.findings);
    // Both copies of the header.
    let mut image = disk.image();
    (image.file("header")[50], image.file("header")[4146]) = (1, 1);
    assert_eq!(verify(&image).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn rows_that_the_statistics_do_not_hold_are_found() {
    let taught = rows(0, 5, 3, 8);
    let header = Header::new(creation(3, 8), ID).unwrap();
    let source = Disk::new(&header);
    let mut adapter = source.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(0, false), &taught, Durability::Now).unwrap();
    let whole = adapter.as_it_is();
    let wrong = |anew: Anew, shift: i8| {
        let disk = Disk::default();
        let copied: Vec<Row> = taught.iter().cloned().map(|mut r| (r.latent[1] /= 1 + shift, r).1).collect();
        Adapter::import_in(disk.folder(), header.clone(), anew, |sink| sink(learned(&copied))).unwrap();
        verify(&disk.image()).unwrap().findings
    };
    assert_eq!(wrong(whole.clone(), 0), []);
    assert!(wrong(whole.clone(), 1)[0].what.contains("do not hold the held rows"));
    assert!(wrong(Anew { statistics: Default::default(), ..whole }, 0)[0].what.contains("no Latents statistics"));
}

fn learned(rows: &[Row]) -> Learned {
    let new = |(i, r): (usize, &'_ Row)| -> (u64, Vec<i8>, LabelSet, i64, u64, RowFlags) {
        (i as u64 + 1, r.latent.clone(), r.labels.clone(), r.time_delta_ns, r.start_sample, r.flags)
    };
    let all: Vec<_> = rows.iter().enumerate().map(new).collect();
    let rows: Vec<(u64, NewRow<'_>)> = all
        .iter()
        .map(|(id, latent, labels, time_delta_ns, start_sample, flags)| {
            (*id, NewRow { latent, labels, time_delta_ns: *time_delta_ns, start_sample: *start_sample, flags: *flags })
        })
        .collect();
    Learned::new(batch(0, false), &rows)
}

#[test]
fn rows_of_one_record_that_fill_several_chunks_are_imported() {
    let (taught, header) = (rows(0, 1500, 40, 8), Header::new(creation(40, 8).with_replay_rows(2000), ID).unwrap());
    let source = Disk::new(&header);
    let mut adapter = source.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(9, true), &taught, Durability::Now).unwrap();
    let disk = Disk::default();
    let copy = Adapter::import_in(disk.folder(), header, adapter.as_it_is(), |sink| sink(learned(&taught))).unwrap();
    check(&copy, &taught);
    assert_eq!((copy.statistics_digest().unwrap(), copy.has_source(9)), (adapter.statistics_digest().unwrap(), true));
    let mine = Learned { batch: batch(0, false), ..learned(&taught[..1]) };
    assert_eq!((mine.batch.origin, mine.rows.len()), (ORIGIN, 1));
}
