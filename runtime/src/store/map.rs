//! The read-only map of the chunk file. Slices exist only over sealed ranges (docs/safety.md has the argument).

use std::fs::File;

use memmap2::{MmapOptions, MmapRaw};

use crate::{Error, ErrorKind, Result};

/// A raw read-only map of the whole chunk file.
#[derive(Debug)]
pub struct ChunkMap {
    raw: MmapRaw,
    /// Ranges that may be handed out: start and length in bytes, sorted by start.
    sealed: Vec<(usize, usize)>,
}

impl ChunkMap {
    /// Maps `file`; nothing can be read until ranges are declared sealed.
    ///
    /// # Errors
    /// `Storage` when the file cannot be mapped.
    pub fn new(file: &File) -> Result<ChunkMap> {
        let raw = MmapOptions::new()
            .map_raw_read_only(file)
            .map_err(|e| Error::new(ErrorKind::Storage, "the chunk file cannot be mapped").because(e))?;
        Ok(ChunkMap { raw, sealed: Vec::new() })
    }

    /// Declares `[start, start + len)` sealed: from now on this process never writes there while the map lives.
    ///
    /// # Errors
    /// `Corrupt` when the range is outside the file.
    pub fn seal(&mut self, start: usize, len: usize) -> Result<()> {
        if start.checked_add(len).is_none_or(|end| end > self.raw.len()) {
            return Err(Error::new(ErrorKind::Corrupt, "a sealed chunk lies outside its file").found(start));
        }
        let at = self.sealed.partition_point(|(s, _)| *s < start);
        self.sealed.insert(at, (start, len));
        Ok(())
    }

    /// Withdraws the range that begins at `start`; `&mut self` shows that no slice of it is alive.
    pub fn withdraw(&mut self, start: usize) {
        self.sealed.retain(|(s, _)| *s != start);
    }

    /// The bytes of the sealed range that begins at `start`.
    pub fn sealed(&self, start: usize) -> Option<&[u8]> {
        let i = self.sealed.binary_search_by_key(&start, |(s, _)| *s).ok()?;
        let (start, len) = self.sealed[i];
        // SAFETY: `seal` checked that the range lies inside the map, which lives as long as `self`. The range is sealed:
        // this process writes there only after `withdraw`, which needs `&mut self` and so no slice alive; other processes
        // are kept from writing by the adapter's file lock, which only a writer holds, and only a writer maps; readers copy.
        Some(unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(start), len) })
    }
}
