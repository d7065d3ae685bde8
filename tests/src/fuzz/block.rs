//! Blocks in canonical form: what is read is written the same, adds up and subtracts exactly, and rows give the same bytes in
//! any order and any number of parts.

use std::collections::BTreeMap;

use wheatear::ErrorKind;
use wheatear::learn::{Block, BlockKind};

use super::rows::{Row, rows, some};

/// More rows than this many bytes hold find nothing more.
const ROWS_LEN_MAX_BYTES: usize = 160;

/// Takes `data` as canonical bytes, or, when its first byte is small, as rows.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((&form, rest)) if form < 32 => sums(rest, 1 + usize::from(form) % 8, usize::from(form / 8)),
        _ => read(data),
    }
}

fn read(bytes: &[u8]) {
    let Ok(block) = Block::from_canonical_bytes(bytes) else { return };
    assert_eq!(block.to_canonical_bytes(), bytes, "another form of the same block");
    let mut twice = block.clone();
    match twice.merge(&block) {
        Ok(()) => {
            assert_eq!(Block::from_canonical_bytes(&twice.to_canonical_bytes()).expect("a block just made"), twice);
            twice.unmerge(&block).expect("it was merged");
        }
        Err(e) => assert_eq!(e.kind(), ErrorKind::Limit, "{e}"),
    }
    assert_eq!(twice, block);
}

fn sums(bytes: &[u8], dim: usize, cut: usize) {
    let rows = rows(&bytes[..bytes.len().min(ROWS_LEN_MAX_BYTES)], dim, 8);
    let whole = blocks(rows.iter(), dim);
    assert_eq!(blocks(rows.iter().rev(), dim), whole, "another order");
    let (front, back) = rows.split_at(rows.len() * cut / 4);
    let mut parts = blocks(front.iter(), dim);
    for (kind, block) in blocks(back.iter(), dim) {
        match parts.entry(kind) {
            std::collections::btree_map::Entry::Occupied(mut e) => e.get_mut().merge(&block).expect("few rows"),
            std::collections::btree_map::Entry::Vacant(e) => drop(e.insert(block)),
        }
    }
    assert_eq!(parts, whole, "in two parts");
    for (kind, block) in &whole {
        let bytes = block.to_canonical_bytes();
        assert_eq!(&Block::from_canonical_bytes(&bytes).expect("a block just made"), block);
        let mut rest = block.clone();
        for row in rows.iter().filter(|r| r.labels.block_kind() == *kind) {
            rest.subtract(&row.latent, &row.labels).expect("it was added");
        }
        assert_eq!(rest, Block::new(*kind, dim).expect("a good dimension"), "nothing is left");
    }
}

fn blocks<'a>(rows: impl Iterator<Item = &'a Row>, dim: usize) -> BTreeMap<BlockKind, Block> {
    let mut blocks = BTreeMap::new();
    for row in rows {
        let kind = row.labels.block_kind();
        let block = blocks.entry(kind).or_insert_with(|| Block::new(kind, dim).expect("a good dimension"));
        block.add(&row.latent, &row.labels).expect("a good row");
    }
    blocks
}

/// Blocks of each kind, and rows.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for dim in [1, 3] {
        for (kind, block) in blocks(rows(&some(12, dim), dim, 8).iter(), dim) {
            seeds.push((format!("{kind:?}-{dim}").to_lowercase(), block.to_canonical_bytes()));
        }
    }
    seeds.push(("empty".into(), Block::new(BlockKind::Latents, 2).expect("a good dimension").to_canonical_bytes()));
    seeds.push(("rows".into(), [&[18][..], &some(12, 3)].concat()));
    seeds
}
