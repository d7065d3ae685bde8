//! Salvage: what is whole of a wrecked adapter, made into a new one. The wreck is only read.
//!
//! The statistics are those of the newest checkpoint whose blocks are whole, and what every whole record behind it changed;
//! without a checkpoint they are summed from the records. A row is held again when its newest version is whole and nothing
//! whole says that it left or was taken back. What was damaged, what is gone and what cannot be known is reported.

mod arrange;
mod base;
mod findings;
mod holding;
mod ledger;
mod report;
mod scan;
mod sectors;
mod wreck;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use ledger::Change;
pub use report::{ClassRows, Damage, HeaderFound, SalvageReport, Skipped, Wrong};

use super::adapter::Adapter;
use super::contents::Contents;
use super::folder::{CHUNKS, LOCK};
use super::frame::Kind;
use super::header::{Creation, Header};
use super::held::Bounds;
use super::rewrite::{Anew, Sink, Statistics};
use super::state::OriginState;
use super::storage::Folder;
use crate::learn::{BlockKind, ClassName, LabelSet, Origin};
use crate::{Error, ErrorKind, Result};
use arrange::Record;
use holding::{Candidates, Choice, Chosen, Holding};
use ledger::Ledger;
use wreck::{ChunkFile, Wreck};

/// What is whole of an adapter, ready to be made into a new one.
pub struct Salvage {
    file: ChunkFile,
    header: Header,
    records: BTreeMap<u64, Record>,
    chosen: Chosen,
    changes: Vec<Change>,
    /// Graphs that embedded the rows, where they are known.
    graphs: BTreeSet<u64>,
    /// The device that learned last.
    device: [u8; 16],
    anew: Anew,
    report: SalvageReport,
    /// The wreck's, where there is one: nobody writes it meanwhile.
    _lock: Option<File>,
}

/// Takes the wreck's lock, where that can be done without writing anything anew.
fn lock(folder: &dyn Folder) -> Result<Option<File>> {
    if !folder.names()?.iter().any(|name| name == LOCK) {
        return Ok(None);
    }
    match folder.lock(LOCK) {
        Err(e) if e.kind() == ErrorKind::Busy => Err(e.cure("stop it first: what it is just writing looks like damage")),
        // A wreck that may only be read has no writer either.
        taken => Ok(taken.ok().flatten()),
    }
}

impl Salvage {
    /// Reads the wreck in `folder`. Where its header is gone, that of `like` serves, another adapter of the same space: best
    /// a copy of this one. Takes memory for an index of the records and rows, and for one chunk.
    ///
    /// # Errors
    /// `Missing` when there is no such folder; `Busy` while another process writes it; `Corrupt` when nothing in it is whole, or its header is not and none is given;
    /// `Mismatch` when `like` is of another shape than the wreck's rows, or a newer version wrote the wreck.
    pub fn read(folder: &dyn Folder, like: Option<&Adapter>) -> Result<Salvage> {
        let lock = lock(folder)?;
        let (headers, found, damage) = wreck::headers(folder, like.map(Adapter::header))?;
        let (mut best, mut mismatch) = (None::<Salvage>, None);
        for header in headers {
            let salvage = match Salvage::of(Wreck::read(folder, header, found)?, found, damage.clone()) {
                Err(e) if e.kind() == ErrorKind::Mismatch => {
                    mismatch.get_or_insert(e);
                    continue;
                }
                salvage => salvage?,
            };
            let worth = |s: &Salvage| (s.report.checkpoint, s.report.held_rows, s.report.records);
            if best.as_ref().is_none_or(|b| worth(&salvage) > worth(b)) {
                best = Some(salvage);
            }
        }
        let none = || mismatch.unwrap_or_else(|| nothing(folder));
        let mut salvage = best.filter(|s| s.report.records > 0 || s.report.checkpoint.is_some()).ok_or_else(none)?;
        if let Some(like) = like.filter(|_| found == HeaderFound::Like) {
            salvage.compare_with(like)?;
        }
        salvage._lock = lock;
        Ok(salvage)
    }

