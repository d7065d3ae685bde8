//! Writing an adapter anew: its statistics and held rows go into a new set of files beside the old one, and the header
//! takes them over in one rename. So an older format is left behind, rows are packed together, a class is forgotten without
//! a trace, and a state of before comes back; a crash leaves the old adapter or the new one.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::adapter::{Access, Adapter, Recovery};
use super::chunks::{CHUNK_EDGE_BYTES, Chunks, Position, Records};
use super::contents::Contents;
use super::correct::without;
use super::folder::{remove_all, write_header};
use super::frame::Kind;
use super::header::{Creation, Header, STORE_FORMAT};
use super::kept::Kept;
use super::record::{self, Draft, Learned};
use super::state::{ChunkRows, OriginState, Root, StateFile};
use super::storage::Folder;
use super::tally::{Tally, difference};
use crate::learn::{Block, BlockKind, ClassName, LabelSet, Origin};
use crate::{Error, ErrorKind, Result};

/// Blocks by origin and kind.
pub type Statistics = BTreeMap<(Origin, BlockKind), Block>;
/// Rows that were counted and are no more.
pub type Loss = Tally;

/// Takes the rows that go into a new set of files, record by record.
pub type Sink<'a> = &'a mut dyn FnMut(Learned) -> Result<()>;

/// Everything that goes into a new set of files, save for the rows.
#[derive(Debug, Clone)]
pub struct Anew {
    /// What it is bound to, and its bounds.
    pub creation: Creation,
    /// Blocks by origin and kind.
    pub statistics: Statistics,
    /// The origins of the blocks, and the one that learns on.
    pub origins: Vec<OriginState>,
    /// Recordings known as taught, oldest first, with their rows so far; all ones when taught to the end.
    pub sources: Vec<(u64, u64)>,
    /// Id of the next row.
    pub next_row: u64,
    /// Ids of the rows that were taken back, as far as undo reaches.
    pub taken_back: Vec<u64>,
    /// The generation that it begins with.
    pub generation: u64,
}

