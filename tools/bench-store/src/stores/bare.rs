//! What a durable commit costs at the least: the rows' bytes into a file that is there already, and one `fdatasync`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{Shape, Store};
use crate::row::Row;

/// More than a row's bytes beside its latent.
const ROW_REST_LEN_BYTES: usize = 88;

/// A file that is overwritten from its beginning when it is full.
pub struct Ring {
    file: File,
    len_bytes: u64,
    at: u64,
}

impl Ring {
    pub fn create(folder: &Path, shape: Shape) -> Result<Ring> {
        std::fs::create_dir_all(folder)?;
        let len = (shape.dim + ROW_REST_LEN_BYTES) * shape.replay_rows as usize;
        let file = File::create_new(folder.join("rows"))?;
        file.write_all_at(&vec![0; len], 0)?;
        file.sync_all()?;
        Ok(Ring { file, len_bytes: len as u64, at: 0 })
    }
}

impl Store for Ring {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend_from_slice(&row.id.to_le_bytes());
            bytes.extend_from_slice(&row.to_bytes());
        }
        let len = bytes.len() as u64;
        ensure!(len <= self.len_bytes, "a commit of {len} bytes is longer than the ring");
        if self.at + len > self.len_bytes {
            self.at = 0;
        }
        self.file.write_all_at(&bytes, self.at)?;
        self.at += len;
        Ok(self.file.sync_data()?)
    }

    /// Nothing to do: the bytes lie where they stay.
    fn checkpoint(&mut self) -> Result<()> {
        Ok(())
    }
}