    fn of(wreck: Wreck, found: HeaderFound, mut damage: Vec<Damage>) -> Result<Salvage> {
        let Wreck { mut file, header, checkpoints, slots, damage: of_files } = wreck;
        let listed = checkpoints.listed.as_ref();
        let journal = arrange::arrange(&slots, header.adapter_id, &checkpoints.roots, listed.map_or(&[], |l| &l.chunks));
        damage.extend(of_files);
        damage.extend(file.damage(&slots, &journal, listed)?);
        let mut contents = Contents::of(&header);
        let known_sources = checkpoints.sources.as_ref().map_or(0, |(generation, _)| *generation);
        if let Some((_, sources)) = checkpoints.sources {
            contents.sources = sources;
        }
        let base = checkpoints.statistics.map(|(root, statistics)| {
            (contents.blocks, contents.next_row) = (statistics, root.next_row);
            root
        });
        let covered = base.as_ref().map_or(0, |r| r.generation);
        // An adapter that was never rewritten had learned nothing before its first record.
        let exact_to = base.as_ref().map(|r| r.generation).or(Some(0).filter(|_| header.epoch == 0));
        let end = base.as_ref().map(|r| (r.journal, journal.rows_before(r.journal)));
        let mut read = Read {
            ledger: Ledger::new(contents, exact_to, end),
            holding: Holding::default(),
            graphs: BTreeSet::new(),
            last: None,
            undecodable: None,
        };
        for record in journal.records.values() {
            if let Err(e) = read.record(&mut file, &header, record, covered, known_sources) {
                let bytes = file.start_of(record.piece.slot) + u64::from(record.piece.offset);
                let bytes = bytes..bytes + u64::from(record.piece.len_bytes);
                damage.push(Damage::new(&file.name, bytes, Wrong::Undecodable).in_chunk(record.sequence));
                if record.piece.generation() > covered {
                    read.ledger.skip(record.piece.generation(), u64::from(record.piece.rows), &e);
                }
                read.undecodable.get_or_insert(e);
            }
        }
        let Read { mut ledger, mut holding, graphs, last, undecodable } = read;
        if let Some(e) = undecodable.filter(|_| found == HeaderFound::Like && last.is_none()) {
            return Err(Error::new(ErrorKind::Mismatch, "the given adapter is of another shape than the wreck's rows")
                .found(&e)
                .cure("give a copy of the wrecked adapter, or another of the same backbone and bits")
                .because(e));
        }
        holding.next_row = holding.next_row.max(ledger.contents.next_row);
        let newest_generation = journal.records.keys().next_back().copied().unwrap_or(0).max(covered);
        let candidates = holding.candidates(listed, &ledger.unsure);
        let own = base.iter().flat_map(|r| &r.origins).find(|o| o.own).map(|o| o.origin);
        let exact_to = ledger.exact_to.filter(|g| *g > 0 || base.is_some());
        let known = base.as_ref().map_or(&[][..], |r| &r.origins);
        let origins = origins(known, own.unwrap_or(header.creation.origin), &ledger.contents.blocks, exact_to.unwrap_or(0));
        let creation = creation(&header, found, &ledger.contents.blocks, origins.len(), &candidates);
        let choice = candidates.within(Bounds::of(&Header::new(creation.clone(), header.adapter_id)?));
        let damaged: BTreeSet<_> = damage.iter().filter(|d| d.what.is_loss()).map(|d| d.bytes.start / u64::from(file.chunk_len)).collect();
        let mut report = SalvageReport {
            header: found,
            checkpoint: base.as_ref().map(|r| r.generation),
            newest_generation,
            exact_to,
            missing: std::mem::take(&mut ledger.missing),
            skipped: std::mem::take(&mut ledger.skipped),
            chunks: journal.chunks.iter().filter(|c| !c.runs.is_empty()).count() as u64,
            damaged_chunks: damaged.len() as u64,
            records: journal.records.len() as u64,
            rolled_back: journal.rolled_back as u64,
            rows: by_class(&ledger.contents.blocks, &choice.labels),
            counted_rows: ledger.contents.blocks.values().map(crate::learn::Block::rows).sum(),
            held_rows: choice.labels.len() as u64,
            unknown: Vec::new(),
            damage,
        };
        let listed_to = listed.map_or(0, |l| l.generation);
        let unlisted =
            covered.saturating_sub(listed_to) > journal.records.range(listed_to + 1..).take_while(|(g, _)| **g <= covered).count() as u64;
        report.unknown = unknown(&report, &choice, unlisted, header.epoch);
        let (device, changes) = (own.or(last.filter(|_| found == HeaderFound::Like)), ledger.changes().collect());
        let device = device.unwrap_or(header.creation.origin).device;
        let Contents { blocks: statistics, sources, .. } = ledger.contents;
        let (sources, next_row) = (sources.pairs().collect(), holding.next_row);
        let taken_back = listed.iter().flat_map(|l| &l.taken_back).copied().chain(holding.taken_back).collect();
        let anew = Anew { creation, statistics, origins, sources, next_row, taken_back, generation: newest_generation.saturating_add(1) };
        Ok(Salvage { file, header, records: journal.records, chosen: choice.chosen, changes, graphs, device, anew, report, _lock: None })
    }

