//! Rows that follow from their id, so that two processes agree on them without a word; and a ledger of which are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheatear::latent::SpaceId;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet, Origin};
use wheatear::store::{Acknowledgement, Adapter, Batch, Creation, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

pub const DIM: usize = 8;
const ORIGIN: Origin = Origin { device: [7; 16], incarnation: 3 };
const KINDS: [BlockKind; 3] = [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background];

/// Smallest geometry, so that chunks are taken again all the time.
pub fn create(folder: &Path) -> Adapter {
    let creation = Creation::new(SpaceId([5; 32]), "a backbone", DIM as u32, 8, vec![0.5; DIM], ORIGIN).with_replay_rows(64);
    Adapter::create(folder, Creation { max_classes: 8, max_sources: 8, ..creation }, *b"adapter of tests").unwrap()
}

pub fn row(id: u64) -> (Vec<i8>, LabelSet) {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let latent = (0..DIM).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) % 255) as i16 - 127
    });
    let latent = latent.map(|q| q as i8).collect();
    let name = |n: u64| ClassName::new(["wren", "robin", "jay"][n as usize % 3]).unwrap();
    let labels = match id % 11 {
        10 => LabelSet::background(),
        9 => LabelSet::new([name(id)].into(), [name(id + 1)].into()).unwrap(),
        _ => LabelSet::single(name(id)),
    };
    (latent, labels)
}

/// Teaches the rows of these ids as one label, with a note of `by_len_bytes`.
pub fn teach(adapter: &mut Adapter, first: u64, count: u64, by_len_bytes: usize, durability: Durability) -> Acknowledgement {
    let rows: Vec<(Vec<i8>, LabelSet)> = (first..first + count).map(row).collect();
    let new = |(latent, labels)| NewRow { latent, labels, time_delta_ns: 0, start_sample: 0, flags: RowFlags::default() };
    let rows: Vec<NewRow<'_>> = rows.iter().map(|(latent, labels)| new((&latent[..], labels))).collect();
    let time = Moment { monotonic_ns: first, ..Moment::UNKNOWN };
    let batch = Batch { origin: ORIGIN, by: "x".repeat(by_len_bytes), time, graph: 0, source: 0, source_complete: false };
    adapter.learn(&batch, &rows, durability).unwrap()
}

/// Labels that should be counted, and the sums of their rows.
#[derive(Clone, Default)]
pub struct Ledger {
    /// First id and number of rows of each label, in order.
    pub acts: Vec<(u64, u64)>,
    pub rows: u64,
    /// Id of the next row: none is used twice.
    pub next_row: u64,
    blocks: BTreeMap<BlockKind, Block>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger { next_row: 1, ..Ledger::default() }
    }

    pub fn learn(&mut self, count: u64) {
        for (latent, labels) in (self.next_row..self.next_row + count).map(row) {
            let kind = labels.block_kind();
            self.blocks.entry(kind).or_insert_with(|| Block::new(kind, DIM).unwrap()).add(&latent, &labels).unwrap();
        }
        if count > 0 {
            self.acts.push((self.next_row, count));
        }
        (self.next_row, self.rows) = (self.next_row + count, self.rows + count);
    }

    pub fn undo(&mut self) {
        let (first, count) = self.acts.pop().unwrap();
        for (latent, labels) in (first..first + count).map(row) {
            self.blocks.get_mut(&labels.block_kind()).unwrap().subtract(&latent, &labels).unwrap();
        }
        self.rows -= count;
    }

    /// The adapter counts exactly these rows, and holds some of them as they were taught, the newest among them.
    pub fn check(&self, adapter: &Adapter, when: &str) {
        for kind in KINDS {
            let found = adapter.block(kind).unwrap().map(|b| b.to_canonical_bytes());
            let expected = self.blocks.get(&kind).filter(|b| b.rows() > 0).map(Block::to_canonical_bytes);
            assert!(found == expected, "{when}: {kind:?}");
        }
        let mut held = BTreeSet::new();
        let visited = adapter.rows(|learned| {
            for ((meta, labels), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(DIM)) {
                assert_eq!((latent, labels), (&row(meta.id).0[..], &row(meta.id).1), "{when}: row {}", meta.id);
                assert!(held.insert(meta.id), "{when}: row {} is held twice", meta.id);
            }
            Ok(())
        });
        visited.unwrap_or_else(|e| panic!("{when}: {e}"));
        let counted = |id: u64| self.acts.iter().any(|(first, count)| (*first..first + count).contains(&id));
        assert!(held.iter().all(|id| counted(*id)), "{when}: {held:?}");
        let horizon = adapter.oldest_undoable_row().unwrap_or(u64::MAX);
        let newest = self.acts.iter().flat_map(|(first, count)| *first..first + count).filter(|id| *id >= horizon);
        newest.for_each(|id| assert!(held.contains(&id), "{when}: row {id} is within the horizon"));
        assert_eq!(adapter.held_rows() + adapter.evicted_rows(), self.rows, "{when}");
    }
}
