//! The committed adapter of format 1 still opens, and gives what an independent program sums from its rows.

use std::path::PathBuf;

use wheatear::store::{Access, Durability, Header};

use crate::disk::Disk;
use crate::world::{ID, batch, bulky, check, creation, rows, teach};

const DIM: usize = 6;
const BITS: u8 = 7;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adapter-v1")
}

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

fn from_text(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let mut bytes = vec![0; lines.next().unwrap().parse().unwrap()];
    for line in lines {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset: usize = offset.parse().unwrap();
        (0..hex.len() / 2).for_each(|i| bytes[offset + i] = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
    }
    bytes
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn life() -> ([Vec<u8>; 2], [u8; 32]) {
    let disk = Disk::new(&header());
    let mut adapter = disk.open(&header(), Access::Write).unwrap();
    let rows = rows(0, 12, DIM, BITS);
    teach(&mut adapter, &batch(77, true), &rows[..5], Durability::Now).unwrap();
    adapter.checkpoint().unwrap();
    teach(&mut adapter, &bulky(600), &rows[5..9], Durability::Now).unwrap();
    adapter.checkpoint().unwrap();
    teach(&mut adapter, &batch(78, false), &rows[9..], Durability::Now).unwrap();
    (disk.files(), adapter.statistics_digest().unwrap())
}

#[test]
fn the_adapter_of_format_1_opens_and_gives_the_same_digest() {
    let header = Header::decode(&from_text(&read("header.txt"))).unwrap();
    let disk = Disk::of([from_text(&read("chunks.txt")), from_text(&read("state.txt"))]);
    let adapter = disk.open(&header, Access::Write).unwrap();
    assert_eq!(hex(&adapter.statistics_digest().unwrap()), read("digest.txt").trim());
    check(&adapter, &rows(0, 12, DIM, BITS));
    assert_eq!((adapter.generation(), adapter.checkpoint_generation()), (3, 2));
    assert_eq!((adapter.has_source(77), adapter.rows_of_unfinished(78)), (true, 3));
}

#[test]
fn the_same_life_gives_the_committed_bytes() {
    assert_eq!(to_text(&header().encode().unwrap()), read("header.txt"));
    let (files, _) = life();
    assert_eq!((to_text(&files[0]), to_text(&files[1])), (read("chunks.txt"), read("state.txt")));
}

/// For a new format: run with `--ignored`, then `digest.py`.
#[test]
#[ignore = "writes the golden files"]
fn write_the_golden_adapter() {
    let (files, _) = life();
    std::fs::create_dir_all(folder()).unwrap();
    std::fs::write(folder().join("header.txt"), to_text(&header().encode().unwrap())).unwrap();
    std::fs::write(folder().join("chunks.txt"), to_text(&files[0])).unwrap();
    std::fs::write(folder().join("state.txt"), to_text(&files[1])).unwrap();
}
