//! Opening an adapter for a command: what had to be rolled back and what is damaged is told, on standard error and in every
//! result.

use std::path::Path;

use serde::Serialize;
use wheatear::learner::{self, Budget, Standing, Verdict};
pub use wheatear::service::adapter::open;
use wheatear::store::storage::DiskFolder;
use wheatear::store::{Access, Adapter, Creation, Header, Salvage};
use wheatear::{Error, ErrorKind, Result};

use crate::output::counted;

/// A reader tries this often when the writer beside it takes a chunk away.
const READ_ATTEMPTS: usize = 5;

/// What opening found, as part of a result.
#[derive(Debug, Serialize)]
pub struct Found {
    recovery: String,
    damaged_chunks: u64,
}

impl Found {
    /// What opening `adapter` found.
    pub fn of(adapter: &Adapter) -> Found {
        Found { recovery: adapter.recovery().to_string(), damaged_chunks: adapter.damaged_chunks() }
    }
}

/// Opens the adapter in `folder` for reading and lets `read` read it; again when its writer was in the way.
///
/// # Errors
/// As [`Adapter::open`], and those of `read`.
pub fn reading<T>(folder: &Path, mut read: impl FnMut(&Adapter) -> Result<T>) -> Result<T> {
    for _ in 1..READ_ATTEMPTS {
        match open(folder, Access::Read).and_then(|adapter| read(&adapter)) {
            Err(e) if e.kind() == ErrorKind::Busy => log::debug!("{e}"),
            done => return done,
        }
    }
    read(&open(folder, Access::Read)?)
}

/// Refuses what would write a damaged adapter anew where repair would save rows that opening passes over.
///
/// # Errors
/// `Corrupt` with how many those are; those of opening and reading.
pub fn check_loses_nothing(folder: &Path) -> Result<()> {
    // What the store warns of here, it warns of again when it opens it for writing.
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Error);
    let damaged = reading(folder, |adapter| Ok((adapter.damaged_chunks() > 0).then_some(adapter.held_rows())));
    log::set_max_level(level);
    let Some(held_rows) = damaged? else { return Ok(()) };
    let whole_rows = Salvage::read(&DiskFolder::new(folder), None)?.report().held_rows;
    if whole_rows <= held_rows {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the adapter is damaged, and writing it anew would lose rows that are whole")
        .at(folder.display())
        .expected(format!("{} held", counted(whole_rows, "whole row")))
        .found(held_rows)
        .cure(format!("wheatear repair {} --out NEW makes a new one of them", folder.display())))
}

/// The head that `adapter` serves; warns when the guard refused a newer one.
///
/// # Errors
/// As [`learner::stand`].
pub fn serving(adapter: &Adapter, budget: &Budget) -> Result<Standing> {
    let standing = learner::stand(adapter, budget)?;
    if let Some(verdict) = standing.verdict.as_ref().filter(|v| !v.accepts()) {
        log::warn!("{}", refusal(adapter.folder(), standing.generation, verdict));
    }
    Ok(standing)
}

/// Generation of the head that serves after a correction, none when there is nothing to solve one from; warns when the guard refused
/// the newest, or no head can be solved: the correction is done all the same.
pub fn serves(adapter: &Adapter, budget: &Budget) -> Option<u64> {
    let found = learner::can_serve(adapter).and_then(|can| if can { serving(adapter, budget).map(Some) } else { Ok(None) });
    found
        .unwrap_or_else(|e| {
            log::warn!("{e}");
            None
        })
        .map(|standing| standing.generation)
}

/// What a refused head is told as.
pub fn refusal(folder: &Path, serves: u64, verdict: &Verdict) -> String {
    let folder = folder.display();
    format!(
        "{folder}: the head of the newest labels was refused, that of generation {serves} serves on until a better one comes: {verdict}. \
         What was learned since is not named till then. See wheatear inspect {folder} --head; take the last recordings back (wheatear undo \
         --labels N), put relabelled rows back (wheatear relabel), teach more, or, if all is right: wheatear accept {folder}"
    )
}

/// Says how much disk a new adapter of `creation` takes.
///
/// # Errors
/// As [`Header::new`].
pub fn tell_size(creation: &Creation) -> Result<()> {
    let header = Header::new(creation.clone(), [0; 16])?;
    let disk = (header.chunk_file_len_bytes() + header.state_file_len_bytes()) as f64 / f64::from(1 << 20);
    eprintln!("new adapter: {disk:.1} MiB of disk, taken now and never more");
    Ok(())
}

/// How a commit is told: the generation, and whether it survives a power cut.
pub fn acknowledged(generation: u64, durable: bool) -> String {
    format!("generation {generation}, {}", if durable { "durable" } else { "not durable yet" })
}
