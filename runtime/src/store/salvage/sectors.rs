//! A file of a wreck: it may be shorter or longer than it was made, and unreadable in places. What cannot be read is zeros
//! here, and is remembered; nothing is ever written.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::storage::{Folder, Storage};
use crate::{Error, ErrorKind, Result};

/// Bytes that are given up together where a read fails: the system reads no fewer at once.
const PIECE_LEN_BYTES: u64 = 4096;

/// Pieces that could not be read, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreadable(Arc<Mutex<BTreeSet<u64>>>);

impl Unreadable {
    fn note(&self, piece: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(piece);
    }

    /// Ranges of bytes, joined where they touch.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for piece in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (start, end) = (piece * PIECE_LEN_BYTES, (piece + 1) * PIECE_LEN_BYTES);
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }
}

/// A file that is read as far as it can be.
pub(super) struct Sectors {
    storage: Box<dyn Storage>,
    unreadable: Unreadable,
}

impl Sectors {
    /// Opens `name` as it is now.
    ///
    /// # Errors
    /// `Missing` when it is not there, `Storage` when it cannot be opened.
    pub fn open(folder: &dyn Folder, name: &str) -> Result<Sectors> {
        let storage = folder.open(name, folder.len_bytes(name)?, false)?;
        Ok(Sectors { storage, unreadable: Unreadable::default() })
    }

    /// What could not be read so far, and will not be.
    pub fn unreadable(&self) -> Unreadable {
        self.unreadable.clone()
    }
}

impl Storage for Sectors {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let there = self.storage.len_bytes().saturating_sub(offset).min(buf.len() as u64) as usize;
        let (buf, behind) = buf.split_at_mut(there);
        behind.fill(0);
        if buf.is_empty() || self.storage.read_at(offset, buf).is_ok() {
            return Ok(());
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let piece = at / PIECE_LEN_BYTES;
            let len = rest.len().min(((piece + 1) * PIECE_LEN_BYTES - at) as usize);
            let (now, later) = rest.split_at_mut(len);
            if self.storage.read_at(at, now).is_err() {
                now.fill(0);
                self.unreadable.note(piece);
            }
            (at, rest) = (at + len as u64, later);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, _buf: &[u8]) -> Result<()> {
        Err(Error::new(ErrorKind::Storage, "a wreck is only read").found(offset))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn len_bytes(&self) -> u64 {
        self.storage.len_bytes()
    }

    fn mappable(&self) -> Option<&File> {
        None
    }
}
