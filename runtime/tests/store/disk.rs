//! Disks that fail: files in memory that refuse the n-th operation, or remember every write so that a power cut can be
//! played at any moment.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use wheatear::store::storage::Storage;
use wheatear::store::{Access, Adapter, Header};
use wheatear::{Error, Result};

/// What happened on the disk, in order.
#[derive(Clone)]
pub enum Event {
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Sync { file: usize },
}

#[derive(Default)]
struct Inner {
    files: [Vec<u8>; 2],
    events: Vec<Event>,
    /// Number of the operation that fails, and its errno.
    fail: Option<(usize, i32)>,
    failed: bool,
    after_failure: usize,
}

/// Chunk file and state file of one adapter in memory.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub fn new(header: &Header) -> Disk {
        Disk::of([vec![0; header.chunk_file_len_bytes() as usize], vec![0; header.state_file_len_bytes() as usize]])
    }

    pub fn of(files: [Vec<u8>; 2]) -> Disk {
        Disk(Arc::new(Mutex::new(Inner { files, ..Inner::default() })))
    }

    /// Makes operation `n` (writes and syncs counted from 0) fail with `errno`; of a write half the bytes arrive.
    pub fn fail_at(&self, n: usize, errno: i32) {
        self.0.lock().unwrap().fail = Some((n, errno));
    }

    pub fn open(&self, header: &Header, access: Access) -> Result<Adapter> {
        let file = |file| Box::new(OneFile { disk: self.clone(), file });
        Adapter::recover(PathBuf::from("in memory"), header.clone(), access, None, file(0), file(1))
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().events.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().events.clone()
    }

    pub fn files(&self) -> [Vec<u8>; 2] {
        self.0.lock().unwrap().files.clone()
    }

    pub fn failed(&self) -> bool {
        self.0.lock().unwrap().failed
    }

    /// Operations tried after the failure.
    pub fn after_failure(&self) -> usize {
        self.0.lock().unwrap().after_failure
    }
}

impl Inner {
    /// Counts an operation; an error when it is the one that fails.
    fn operate(&mut self, event: Event) -> Result<()> {
        self.after_failure += usize::from(self.failed);
        let fails = self.fail.filter(|(n, _)| *n == self.events.len());
        if let Event::Write { file, offset, bytes } = &event {
            let len = if fails.is_some() { bytes.len() / 2 } else { bytes.len() };
            self.files[*file][*offset..offset + len].copy_from_slice(&bytes[..len]);
        }
        self.events.push(event);
        match fails {
            None => Ok(()),
            Some((_, errno)) => {
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
        buf.copy_from_slice(&self.disk.0.lock().unwrap().files[self.file][offset..offset + buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.disk.0.lock().unwrap().operate(Event::Write { file: self.file, offset: offset as usize, bytes: buf.to_vec() })
    }

    fn sync(&self) -> Result<()> {
        self.disk.0.lock().unwrap().operate(Event::Sync { file: self.file })
    }

    fn len_bytes(&self) -> u64 {
        self.disk.0.lock().unwrap().files[self.file].len() as u64
    }

    fn mappable(&self) -> Option<&File> {
        None
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

/// The files after a power cut behind the first `count` events that began with `files`.
pub fn after_power_cut(mut files: [Vec<u8>; 2], events: &[Event], cut: Cut) -> [Vec<u8>; 2] {
    for (index, contents) in files.iter_mut().enumerate() {
        let mine = |e: &&Event| matches!(e, Event::Write { file, .. } | Event::Sync { file } if *file == index);
        let mine: Vec<&Event> = events.iter().filter(mine).collect();
        let synced = mine.iter().rposition(|e| matches!(e, Event::Sync { .. })).unwrap_or(0);
        for (i, event) in mine.iter().enumerate() {
            let Event::Write { offset, bytes, .. } = event else { continue };
            let (from_last, half) = (mine.len() - 1 - i, bytes.len() / 2);
            let part = match cut {
                _ if i < synced => 0..bytes.len(),
                Cut::None => 0..0,
                Cut::AllButLast if from_last == 0 => 0..0,
                Cut::TornFront if from_last == 0 => 0..half,
                Cut::TornBack if from_last == 0 => half..bytes.len(),
                Cut::OnlyLast if from_last != 0 => 0..0,
                Cut::EverySecond if from_last % 2 == 1 => 0..0,
                _ => 0..bytes.len(),
            };
            contents[offset + part.start..offset + part.end].copy_from_slice(&bytes[part.clone()]);
        }
    }
    files
}
