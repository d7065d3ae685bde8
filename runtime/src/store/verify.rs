//! Verifying an adapter: every byte is read, everything that has a checksum is compared with it, and the statistics are
//! compared with those of the held rows. So damage is told that opening forgives, while there is still a second copy.
//!
//! Nothing is written. Beside a writer, what looks damaged may just be being written: it is looked at twice, and only what
//! is there both times is told.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::adapter::{Access, Adapter, Recovery};
use super::contents::Contents;
use super::folder::{HEADER, not_there};
use super::header::UNIT_LEN_BYTES;
use super::record::Learned;
use super::storage::{DiskFolder, Folder};
use crate::latent::limit;
use crate::{ErrorKind, Result};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Damage that opening forgives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// File and place in it.
    pub at: String,
    /// What of it follows.
    pub means: &'static str,
}

/// How much of a bound is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// What is counted.
    pub what: &'static str,
    /// How many there are.
    pub used: u64,
    /// How many there may be.
    pub most: u64,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The generation that was verified.
    pub generation: u64,
    /// What opening found.
    pub recovery: Recovery,
    /// Damage; none when all is well.
    pub findings: Vec<Finding>,
    /// Whole copies of the header.
    pub header_copies: u64,
    /// Whole checkpoints, those that were replaced since among them.
    pub roots: u64,
    /// Parts of the newest two checkpoints.
    pub extents: u64,
    /// Chunks that hold something, those whose rows have left among them.
    pub chunks: u64,
    /// Chunks whose rows left replay because they are damaged.
    pub damaged_chunks: u64,
    /// Records, each decoded.
    pub records: u64,
    /// Bytes read: all there are.
    pub bytes: u64,
    /// Rows that replay holds.
    pub held_rows: u64,
    /// Blocks of statistics.
    pub blocks: u64,
    /// Blocks that are exactly the sums of held rows; of the others rows have left replay, and what is left of them without
    /// the held rows is possible.
    pub summed_blocks: u64,
    /// Components of held rows.
    pub components: u64,
    /// Components at either end of their range: clipped, or nearly so.
    pub components_at_limit: u64,
    /// The adapter's bounds.
    pub bounds: Vec<Used>,
}

impl Verified {
    /// True when nothing was found and nothing had to be rolled back.
    pub fn is_clean(&self) -> bool {
        self.recovery == Recovery::Clean && self.findings.is_empty()
    }

    /// Finds fault; `means` says what of it follows.
    pub(super) fn find(&mut self, what: impl Into<String>, at: impl std::fmt::Display, means: &'static str) {
        self.findings.push(Finding { what: what.into(), at: at.to_string(), means });
    }
}

impl Adapter {
    /// Verifies the adapter in `folder`, also while it is written.
    ///
    /// # Errors
    /// Those of opening it, with which it is refused; `Busy` when its writer leaves no time to read it.
    pub fn verify(folder: &Path) -> Result<Verified> {
        let disk: Arc<dyn Folder> = Arc::new(DiskFolder::new(folder));
        Adapter::verify_in(&disk).map_err(|e| not_there(e, folder))
    }

    /// As [`Adapter::verify`], in any folder.
    ///
    /// # Errors
    /// As [`Adapter::verify`].
    pub fn verify_in(folder: &Arc<dyn Folder>) -> Result<Verified> {
        let look = || Adapter::open_in(Arc::clone(folder), Access::Read).and_then(|adapter| adapter.look());
        let first = match look() {
            Err(e) if e.kind() != ErrorKind::Busy => return Err(e),
            Ok(first) if first.is_clean() => return Ok(first),
            first => first.ok(),
        };
        folder.pause(PAUSE);
        let mut again = look()?;
        if let Some(first) = first {
            again.findings.retain(|f| first.findings.contains(f));
            again.recovery = if first.recovery == again.recovery { again.recovery } else { Recovery::Clean };
        }
        Ok(again)
    }

    fn look(&self) -> Result<Verified> {
        let mut seen = Verified {
            generation: self.generation(),
            recovery: self.recovery,
            findings: Vec::new(),
            header_copies: 0,
            roots: 0,
            extents: 0,
            chunks: 0,
            damaged_chunks: self.damaged_chunks,
            records: 0,
            bytes: 0,
            held_rows: self.held_rows(),
            blocks: self.contents.blocks.len() as u64,
            summed_blocks: 0,
            components: 0,
            components_at_limit: 0,
            bounds: Vec::new(),
        };
        self.look_at_header(&mut seen)?;
        self.look_at_state(&mut seen);
        self.look_at_chunks(&mut seen);
        self.look_at_rows(&mut seen)?;
        self.look_at_bounds(&mut seen);
        Ok(seen)
    }

