//! What a salvage found whole, what it found damaged, and what it cannot know.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::learn::ClassName;

/// Where the header came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderFound {
    /// Its own, whole.
    Whole,
    /// Its own, from one of the two copies.
    OneCopy,
    /// Its own, from the header that a rewriting was about to put in place.
    Rewritten,
    /// That of another adapter of the same space: bounds and scales are that one's.
    Like,
}

/// What is wrong with a stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// The file is not there.
    Missing,
    /// It cannot be read there; what was not read counts as zeros.
    Unreadable,
    /// The file ends before.
    CutShort,
    /// Bytes behind the file's end that are not its own.
    TooLong,
    /// A copy of the header.
    Header,
    /// A root of the state file.
    Root,
    /// A part that a root names.
    Part {
        /// Generation of the root.
        generation: u64,
        /// Which part.
        part: String,
    },
    /// The first bytes of a chunk: its place in the journal was found by other means.
    Opening,
    /// The last bytes of a chunk that is sealed.
    Seal,
    /// Records.
    Records,
    /// The end of the journal: a record that was being written, or one that was durable.
    Tail,
    /// A chunk of another adapter.
    Foreign,
    /// A whole record that does not say what such a record says.
    Undecodable,
}

impl Wrong {
    /// True when something is lost by it: all else is there twice, or is only in the way.
    pub fn is_loss(&self) -> bool {
        matches!(self, Wrong::Records | Wrong::Undecodable)
    }
}

/// One thing that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The chunk, by its place in the journal, where it is known.
    pub chunk: Option<u64>,
    /// The bytes of the file; empty where they have no place of their own.
    pub bytes: Range<u64>,
    /// What is wrong.
    pub what: Wrong,
}

impl Damage {
    pub(super) fn new(file: &str, bytes: Range<u64>, what: Wrong) -> Damage {
        Damage { file: file.to_owned(), chunk: None, bytes, what }
    }

    pub(super) fn in_chunk(self, chunk: Option<u64>) -> Damage {
        Damage { chunk, ..self }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(chunk) = self.chunk {
            write!(f, ", chunk {chunk}")?;
        }
        if !self.bytes.is_empty() {
            write!(f, ", bytes {} to {}", self.bytes.start, self.bytes.end)?;
        }
        match &self.what {
            Wrong::Missing => f.write_str(": not there"),
            Wrong::Unreadable => f.write_str(": cannot be read"),
            Wrong::CutShort => f.write_str(": cut off"),
            Wrong::TooLong => f.write_str(": not its own"),
            Wrong::Header => f.write_str(": a copy of the header is damaged"),
            Wrong::Root => f.write_str(": a checkpoint's root is damaged"),
            Wrong::Part { generation, part } => write!(f, ": {part} of the checkpoint of generation {generation} is damaged"),
            Wrong::Opening => f.write_str(": the chunk's first bytes are damaged"),
            Wrong::Seal => f.write_str(": the chunk's seal is damaged"),
            Wrong::Records => f.write_str(": records are damaged"),
            Wrong::Tail => f.write_str(": behind the newest record lies one that is not whole"),
            Wrong::Foreign => f.write_str(": a chunk of another adapter"),
            Wrong::Undecodable => f.write_str(": a record that cannot be understood"),
        }
    }
}

/// A correction, or a whole record, that the statistics do not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Generation of its record.
    pub generation: u64,
    /// Rows that it would have changed.
    pub rows: u64,
    /// Why not.
    pub why: String,
}

/// Rows of one class; one of several classes counts in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRows {
    /// The class; none for background.
    pub class: Option<ClassName>,
    /// Rows that the statistics count.
    pub counted: u64,
    /// Of these, rows that are there and that replay will hold.
    pub held: u64,
}

/// The report of a salvage.
#[derive(Debug, Clone, Serialize)]
pub struct SalvageReport {
    /// Where the header came from.
    pub header: HeaderFound,
    /// Generation of the checkpoint that the statistics began with; without one they are summed from the records alone.
    pub checkpoint: Option<u64>,
    /// Newest generation that anything was found of.
    pub newest_generation: u64,
    /// The generation up to which the statistics are exactly what they were; none when that cannot be said of any.
    pub exact_to: Option<u64>,
    /// Generations behind the checkpoint whose records are gone, first and last of each gap.
    pub missing: Vec<(u64, u64)>,
    /// What was found and could not be applied to the statistics.
    pub skipped: Vec<Skipped>,
    /// Chunks with whole records.
    pub chunks: u64,
    /// Of these, or beside them, chunks with damaged records.
    pub damaged_chunks: u64,
    /// Whole records of the journal.
    pub records: u64,
    /// Whole records of a course of the journal that was rolled back: they are left out.
    pub rolled_back: u64,
    /// Everything that is damaged.
    pub damage: Vec<Damage>,
    /// Rows by class.
    #[serde(skip)]
    pub rows: Vec<ClassRows>,
    /// Rows that the statistics count.
    pub counted_rows: u64,
    /// Rows that replay will hold.
    pub held_rows: u64,
    /// What cannot be known.
    pub unknown: Vec<String>,
}

impl SalvageReport {
    /// True when nothing is lost: the statistics are exact to the newest generation, every record that was held is there, and
    /// the header is its own.
    pub fn is_complete(&self) -> bool {
        let exact = self.exact_to == Some(self.newest_generation);
        exact && self.header != HeaderFound::Like && !self.damage.iter().any(|d| d.what.is_loss())
    }
}
