//! A disk in memory: it refuses the n-th operation, and remembers every operation so that a power cut can be played at any
//! moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wheatear::store::storage::{Folder, Storage};
use wheatear::store::{Access, Adapter, Header};
use wheatear::{Error, ErrorKind, Result};

use crate::pages::{Pages, Snapshot};

/// What happened on the disk, in order; files are numbered as they were made.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Create { name: String, file: usize, len_bytes: usize },
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Sync { file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncFolder,
}

impl Snapshot {
    /// Does what `event` did.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::Create { name, file, len_bytes } => {
                self.make_file(*file, *len_bytes);
                self.names.insert(name.clone(), *file);
            }
            Event::Write { file, offset, bytes } => self.files[*file].write(*offset, bytes),
            Event::Rename { from, to } => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
            }
            Event::Remove { name } => {
                self.names.remove(name);
            }
            Event::Sync { .. } | Event::SyncFolder => {}
        }
    }

    /// A file of zeros that has no name yet.
    pub fn make_file(&mut self, file: usize, len_bytes: usize) {
        self.files.resize(self.files.len().max(file + 1), Pages::default());
        self.files[file] = Pages::zeros(len_bytes);
    }
}

/// What is on a disk, byte by byte.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    pub names: BTreeMap<String, usize>,
    pub files: Vec<Vec<u8>>,
}

impl Image {
    /// The bytes of the file `name`.
    pub fn file(&mut self, name: &str) -> &mut Vec<u8> {
        let number = self.names[name];
        &mut self.files[number]
    }
}

/// Which operation fails: that of the number `n`, counted from 0, or all from it on.
#[derive(Debug, Clone, Copy)]
struct Fault {
    n: usize,
    for_ever: bool,
    errno: i32,
}

impl Fault {
    fn hits(&self, n: usize) -> bool {
        self.n == n || self.for_ever && self.n < n
    }

    fn error(&self, doing: &str) -> Error {
        Error::io(doing, "in memory", std::io::Error::from_raw_os_error(self.errno))
    }
}

#[derive(Default)]
struct Inner {
    image: Snapshot,
    events: Vec<Event>,
    /// Operations tried, those that failed among them.
    tried: usize,
    reads: usize,
    /// The bytes that were read: file and range.
    ranges: Option<Vec<(usize, Range<usize>)>>,
    change_fault: Option<Fault>,
    read_fault: Option<Fault>,
    failed: bool,
    read_failed: bool,
    after_failure: usize,
}

/// The folder of one adapter in memory.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    /// A disk with a new adapter of `header`; what creating it did is not among the events.
    pub fn new(header: &Header) -> Disk {
        let disk = Disk::default();
        drop(Adapter::create_in(disk.folder(), header.clone()).unwrap());
        Disk::at(disk.snapshot())
    }

    pub fn of(image: Image) -> Disk {
        Disk::at(Snapshot { names: image.names, files: image.files.iter().map(|f| Pages::of(f)).collect() })
    }

    pub fn at(image: Snapshot) -> Disk {
        Disk(Arc::new(Mutex::new(Inner { image, ..Inner::default() })))
    }

    /// A disk on which `events` led to `image`; what happens from now on is added to them.
    pub fn after(image: Snapshot, events: &[Event]) -> Disk {
        let disk = Disk::at(image);
        disk.inner().events = events.to_vec();
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn folder(&self) -> Arc<dyn Folder> {
        Arc::new(self.clone())
    }

    /// Makes operation `n` (all that change the disk, counted from 0) fail with `errno`, and all later ones too when it is
    /// `for_ever`; of a write half the bytes arrive.
    pub fn fail_at(&self, n: usize, for_ever: bool, errno: i32) {
        self.inner().change_fault = Some(Fault { n, for_ever, errno });
    }

    /// As [`Disk::fail_at`], for all that only reads.
    pub fn fail_reading_at(&self, n: usize, for_ever: bool, errno: i32) {
        self.inner().read_fault = Some(Fault { n, for_ever, errno });
    }

    pub fn open(&self, access: Access) -> Result<Adapter> {
        Adapter::open_in(self.folder(), access)
    }

    /// Operations that were done.
    pub fn operations(&self) -> usize {
        self.inner().events.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.inner().events.clone()
    }

    pub fn image(&self) -> Image {
        let Snapshot { names, files } = self.snapshot();
        Image { names, files: files.iter().map(Pages::to_vec).collect() }
    }

    pub fn snapshot(&self) -> Snapshot {
        self.inner().image.clone()
    }

    pub fn failed(&self) -> bool {
        let inner = self.inner();
        inner.failed || inner.read_failed
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        let mut inner = self.inner();
        (inner.change_fault, inner.read_fault) = (None, None);
    }

    /// Writes and syncs of files tried after the failure.
    pub fn after_failure(&self) -> usize {
        self.inner().after_failure
    }

    /// Operations that only read.
    pub fn reads(&self) -> usize {
        self.inner().reads
    }

    /// From now on remembers which bytes are read.
    pub fn watch_reads(&self) {
        self.inner().ranges = Some(Vec::new());
    }

    /// The bytes that were read since: file and range.
    pub fn read_ranges(&self) -> Vec<(usize, Range<usize>)> {
        self.inner().ranges.clone().unwrap_or_default()
    }

    fn number(&self, name: &str) -> Result<usize> {
        let missing = || Error::io("open", name, std::io::Error::from_raw_os_error(2));
        self.inner().image.names.get(name).copied().ok_or_else(missing)
    }
}

