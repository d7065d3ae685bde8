//! What the checkpoints of a wreck still say: the newest statistics whose blocks are all whole, and the newest lists of chunks
//! and of recordings.

use super::report::{Damage, Wrong};
use super::sectors::Sectors;
use crate::learn::{Block, BlockKind, Origin};
use crate::store::chunks::Position;
use crate::store::frame::MAGIC;
use crate::store::header::Header;
use crate::store::rewrite::Statistics;
use crate::store::sources::Sources;
use crate::store::state::{ChunkRows, Extent, ListedRows, Part, Root, StateFile};
use crate::store::storage::Storage;
use crate::{ErrorKind, Result};

/// The whole roots, newest first, with what lies behind them.
#[derive(Default)]
pub(super) struct Checkpoints {
    pub roots: Vec<Root>,
    /// The newest root whose blocks are all whole, and they.
    pub statistics: Option<(Root, Statistics)>,
    /// The chunks that the newest root lists whose list is whole.
    pub listed: Option<Listed>,
    /// Recordings, and the generation up to which they are known.
    pub sources: Option<(u64, Sources)>,
    pub damage: Vec<Damage>,
}

/// A list of chunks.
pub(super) struct Listed {
    /// What the journal held when it was written.
    pub generation: u64,
    pub journal: Position,
    pub chunks: Vec<ChunkRows>,
    /// Ids of rows that were taken back.
    pub taken_back: Vec<u64>,
}

/// Every whole root of the state file, whatever adapter it names, and where there is a damaged one.
pub(super) fn roots(state: &Sectors, header: &Header, name: &str) -> Result<(Vec<Root>, Vec<Damage>)> {
    let (mut roots, mut damage) = (Vec::new(), Vec::new());
    let mut bytes = vec![0u8; header.slot_len_bytes as usize];
    for slot in 0..header.slots {
        let at = u64::from(slot) * u64::from(header.slot_len_bytes);
        state.read_at(at, &mut bytes)?;
        match Root::decode(&bytes, header) {
            Ok(root) => roots.push(root),
            Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
            // A slot that was never written is zeros.
            Err(_) if bytes.iter().all(|b| *b == 0) => {}
            Err(_) => {
                let len = if bytes[..4] == MAGIC { u64::from(u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])) } else { 0 };
                let end = at + (len + 24).min(bytes.len() as u64);
                damage.push(Damage::new(name, at..end, Wrong::Root));
            }
        }
    }
    roots.sort_by_key(|r| std::cmp::Reverse(r.generation));
    Ok((roots, damage))
}

impl Checkpoints {
    /// Of `roots`, newest first, those of the adapter of `header`, and what lies behind them.
    pub fn of(state: Sectors, header: &Header, name: &str, roots: &[Root], mut damage: Vec<Damage>) -> Result<Checkpoints> {
        let roots: Vec<Root> = roots.iter().filter(|r| r.adapter_id == header.adapter_id).cloned().collect();
        let state = StateFile::load(Box::new(state), header)?;
        let mut found = Checkpoints { roots: Vec::new(), statistics: None, listed: None, sources: None, damage: Vec::new() };
        for (age, root) in roots.iter().enumerate() {
            if found.statistics.is_some() && found.listed.is_some() && found.sources.is_some() {
                break;
            }
            let mut blocks = Some(Statistics::new());
            for extent in &root.extents {
                let bytes = state.read(extent);
                // The newest two are kept whole; what older ones name is written over in time.
                if bytes.is_err() && age < 2 {
                    let what = Wrong::Part { generation: root.generation, part: extent.part.to_string() };
                    damage.push(Damage::new(name, 0..0, what));
                }
                match (extent.part, bytes) {
                    (Part::Block(..), bytes) => match (bytes.ok().and_then(|b| block(extent, &b, header)), &mut blocks) {
                        (Some(entry), Some(blocks)) => drop(blocks.insert(entry.0, entry.1)),
                        _ => blocks = None,
                    },
                    (Part::Sources, Ok(bytes)) if found.sources.is_none() => {
                        let mut sources = Sources::new(header.creation.max_sources as usize);
                        sources.restore(&bytes);
                        found.sources = Some((root.generation, sources));
                    }
                    (Part::Rows, Ok(bytes)) if found.listed.is_none() => {
                        let rows = ListedRows::decode(&bytes).ok();
                        found.listed = rows.map(|r| Listed {
                            generation: root.generation,
                            journal: root.journal,
                            taken_back: r.taken_back().collect(),
                            chunks: r.chunks,
                        });
                    }
                    _ => {}
                }
            }
            if found.statistics.is_none() {
                found.statistics = blocks.map(|blocks| (root.clone(), blocks));
            }
        }
        (found.roots, found.damage) = (roots, damage);
        Ok(found)
    }
}

type Entry = ((Origin, BlockKind), Block);

fn block(extent: &Extent, bytes: &[u8], header: &Header) -> Option<Entry> {
    let Part::Block(origin, kind) = extent.part else { return None };
    let block = Block::from_canonical_bytes(bytes).ok()?;
    let fits = (block.dim(), block.kind()) == (header.creation.dim as usize, kind);
    fits.then_some(((origin, kind), block))
}
