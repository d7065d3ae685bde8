//! A disk in memory: it refuses the n-th operation, or remembers every operation so that a power cut can be played at any
//! moment. Files keep their contents under a number of their own; names point to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use wheatear::store::storage::{Folder, Storage};
use wheatear::store::{Access, Adapter, Header};
use wheatear::{Error, ErrorKind, Result};

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

/// What is on a disk.
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

    /// Does what `event` did.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::Create { name, file, len_bytes } => {
                self.files.resize(self.files.len().max(file + 1), Vec::new());
                self.files[*file] = vec![0; *len_bytes];
                self.names.insert(name.clone(), *file);
            }
            Event::Write { file, offset, bytes } => self.files[*file][*offset..offset + bytes.len()].copy_from_slice(bytes),
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
}

#[derive(Default)]
struct Inner {
    image: Image,
    events: Vec<Event>,
    /// Number of the operation from which on, or which alone, fails, and its errno.
    fail: Option<(usize, bool, i32)>,
    failed: bool,
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
        Disk::of(disk.image())
    }

    pub fn of(image: Image) -> Disk {
        Disk(Arc::new(Mutex::new(Inner { image, ..Inner::default() })))
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
        self.inner().fail = Some((n, for_ever, errno));
    }

    pub fn open(&self, access: Access) -> Result<Adapter> {
        Adapter::open_in(self.folder(), access)
    }

    pub fn operations(&self) -> usize {
        self.inner().events.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.inner().events.clone()
    }

    pub fn image(&self) -> Image {
        self.inner().image.clone()
    }

    pub fn failed(&self) -> bool {
        self.inner().failed
    }

    /// Operations tried after the failure.
    pub fn after_failure(&self) -> usize {
        self.inner().after_failure
    }

    fn number(&self, name: &str) -> Result<usize> {
        let missing = || Error::io("open", name, std::io::Error::from_raw_os_error(2));
        self.inner().image.names.get(name).copied().ok_or_else(missing)
    }
}

impl Inner {
    /// Counts an operation and does it; an error when it is one that fails.
    fn operate(&mut self, event: Event) -> Result<()> {
        self.after_failure += usize::from(self.failed);
        let fails = self.fail.filter(|(n, for_ever, _)| *n == self.events.len() || *for_ever && *n < self.events.len());
        match (&event, fails) {
            (Event::Write { file, offset, bytes }, Some(_)) => {
                let bytes = bytes[..bytes.len() / 2].to_vec();
                self.image.play(&Event::Write { file: *file, offset: *offset, bytes });
            }
            (_, Some(_)) => {}
            (event, None) => self.image.play(event),
        }
        self.events.push(event);
        match fails {
            None => Ok(()),
            Some((_, _, errno)) => {
                self.failed = true;
                Err(Error::io("write", "in memory", std::io::Error::from_raw_os_error(errno)))
            }
        }
    }
}

struct OneFile {
    disk: Disk,
    file: usize,
}

impl Storage for OneFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let offset = offset as usize;
        buf.copy_from_slice(&self.disk.inner().image.files[self.file][offset..offset + buf.len()]);
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
        Ok(self.inner().image.names.keys().cloned().collect())
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
        match self.inner().image.files[file].len() as u64 {
            found if found == len_bytes => Ok(Box::new(OneFile { disk: self.clone(), file })),
            found => Err(Error::new(ErrorKind::Corrupt, "wrong length").found(found)),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.number(name)?;
        Ok(self.inner().image.files[file].clone())
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

    fn path(&self) -> &Path {
        Path::new("in memory")
    }
}

/// What a power cut does to writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// None of them arrived.
    None,
    /// All but the last.
    AllButLast,
    /// All, of the last only its first half.
    TornFront,
    /// All, of the last only its second half.
    TornBack,
    /// Only the last: the disk wrote out of order.
    OnlyLast,
    /// Every second one, counted from the last.
    EverySecond,
    /// All.
    All,
}

pub const CUTS: [Cut; 7] = [Cut::None, Cut::AllButLast, Cut::TornFront, Cut::TornBack, Cut::OnlyLast, Cut::EverySecond, Cut::All];

/// The disk after a power cut behind the `events` that began with `image`; what happened to names has all happened.
pub fn after_power_cut(mut image: Image, events: &[Event], cut: Cut) -> Image {
    let file_of = |e: &Event| match e {
        Event::Write { file, .. } | Event::Sync { file } => Some(*file),
        _ => None,
    };
    for (i, event) in events.iter().enumerate() {
        let Event::Write { file, offset, bytes } = event else {
            image.play(event);
            continue;
        };
        let later: Vec<&Event> = events[i + 1..].iter().filter(|e| file_of(e) == Some(*file)).collect();
        let synced = later.iter().any(|e| matches!(e, Event::Sync { .. }));
        let (from_last, half) = (later.len(), bytes.len() / 2);
        let part = match cut {
            _ if synced => 0..bytes.len(),
            Cut::None => 0..0,
            Cut::AllButLast if from_last == 0 => 0..0,
            Cut::TornFront if from_last == 0 => 0..half,
            Cut::TornBack if from_last == 0 => half..bytes.len(),
            Cut::OnlyLast if from_last != 0 => 0..0,
            Cut::EverySecond if from_last % 2 == 1 => 0..0,
            _ => 0..bytes.len(),
        };
        image.play(&Event::Write { file: *file, offset: offset + part.start, bytes: bytes[part].to_vec() });
    }
    image
}
