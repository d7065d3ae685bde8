//! A folder in memory, of files that are copied in no time: pages are shared until written, and pages of zeros are not kept at all, so
//! that a file may be as long as a header says.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wheatear::store::storage::{Folder, Storage};
use wheatear::store::{Access, Adapter, Header};
use wheatear::{Error, ErrorKind, Result};

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

/// Number of the chunk file among an adapter's files.
pub const CHUNKS: usize = 0;
/// Number of the state file.
pub const STATE: usize = 1;

/// A folder in memory; clones are the same folder.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<BTreeMap<String, Arc<Mutex<Memory>>>>>);

impl Disk {
    /// The folder of an adapter with this header's file, whose chunk file and state file are `files`.
    pub fn of(header: &Header, bytes: &[u8], files: [Memory; 2]) -> Disk {
        let mut first = Memory::zeros(bytes.len() as u64);
        first.write(0, bytes);
        let [chunks, state] = files;
        let named = [("header".to_owned(), first), (header.chunk_file(), chunks), (header.state_file(), state)];
        Disk(Arc::new(Mutex::new(named.map(|(name, file)| (name, Arc::new(Mutex::new(file)))).into())))
    }

    /// Opens the adapter in it.
    pub fn open(&self, access: Access) -> Result<Adapter> {
        Adapter::open_in(self.folder(), access)
    }

    /// It as the store sees it.
    pub fn folder(&self) -> Arc<dyn Folder> {
        Arc::new(self.clone())
    }

    /// What its files hold now, by name.
    pub fn files(&self) -> BTreeMap<String, Memory> {
        self.all().iter().map(|(name, file)| (name.clone(), locked(file).clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Memory>>>> {
        locked(&self.0)
    }

    fn file(&self, name: &str) -> Result<Arc<Mutex<Memory>>> {
        self.all().get(name).cloned().ok_or_else(|| Error::new(ErrorKind::Missing, "no such file").at(name))
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("no writer panicked")
}

impl Folder for Disk {
    fn names(&self) -> Result<Vec<String>> {
        Ok(self.all().keys().cloned().collect())
    }

    fn create(&self, name: &str, len_bytes: u64) -> Result<Box<dyn Storage>> {
        let file = Arc::new(Mutex::new(Memory::zeros(len_bytes)));
        assert!(self.all().insert(name.to_owned(), Arc::clone(&file)).is_none(), "{name} is made twice");
        Ok(Box::new(Shared(file)))
    }

    fn open(&self, name: &str, len_bytes: u64, _write: bool) -> Result<Box<dyn Storage>> {
        let file = self.file(name)?;
        if locked(&file).len() as u64 != len_bytes {
            return Err(Error::new(ErrorKind::Corrupt, "another length").at(name).expected(len_bytes).found(locked(&file).len()));
        }
        Ok(Box::new(Shared(file)))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.file(name)?;
        let file = locked(&file);
        Ok(file.read(0, file.len().min(1 << 20)))
    }

    fn len_bytes(&self, name: &str) -> Result<u64> {
        Ok(locked(&*self.file(name)?).len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let file = self.all().remove(from).ok_or_else(|| Error::new(ErrorKind::Missing, "no such file").at(from))?;
        self.all().insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.all().remove(name).map(drop).ok_or_else(|| Error::new(ErrorKind::Missing, "no such file").at(name))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn lock(&self, _name: &str) -> Result<Option<File>> {
        Ok(None)
    }

    fn pause(&self, _time: Duration) {}

    fn path(&self) -> &Path {
        Path::new("in memory")
    }
}

struct Shared(Arc<Mutex<Memory>>);

impl Storage for Shared {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        locked(&self.0).fill(offset as usize, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        locked(&self.0).write(offset as usize, buf);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn len_bytes(&self) -> u64 {
        locked(&self.0).len() as u64
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