    /// Notes what speaks against the adapter that gave the header.
    fn compare_with(&mut self, like: &Adapter) -> Result<()> {
        let report = &mut self.report;
        let mut graphs = BTreeSet::new();
        like.rows(|learned| {
            graphs.insert(learned.batch.graph);
            Ok(())
        })?;
        graphs.remove(&0);
        if like.header().adapter_id != self.header.adapter_id {
            report.unknown.push("whether the given adapter is of the wreck's space: its bounds, backbone and scales are taken over".into());
        }
        if !graphs.is_empty() && !self.graphs.is_empty() && graphs.is_disjoint(&self.graphs) {
            report.unknown.push("why other graphs embedded the wreck's rows than the given adapter's: is it another backbone?".into());
        }
        Ok(())
    }

    /// What was found.
    pub fn report(&self) -> &SalvageReport {
        &self.report
    }

    /// What the statistics count beside those of the checkpoint that they began with, row by row; all that they count where
    /// there was none. A class that was forgotten is under its retired name.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Makes a new adapter of it in `folder`, which must not exist or be empty. It goes on as the new `incarnation` of the
    /// device: what it learned before stays under the old ones.
    ///
    /// # Errors
    /// As [`Adapter::import`]; `Storage` when a row cannot be read again.
    pub fn restore(self, folder: &Path, adapter_id: [u8; 16], incarnation: u64) -> Result<Adapter> {
        let header = Header::new(self.creation(incarnation), adapter_id)?;
        Adapter::make_folder(folder, |disk| self.restore_with(disk, header))
    }

    /// As [`Salvage::restore`], in any folder.
    ///
    /// # Errors
    /// As [`Salvage::restore`].
    pub fn restore_in(self, folder: Arc<dyn Folder>, adapter_id: [u8; 16], incarnation: u64) -> Result<Adapter> {
        let header = Header::new(self.creation(incarnation), adapter_id)?;
        self.restore_with(folder, header)
    }

    fn creation(&self, incarnation: u64) -> Creation {
        Creation { origin: Origin { device: self.device, incarnation }, ..self.anew.creation.clone() }
    }

    fn restore_with(self, folder: Arc<dyn Folder>, header: Header) -> Result<Adapter> {
        let Salvage { mut file, header: wreck, records, chosen, mut anew, .. } = self;
        anew.creation = header.creation.clone();
        anew.origins.push(OriginState { origin: header.creation.origin, generation: 0, parity: None, own: true });
        let dim = wreck.creation.dim as usize;
        Adapter::import_in(folder, header, anew, |sink: Sink<'_>| {
            for (generation, rows) in chosen {
                let Some(record) = records.get(&generation) else { continue };
                let mut learned = file.rows(&record.piece, &wreck)?;
                let keep: Vec<bool> = (0..learned.rows.len()).map(|row| rows.contains(&row)).collect();
                learned.retain(&keep, dim);
                sink(learned)?;
            }
            Ok(())
        })
    }
}

fn nothing(folder: &dyn Folder) -> Error {
    Error::new(ErrorKind::Corrupt, "nothing of the adapter is whole: there is nothing to salvage")
        .at(folder.path().display())
        .cure("restore it from a copy")
}

/// What reading the records gathers.
struct Read {
    ledger: Ledger,
    holding: Holding,
    graphs: BTreeSet<u64>,
    /// Who learned the last row.
    last: Option<Origin>,
    /// Why the first of the records is not understood that are not.
    undecodable: Option<Error>,
}

impl Read {
    /// Takes in one record; the statistics have those up to `covered`, the recordings those up to `known_sources`.
    fn record(&mut self, file: &mut ChunkFile, header: &Header, record: &Record, covered: u64, known_sources: u64) -> Result<()> {
        let (piece, generation) = (&record.piece, record.piece.generation());
        let new = generation > covered;
        if piece.kind == Kind::Forget {
            let retired = file.forgotten(piece)?;
            self.holding.retire(&retired);
            if new {
                self.ledger.reach(generation, None);
                self.ledger.retire(&retired);
            }
            return Ok(());
        }
        let learned = file.rows(piece, header)?;
        self.holding.note(record, &learned, header.creation.dim as usize, header.creation.bits)?;
        self.graphs.extend(Some(learned.batch.graph).filter(|g| *g != 0));
        self.last = Some(learned.batch.origin);
        if new {
            self.ledger.reach(generation, Some(&learned.batch));
            self.ledger.apply(piece.kind, &learned, generation);
        }
        if generation > known_sources {
            self.ledger.note_source(piece.kind, &learned);
        }
        Ok(())
    }
}