impl Adapter {
    /// Creates an adapter in `folder`, which must not exist or be empty, with all of `anew` and the rows that `feed` hands
    /// out, which are held and counted already; opened for writing.
    ///
    /// # Errors
    /// Those of [`Adapter::create`] and of `feed`; `Limit` when there are more rows than the bounds allow.
    pub fn import(folder: &Path, adapter_id: [u8; 16], anew: Anew, feed: impl FnOnce(Sink<'_>) -> Result<()>) -> Result<Adapter> {
        let header = Header::new(anew.creation.clone(), adapter_id)?;
        Adapter::make_folder(folder, |disk| Adapter::import_in(disk, header, anew, feed))
    }

    /// As [`Adapter::import`], in any folder.
    ///
    /// # Errors
    /// As [`Adapter::import`].
    pub fn import_in(folder: Arc<dyn Folder>, header: Header, anew: Anew, feed: impl FnOnce(Sink<'_>) -> Result<()>) -> Result<Adapter> {
        Adapter::build_in(folder, header, |folder, header| {
            Adapter::fill(Arc::clone(folder), header.clone(), anew, Kept::new(), feed).map(drop)
        })
    }

    /// Writes the adapter anew with its held rows packed together. Never needed to stay within bounds.
    ///
    /// # Errors
    /// `Storage` when there is no room for a second set of files.
    pub fn compact(&mut self) -> Result<()> {
        self.check_writable()?;
        self.sync()?;
        let next = self.anew(self.as_it_is(), self.kept_parts()?, |sink| self.rows(sink))?;
        self.give_way_to(next)
    }

    /// Rewrites an adapter of an older format.
    pub(super) fn migrate(&mut self) -> Result<()> {
        let next = self.anew(self.as_it_is(), Kept::new(), |sink| self.rows(sink))?;
        self.give_way_to(next)
    }

    /// Forgets a class without a trace: the statistics are summed anew from the held rows that are not of it, in new files,
    /// and the old ones are removed. Rows of other classes that had left replay are lost with it; they are counted in what is
    /// returned. A recording of which no row is left is forgotten too, so that it can be taught again. So goes what a class
    /// left behind under its retired name when it was forgotten before.
    /// [`Adapter::loss_of_forgetting_hard`] tells before.
    ///
    /// # Errors
    /// `Input` when there is no such class; `Storage` when there is no room for a second set of files.
    pub fn forget_hard(&mut self, class: &ClassName) -> Result<Loss> {
        self.check_writable()?;
        self.check_known(class, &[class, &class.retired()])?;
        let (statistics, loss) = self.without(class)?;
        let (mut anew, mut kept) = (Anew { statistics, ..self.as_it_is() }, HashSet::new());
        let stripped = |sink: &mut dyn FnMut(Learned) -> Result<()>| {
            self.rows(|mut learned| {
                strip(&mut learned, class, self.dim());
                sink(learned)
            })
        };
        stripped(&mut |learned| {
            kept.extend(Some(learned.batch.source).filter(|_| !learned.rows.is_empty()));
            Ok(())
        })?;
        anew.sources.retain(|(source, _)| kept.contains(source));
        let next = self.anew(anew, Kept::new(), stripped)?;
        self.give_way_to(next)?;
        Ok(loss)
    }

    /// What forgetting `class` hard would cost: rows of other classes that are counted and not held.
    ///
    /// # Errors
    /// `Input` when there is no such class; those of reading the rows.
    pub fn loss_of_forgetting_hard(&self, class: &ClassName) -> Result<Loss> {
        self.check_known(class, &[class, &class.retired()])?;
        Ok(self.without(class)?.1)
    }

    /// Goes back to the checkpoint of `generation`, one of [`Adapter::generations`]: what was learned later is gone, the
    /// generation grows on. The device goes on as the new incarnation `incarnation`, since others may have received what is
    /// taken back.
    ///
    /// # Errors
    /// `Input` when there is no such checkpoint, or the incarnation is known already; `Storage` when there is no room for a
    /// second set of files.
    pub fn roll_back(&mut self, generation: u64, incarnation: u64) -> Result<Loss> {
        self.check_writable()?;
        self.sync()?;
        let (root, mut older, listed) = self.contents_at(generation)?;
        let own = Origin { incarnation, ..self.origin() };
        if self.origin() == own || self.origins.iter().any(|o| o.origin == own) || self.origins().contains(&own) {
            return Err(Error::new(ErrorKind::Input, "this incarnation has learned here before").at(own).cure("draw a new one"));
        }
        let loss = difference(&self.contents.blocks, &older.blocks);
        let has_blocks = |o: &&OriginState| older.blocks.keys().any(|(origin, _)| *origin == o.origin);
        let mut origins: Vec<_> = root.origins.iter().filter(has_blocks).map(|o| OriginState { own: false, ..o.clone() }).collect();
        origins.push(OriginState { origin: own, generation: 0, parity: None, own: true });
        let max_origins = self.header.creation.max_origins.max(origins.len() as u32);
        let creation = Creation { max_origins, ..self.header.creation.clone() };
        let (statistics, sources) = (std::mem::take(&mut older.blocks), older.sources.pairs().collect());
        // What was learned since is gone, and did not leave.
        let horizon = self.contents.next_row.saturating_sub(u64::from(self.header.creation.undo_rows)).max(root.next_row);
        let taken_back = older.held.taken_back().iter().copied().chain(horizon..self.contents.next_row).collect();
        let anew = Anew { creation, statistics, origins, sources, taken_back, ..self.as_it_is() };
        let next = self.anew(anew, self.kept_by(&root)?, |sink| {
            for chunk in &listed {
                let mut first = 0;
                let entries = older.held.rows_of(chunk.sequence);
                self.records_before(&root, chunk.sequence, chunk.slot, &mut |_, found| {
                    let keep: Vec<bool> = entries.iter().skip(first).take(found.rows()).map(|e| e.held).collect();
                    first += found.rows();
                    if keep.contains(&true) {
                        let mut learned = record::decode_rows(found.payload, self.dim(), self.header.creation.bits, self.header.format)?;
                        learned.retain(&keep, self.dim());
                        sink(learned)?;
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        self.give_way_to(next)?;
        Ok(loss)
    }

    /// Generations that [`Adapter::roll_back`] can go back to, newest first. None in an older format, whose checkpoints do
    /// not outlive the rewriting with which it is opened for writing.
    pub fn generations(&self) -> Vec<u64> {
        let kept = self.state.kept().filter(|_| self.header.format == STORE_FORMAT);
        let mut generations: Vec<u64> = kept.map(|r| r.generation).collect();
        generations.dedup();
        generations
    }

    fn ways_back(&self) -> String {
        let generations: Vec<String> = self.generations().iter().map(u64::to_string).collect();
        if generations.is_empty() {
            "one that was written: there is none yet".into()
        } else {
            format!("one of [{}]", generations.join(", "))
        }
    }

    /// What was learned up to the checkpoint of `generation`, the chunks that it lists, and the held rows that are still there.
    pub(super) fn contents_at(&self, generation: u64) -> Result<(Root, Contents, Vec<ChunkRows>)> {
        let root = self.state.kept().find(|r| r.generation == generation).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Input, "there is no checkpoint of this generation")
                .at(self.folder.path().display())
                .expected(self.ways_back())
                .found(generation)
                .cure("wheatear rollback without --to lists what going back would lose; wheatear undo takes back the newest labels")
        })?;
        let (mut older, listed) = Contents::of_root(&self.header, &self.state, &root)?;
        for chunk in &listed {
            self.records_before(&root, chunk.sequence, chunk.slot, &mut |at, found| older.hold_found(at, found))?;
            older.let_leave(chunk);
        }
        Ok((root, older, listed))
    }

    /// The records of a chunk that `root` covers, if it still lies in its slot.
    fn records_before(
        &self,
        root: &Root,
        sequence: u64,
        slot: u32,
        visit: &mut dyn FnMut(Position, &record::Found<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        let bytes = self.chunks.raw(slot, &mut buffer)?;
        let there = sequence == self.chunks.end.sequence || self.chunks.sealed.contains_key(&sequence);
        let limit = match sequence == root.journal.sequence {
            true => root.journal.offset as usize,
            false => self.chunks.sealed.get(&sequence).and_then(|c| c.whole).map_or(0, |(end, _)| end as usize),
        };
        if !there {
            return Ok(());
        }
        let mut records = Records { bytes, offset: CHUNK_EDGE_BYTES, limit, next: None };
        records.try_for_each(|(offset, found)| visit(Position { sequence, offset, slot }, &found))
    }

    /// Statistics of the held rows without `class`, and what is lost beside that class.
    fn without(&self, class: &ClassName) -> Result<(Statistics, Loss)> {
        let mut sums = Contents::of(&self.header);
        sums.let_rows_wait(true);
        self.rows(|mut learned| {
            strip(&mut learned, class, self.dim());
            sums.add(learned.batch.origin, learned.rows.iter().map(|(_, l)| l), &learned.latents)
        })?;
        sums.add_waiting()?;
        let mut loss = difference(&self.contents.blocks, &sums.blocks);
        loss.retain(|lost, _| !lost.as_ref().is_some_and(|lost| lost == class || *lost == class.retired()));
        Ok((sums.blocks, loss))
    }

    /// Makes a new set of files with `kept` and the rows that `feed` hands out; the adapter is still the old one.
    fn anew(&self, anew: Anew, kept: Kept, feed: impl FnOnce(Sink<'_>) -> Result<()>) -> Result<Adapter> {
        let mut header = Header::new(anew.creation.clone(), self.header.adapter_id)?;
        header.epoch =
            self.header.epoch.checked_add(1).ok_or_else(|| Error::new(ErrorKind::Limit, "the adapter was rewritten too often"))?;
        let (chunk_file, state_file) = (header.chunk_file(), header.state_file());
        // An earlier attempt whose clearing away failed too may have left them.
        remove_all(&*self.folder, |name| name == chunk_file || name == state_file)?;
        let made = Adapter::fill(Arc::clone(&self.folder), header, anew, kept, feed);
        if made.is_err() {
            // The old adapter stands; what was begun is only in the way.
            let _ = remove_all(&*self.folder, |name| name == chunk_file || name == state_file);
        }
        made
    }

    /// Makes the files of `header` and what goes into them; they are an adapter once the header is written.
    pub(super) fn fill(
        folder: Arc<dyn Folder>,
        header: Header,
        anew: Anew,
        kept: Kept,
        feed: impl FnOnce(Sink<'_>) -> Result<()>,
    ) -> Result<Adapter> {
        let chunks = folder.create(&header.chunk_file(), header.chunk_file_len_bytes())?;
        let state = folder.create(&header.state_file(), header.state_file_len_bytes())?;
        let mut contents = Contents::of(&header);
        anew.sources.iter().for_each(|(source, rows)| contents.sources.know(*source, *rows));
        (contents.blocks, contents.next_row, contents.generation) = (anew.statistics, anew.next_row, anew.generation);
        anew.taken_back.iter().for_each(|id| contents.held.take_back(*id));
        contents.held.settle(anew.next_row);
        let mut chunks = Chunks::new(chunks, &header, true)?;
        chunks.next = contents.next();
        let state = StateFile::load(state, &header)?;
        let mut next = Adapter {
            folder,
            header,
            access: Access::Write,
            lock: None,
            chunks,
            state,
            contents,
            origins: anew.origins,
            unsynced: false,
            failed: false,
            recovery: Recovery::Clean,
            damaged_chunks: 0,
            kept,
        };
        let dim = next.dim();
        feed(&mut |learned| {
            let (batch, rows) = (learned.batch.clone(), learned.new_rows(dim));
            let draft = Draft { kind: Kind::Carry, batch, rows, before: Vec::new(), left: Vec::new() };
            let parts = if draft.rows.is_empty() { Vec::new() } else { next.parts(draft)? };
            parts.into_iter().try_for_each(|part| next.commit(part))
        })?;
        // Also when no row was written: the header is to name a file that is there.
        next.chunks.sync()?;
        // Twice, each with bytes of its own, so that one of them may be damaged.
        for _ in 0..2 {
            next.contents.changed = next.contents.blocks.keys().copied().collect();
            next.checkpoint()?;
        }
        Ok(next)
    }

    /// Lets the new set of files be the adapter, and removes the old one.
    fn give_way_to(&mut self, mut next: Adapter) -> Result<()> {
        // From here on a failure leaves open which of the two the disk has.
        self.failed = true;
        write_header(&*self.folder, &next.header)?;
        let old = [self.header.chunk_file(), self.header.state_file()];
        next.lock = self.lock.take();
        next.recovery = self.recovery;
        *self = next;
        remove_all(&*self.folder, |name| old.iter().any(|o| o == name))
    }
}

/// Takes the class out of rows that are something else beside, and leaves out those that are not.
fn strip(learned: &mut Learned, class: &ClassName, dim: usize) {
    let labels: Vec<Option<LabelSet>> = learned.rows.iter().map(|(_, l)| without(l, class)).collect();
    learned.retain(&labels.iter().map(Option::is_some).collect::<Vec<_>>(), dim);
    learned.rows.iter_mut().zip(labels.into_iter().flatten()).for_each(|((_, old), new)| *old = new);
}