    fn look_at_header(&self, seen: &mut Verified) -> Result<()> {
        let bytes = self.folder.read(HEADER)?;
        let (whole, copies) = self.header.copies(&bytes);
        (seen.header_copies, seen.bytes) = (whole as u64, bytes.len() as u64);
        if whole < copies {
            seen.find("one of the two copies of the header is damaged", HEADER, "the other one serves; without it nothing can be opened");
        }
        let files = [(self.header.chunk_file(), &self.chunks.storage), (self.header.state_file(), &self.state.storage)];
        for (name, file) in files {
            let (found, whole) = (file.found_bytes(), file.len_bytes());
            if found < whole {
                seen.find(format!("cut short by something else: {found} of {whole} bytes"), name, "what is missing is taken for zeros");
            }
        }
        Ok(())
    }

    fn look_at_state(&self, seen: &mut Verified) {
        const SECOND: &str = "another one serves; only one is left";
        let name = self.header.state_file();
        let mut roots = Vec::new();
        for slot in 0..self.header.slots {
            match self.state.root_in(slot, &self.header) {
                Ok(root) => roots.extend(root.map(|root| (slot, root))),
                Err(e) => seen.find(format!("a checkpoint is torn or damaged: {e}"), format!("{name}, slot {slot}"), SECOND),
            }
            seen.bytes += u64::from(self.header.slot_len_bytes);
        }
        seen.roots = roots.len() as u64;
        roots.sort_by_key(|(_, root)| std::cmp::Reverse(root.generation));
        for (slot, root) in roots.iter().take(2) {
            seen.extents += root.extents.len() as u64;
            if let Err(e) = Contents::of_root(&self.header, &self.state, root) {
                seen.find(
                    format!("the checkpoint of generation {} is damaged: {e}", root.generation),
                    format!("{name}, slot {slot}"),
                    SECOND,
                );
            }
        }
        // A set of files that was written anew begins with two.
        if self.header.epoch > 0 && roots.len() < 2 && !seen.findings.iter().any(|f| f.means == SECOND) {
            seen.find("a checkpoint is missing", &name, SECOND);
        }
        let mut bytes = vec![0; UNIT_LEN_BYTES as usize];
        for unit in 0..self.header.units {
            let at = self.header.state_file_len_bytes() - u64::from(self.header.units - unit) * u64::from(UNIT_LEN_BYTES);
            seen.bytes += u64::from(UNIT_LEN_BYTES);
            if let Err(e) = self.state.storage.read_at(at, &mut bytes) {
                seen.find(format!("cannot be read: {e}"), format!("{name}, byte {at}"), "nothing is lost unless a checkpoint lies there");
            }
        }
    }

    /// Sums the held rows and compares.
    fn look_at_rows(&self, seen: &mut Verified) -> Result<()> {
        const WRONG: &str = "the statistics or the rows are not what was learned: restore the adapter from a copy";
        let most = limit(self.header.creation.bits);
        let (mut sums, mut ids) = (Contents::of(&self.header), HashSet::new());
        let mut twice = Vec::new();
        sums.let_rows_wait(true);
        let summed = self.rows(|learned: Learned| {
            twice.extend(learned.rows.iter().map(|(meta, _)| meta.id).filter(|id| !ids.insert((learned.batch.origin, *id))));
            seen.components += learned.latents.len() as u64;
            seen.components_at_limit += learned.latents.iter().filter(|q| i32::from(**q).abs() == most).count() as u64;
            sums.add(learned.batch.origin, learned.rows.iter().map(|(_, l)| l), &learned.latents)
        });
        match summed.and_then(|()| sums.add_waiting()) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                seen.find(format!("held rows cannot be read: {e}"), self.header.chunk_file(), WRONG);
                return Ok(());
            }
            summed => summed?,
        }
        if let Some(id) = twice.first() {
            seen.find(format!("row {id} is held twice"), self.header.chunk_file(), WRONG);
        }
        for ((origin, kind), sum) in &sums.blocks {
            let block = self.contents.blocks.get(&(*origin, *kind));
            let left = block.map(|block| {
                let mut left = block.clone();
                left.unmerge(sum).map(|()| left.rows())
            });
            match left {
                Some(Ok(left)) => seen.summed_blocks += u64::from(left == 0),
                Some(Err(e)) => seen.find(format!("the {kind:?} statistics do not hold the held rows: {e}"), origin, WRONG),
                None => seen.find(format!("rows are held, but there are no {kind:?} statistics of them"), origin, WRONG),
            }
        }
        Ok(())
    }

    fn look_at_bounds(&self, seen: &mut Verified) {
        let creation = &self.header.creation;
        let classes: HashSet<_> = self.contents.blocks.values().flat_map(|b| b.classes().keys()).collect();
        let used = |what, used: usize, most: u32| Used { what, used: used as u64, most: u64::from(most) };
        seen.bounds = vec![
            used("classes", classes.len(), creation.max_classes),
            used("origins", self.origins().len(), creation.max_origins),
            used("recordings", self.sources().count(), creation.max_sources),
        ];
        for bound in seen.bounds.clone().iter().filter(|b| b.used > b.most) {
            let what = format!("{} {}, of which there may be {}", bound.used, bound.what, bound.most);
            seen.find(what, HEADER, "nothing more is learned");
        }
        // Rows within the undo horizon may pass it for a while.
        seen.bounds.push(Used { what: "held rows", used: seen.held_rows, most: u64::from(creation.replay_rows) });
    }
}