/// The origins of the blocks, none of which learns on here; the blocks of `own` are what it had at `exact_to`, and more.
fn origins(known: &[OriginState], own: Origin, statistics: &Statistics, exact_to: u64) -> Vec<OriginState> {
    let mut all: Vec<OriginState> = known.iter().map(|o| OriginState { own: false, ..o.clone() }).collect();
    for origin in statistics.keys().map(|(origin, _)| *origin) {
        if !all.iter().any(|o| o.origin == origin) {
            all.push(OriginState { origin, generation: 0, parity: None, own: false });
        }
    }
    all.iter_mut().filter(|o| o.origin == own).for_each(|o| o.generation = exact_to);
    all
}

/// The bounds of the new adapter: those of the old one, raised where what was salvaged needs more.
fn creation(header: &Header, found: HeaderFound, statistics: &Statistics, origins: usize, rows: &Candidates<'_>) -> Creation {
    let more = |bound: u32, needed: usize| bound.max(u32::try_from(needed).unwrap_or(u32::MAX));
    let classes: BTreeSet<&ClassName> = statistics.values().flat_map(|b| b.classes().keys()).collect();
    let mut creation = header.creation.clone();
    creation.max_origins = more(creation.max_origins, origins + 1);
    creation.max_classes = more(creation.max_classes, classes.len());
    if found == HeaderFound::Like {
        // The bounds of another adapter must not cost rows of this one.
        let (all, background) = rows.count();
        let replay_rows = more(creation.replay_rows, all.max(2 * background));
        if replay_rows > creation.replay_rows {
            creation = creation.with_replay_rows(replay_rows);
        }
        creation.background_rows = more(creation.background_rows, background);
    }
    creation
}

/// Rows of each class that the statistics count, and those among them that are held.
fn by_class(statistics: &Statistics, held: &[LabelSet]) -> Vec<ClassRows> {
    let mut rows: BTreeMap<Option<ClassName>, (u64, u64)> = BTreeMap::new();
    for ((_, kind), block) in statistics {
        if *kind == BlockKind::Background {
            rows.entry(None).or_default().0 += block.rows();
        }
        block.classes().iter().for_each(|(class, sums)| rows.entry(Some(class.clone())).or_default().0 += sums.n);
    }
    for labels in held {
        if labels.block_kind() == BlockKind::Background {
            rows.entry(None).or_default().1 += 1;
        }
        labels.positive().iter().for_each(|class| rows.entry(Some(class.clone())).or_default().1 += 1);
    }
    rows.into_iter().map(|(class, (counted, held))| ClassRows { class, counted, held }).collect()
}

/// What the files do not tell.
fn unknown(report: &SalvageReport, choice: &Choice, unlisted: bool, epoch: u32) -> Vec<String> {
    let mut unknown = Vec::new();
    let gone: u64 = report.missing.iter().map(|(first, last)| last - first + 1).sum();
    if let (Some((first, _)), Some((_, last))) = (report.missing.first(), report.missing.last()) {
        let which = match gone {
            1 => format!("the lost record of generation {first}"),
            _ => format!("the {gone} lost records of generations {first} to {last}"),
        };
        unknown.push(format!("what {which} did: labels taken back or changed by them are back"));
    }
    if let Some(checkpoint) = report.checkpoint
        && report.damage.iter().any(|d| d.what == Wrong::Missing && d.file.starts_with(CHUNKS))
    {
        unknown.push(format!("what was learned after generation {checkpoint}: the journal is gone, and all rows of replay"));
    }
    if report.checkpoint.is_none() && epoch > 0 {
        unknown.push("which rows had left replay before the adapter was last rewritten: the statistics lack them".to_owned());
    }
    if report.damage.iter().any(|d| d.what == Wrong::Tail) {
        unknown.push(format!(
            "whether there were durable records behind generation {}, or only one that was being written",
            report.newest_generation
        ));
    }
    if choice.uncertain > 0 {
        let n = choice.uncertain;
        unknown.push(format!("whether {n} rows that lie behind damage in their chunk had left replay: they are held again"));
    }
    if unlisted {
        unknown
            .push("which rows had left replay, or been taken back or changed, by records before the checkpoint that are gone".to_owned());
    }
    if choice.surplus > 0 {
        unknown.push(format!("which of the rows that are back replay held: {} are left out for want of room", choice.surplus));
    }
    unknown
}
