//! A file in memory that is copied in no time: pages are shared until written, and pages of zeros are not kept at all, so
//! that a file may be as long as a header says.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use wheatear::Result;
use wheatear::store::storage::Storage;
use wheatear::store::{Access, Adapter, Header};

const PAGE: usize = 4096;

/// A file: its pages that are not zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    pages: BTreeMap<usize, Arc<[u8; PAGE]>>,
    len: usize,
}

impl Memory {
    /// A file of `len` zeros.
    pub fn zeros(len: u64) -> Memory {
        Memory { pages: BTreeMap::new(), len: len as usize }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes it `len` bytes long; what is added is zero.
    pub fn resize(&mut self, len: u64) {
        let len = len as usize;
        if len < self.len {
            let whole = len.next_multiple_of(PAGE);
            self.pages.retain(|page, _| page * PAGE < whole);
            self.len = whole.min(self.len);
            self.write(len, &vec![0; self.len - len]);
        }
        self.len = len;
    }

    /// The `len` bytes from `offset` on.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(offset, &mut bytes);
        bytes
    }

    fn fill(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.len, "read past the end: {offset} + {} of {}", bytes.len(), self.len);
        each_page(offset, bytes.len(), |page, within, part| match self.pages.get(&page) {
            Some(contents) => bytes[part].copy_from_slice(&contents[within]),
            None => bytes[part].fill(0),
        });
    }

    /// Writes `bytes` at `offset`.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "write past the end: {offset} + {} of {}", bytes.len(), self.len);
        each_page(offset, bytes.len(), |page, within, part| {
            let part = &bytes[part];
            if self.pages.contains_key(&page) || part.iter().any(|b| *b != 0) {
                let contents = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
                Arc::make_mut(contents)[within].copy_from_slice(part);
            }
        });
    }
}

/// Calls `each` with every page that `len` bytes from `offset` on touch, the range inside the page and inside the bytes.
fn each_page(offset: usize, len: usize, mut each: impl FnMut(usize, std::ops::Range<usize>, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let (page, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
        let now = (PAGE - within).min(len - done);
        each(page, within..within + now, done..done + now);
        done += now;
    }
}

/// The chunk file and the state file of one adapter; clones of a `Disk` are the same disk.
#[derive(Debug, Clone)]
pub struct Disk([Arc<Mutex<Memory>>; 2]);

/// Number of the chunk file on a [`Disk`].
pub const CHUNKS: usize = 0;
/// Number of the state file on a [`Disk`].
pub const STATE: usize = 1;

impl Disk {
    /// A disk that holds `files`.
    pub fn of(files: [Memory; 2]) -> Disk {
        Disk(files.map(|f| Arc::new(Mutex::new(f))))
    }

    /// What the files hold now.
    pub fn files(&self) -> [Memory; 2] {
        [CHUNKS, STATE].map(|f| self.0[f].lock().expect("no writer panicked").clone())
    }

    /// Opens the adapter on it.
    pub fn open(&self, header: &Header, access: Access) -> Result<Adapter> {
        let file = |f: usize| Box::new(Shared(self.0[f].clone()));
        Adapter::recover(PathBuf::from("in memory"), header.clone(), access, None, file(CHUNKS), file(STATE))
    }
}

struct Shared(Arc<Mutex<Memory>>);

impl Storage for Shared {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.lock().expect("no writer panicked").fill(offset as usize, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.0.lock().expect("no writer panicked").write(offset as usize, buf);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn len_bytes(&self) -> u64 {
        self.0.lock().expect("no writer panicked").len() as u64
    }

    fn mappable(&self) -> Option<&File> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_copy_stays_as_it_was() {
        let mut file = Memory::zeros(3 * PAGE as u64);
        file.write(PAGE - 3, &[1, 2, 3, 4, 5]);
        let copy = file.clone();
        file.write(PAGE, &[9]);
        assert_eq!((file.read(PAGE - 4, 7), copy.read(PAGE - 4, 7)), (vec![0, 1, 2, 3, 9, 5, 0], vec![0, 1, 2, 3, 4, 5, 0]));
        file.resize(PAGE as u64 + 1);
        file.resize(2 * PAGE as u64);
        assert_eq!(file.read(PAGE - 4, 7), [0, 1, 2, 3, 9, 0, 0]);
        file.write(PAGE - 4, &[0; 7]);
        assert_eq!(file.read(0, 2 * PAGE), vec![0; 2 * PAGE]);
    }
}
