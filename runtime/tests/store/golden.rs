//! The committed adapters of each format still open, and give what an independent program sums from their rows.

use wheatear::store::{Access, Durability, Header};

use crate::committed::{BITS, DIM, committed, folder};
use crate::disk::Disk;
use crate::world::{ID, batch, bulky, check, creation, labels, rows, sums, sums_of, teach};

fn header() -> Header {
    Header::new(creation(DIM as u32, BITS), ID).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lines `offset hex` of the 32-byte pieces that are not zero, as text that git keeps well.
fn to_text(bytes: &[u8]) -> String {
    let pieces = bytes.chunks(32).enumerate().filter(|(_, p)| p.iter().any(|b| *b != 0));
    std::iter::once(format!("{}\n", bytes.len())).chain(pieces.map(|(i, p)| format!("{} {}\n", i * 32, hex(p)))).collect()
}

/// Teaches, takes back, relabels, and checkpoints in between.
fn life() -> Disk {
    let disk = Disk::new(&header());
    let mut adapter = disk.open(Access::Write).unwrap();
    let rows = rows(0, 12, DIM, BITS);
    teach(&mut adapter, &batch(77, true), &rows[..5], Durability::Now).unwrap();
    adapter.checkpoint().unwrap();
    teach(&mut adapter, &bulky(600), &rows[5..9], Durability::Now).unwrap();
    teach(&mut adapter, &batch(79, true), &rows[..2], Durability::Now).unwrap();
    adapter.checkpoint().unwrap();
    adapter.undo(1, Durability::Now).unwrap();
    adapter.relabel(&[2], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
    teach(&mut adapter, &batch(78, false), &rows[9..], Durability::Now).unwrap();
    disk
}

fn digest(version: u32) -> String {
    std::fs::read_to_string(folder(version).join("digest.txt")).unwrap().trim().to_owned()
}

#[test]
fn the_adapter_of_format_1_is_read_as_it_is_and_rewritten_to_be_written_to() {
    let taught = rows(0, 12, DIM, BITS);
    let disk = Disk::of(committed(1));
    let reader = disk.open(Access::Read).unwrap();
    assert_eq!((hex(&reader.statistics_digest().unwrap()), reader.header().format), (digest(1), 1));
    check(&reader, &taught);
    assert_eq!((reader.generation(), reader.checkpoint_generation(), disk.operations()), (3, 2, 0));
    for again in 0..2 {
        let writer = disk.open(Access::Write).unwrap();
        assert_eq!((hex(&writer.statistics_digest().unwrap()), writer.header().format), (digest(1), 2), "opening {again}");
        check(&writer, &taught);
        assert_eq!((writer.has_source(77), writer.rows_of_unfinished(78)), (true, 3));
        assert_eq!(disk.image().names.keys().collect::<Vec<_>>(), ["chunks.1", "header", "state.1"]);
    }
    let mut writer = disk.open(Access::Write).unwrap();
    let more = rows(12, 3, DIM, BITS);
    assert_eq!(teach(&mut writer, &batch(0, false), &more, Durability::Now).unwrap().first_row, 13);
    check(&disk.open(Access::Read).unwrap(), &[taught, more].concat());
}

#[test]
fn the_adapter_of_format_2_opens_and_gives_the_same_digest() {
    let mut taught = rows(0, 12, DIM, BITS);
    taught[1].labels = labels(&["jay"], &[]);
    for access in [Access::Read, Access::Write] {
        let adapter = Disk::of(committed(2)).open(access).unwrap();
        assert_eq!(hex(&adapter.statistics_digest().unwrap()), digest(2));
        assert_eq!(sums_of(&adapter), sums(&taught, DIM));
        assert_eq!((adapter.generation(), adapter.checkpoint_generation()), (6, 3));
        assert_eq!((adapter.has_source(77), adapter.has_source(79), adapter.rows_of_unfinished(78)), (true, false, 3));
    }
}

#[test]
fn the_same_life_gives_the_committed_bytes() {
    let (mut made, mut kept) = (life().image(), committed(2));
    for name in ["header", "chunks", "state"] {
        assert!(made.file(name) == kept.file(name), "{name}");
    }
}

/// For a new format: run with `--ignored`, then `adapter_digest.py`.
#[test]
#[ignore = "writes the golden files"]
fn write_the_golden_adapter() {
    let folder = folder(2);
    std::fs::create_dir_all(&folder).unwrap();
    let mut image = life().image();
    for name in ["header", "chunks", "state"] {
        std::fs::write(folder.join(format!("{name}.txt")), to_text(image.file(name))).unwrap();
    }
}

#[test]
fn a_header_is_written_again_as_it_was_read() {
    for format in [1, 2] {
        let bytes = committed(format).file("header").clone();
        let header = Header::decode(&bytes).unwrap();
        assert_eq!(header.format, format);
        assert!(header.encode().unwrap() == bytes, "format {format}: another than what was written looks damaged");
    }
}