impl Inner {
    /// Counts an operation and does it; an error when it is one that fails.
    fn operate(&mut self, event: Event) -> Result<()> {
        let of_file = matches!(event, Event::Write { .. } | Event::Sync { .. });
        self.after_failure += usize::from(self.failed && of_file);
        let fails = self.change_fault.filter(|fault| fault.hits(self.tried));
        self.tried += 1;
        let done = match (event, fails) {
            (event, None) => Some(event),
            (Event::Write { file, offset, mut bytes }, Some(_)) => {
                bytes.truncate(bytes.len() / 2);
                Some(Event::Write { file, offset, bytes })
            }
            (_, Some(_)) => None,
        };
        if let Some(event) = done {
            self.image.play(&event);
            self.events.push(event);
        }
        self.failed |= fails.is_some();
        fails.map_or(Ok(()), |fault| Err(fault.error("write")))
    }

    /// Counts an operation that only reads; an error when it is one that fails.
    fn look(&mut self) -> Result<()> {
        self.reads += 1;
        let fails = self.read_fault.filter(|fault| fault.hits(self.reads - 1));
        self.read_failed |= fails.is_some();
        fails.map_or(Ok(()), |fault| Err(fault.error("read")))
    }
}

struct OneFile {
    disk: Disk,
    file: usize,
}

impl Storage for OneFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut inner = self.disk.inner();
        inner.look()?;
        let range = offset as usize..offset as usize + buf.len();
        inner.ranges.iter_mut().for_each(|ranges| ranges.push((self.file, range.clone())));
        inner.image.files[self.file].read(range.start, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.disk.inner().operate(Event::Write { file: self.file, offset: offset as usize, bytes: buf.to_vec() })
    }

    fn sync(&self) -> Result<()> {
        self.disk.inner().operate(Event::Sync { file: self.file })
    }

    fn len_bytes(&self) -> u64 {
        self.disk.inner().image.files[self.file].len() as u64
    }

    fn mappable(&self) -> Option<&File> {
        None
    }
}

impl Folder for Disk {
    fn names(&self) -> Result<Vec<String>> {
        let mut inner = self.inner();
        inner.look()?;
        Ok(inner.image.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, len_bytes: u64) -> Result<Box<dyn Storage>> {
        let mut inner = self.inner();
        assert!(!inner.image.names.contains_key(name), "{name} is there already");
        let file = inner.image.files.len();
        inner.operate(Event::Create { name: name.to_owned(), file, len_bytes: len_bytes as usize })?;
        drop(inner);
        Ok(Box::new(OneFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str, len_bytes: u64, _write: bool) -> Result<Box<dyn Storage>> {
        let file = self.number(name)?;
        let mut inner = self.inner();
        inner.look()?;
        match inner.image.files[file].len() as u64 {
            found if found == len_bytes => Ok(Box::new(OneFile { disk: self.clone(), file })),
            found => Err(Error::new(ErrorKind::Corrupt, "wrong length").found(found)),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.number(name)?;
        let mut inner = self.inner();
        inner.look()?;
        let bytes = inner.image.files[file].to_vec();
        inner.ranges.iter_mut().for_each(|ranges| ranges.push((file, 0..bytes.len())));
        Ok(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.inner().operate(Event::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.inner().operate(Event::Remove { name: name.to_owned() })
    }

    fn sync(&self) -> Result<()> {
        self.inner().operate(Event::SyncFolder)
    }

    fn lock(&self, _name: &str) -> Result<Option<File>> {
        Ok(None)
    }

    fn pause(&self, _time: Duration) {}

    fn path(&self) -> &Path {
        Path::new("in memory")
    }
}
