//! Events appended to a file, a line each, in one of the [`Format`]s.
//!
//! **A file that is there is gone on with**, when it was written in the same format (the header says so, or how the first line begins); any
//! other is refused and left as it is. A last line that a power cut tore is cut off, and the log says so. Raven's selections go on.
//!
//! **Bounded**: `max_mib` is for two files together. One that is half of that is rotated away: `events.csv` becomes `events.1.csv`, in the
//! place of the one before, and a new one begins. A line that is longer than that alone is refused.
//!
//! **Durable**: a line is written whole in one call. `fdatasync` follows a line at most once in a second, and the end; a power cut may lose
//! what came after it. A write that fails (a full disk) is cut off again before the next.
//!
//! One writer at a time: the file is locked. One that was moved or deleted meanwhile is left, and begun anew under its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::Format;
use crate::event::{Event, Sink};
use crate::{Error, ErrorKind, Result};

/// Largest `max_mib`.
pub const MAX_MIB: u32 = 1 << 20;
/// What is looked at to know a file by.
const BEGINNING: u64 = 4096;
/// What is read at once on the way back from its end.
const STEP: u64 = 1 << 16;
/// Least time between two syncs.
const SYNC_NS: u64 = 1_000_000_000;

/// A file of events.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    format: Format,
    file: File,
    len: u64,
    /// Length at which it is rotated away.
    limit: u64,
    /// Number of the newest selection.
    selection: u64,
    /// A write failed: there may be more than `len` bytes.
    is_torn: bool,
    synced_ns: u64,
}

impl EventFile {
    /// Opens a file of events, or begins one. `max_mib` is for it and the one before together.
    ///
    /// # Errors
    /// `Config` when `max_mib` is not within 1 and [`MAX_MIB`]; `Input` when there is something else under the name; `Busy` when another
    /// process writes it; `Missing` and `Storage` as the file system has it.
    pub fn open(path: impl AsRef<Path>, format: Format, max_mib: u32) -> Result<EventFile> {
        if !(1..=MAX_MIB).contains(&max_mib) {
            let error = Error::new(ErrorKind::Config, "a file of events cannot be that large").at("max_mib");
            return Err(error.expected(format!("1 to {MAX_MIB}")).found(max_mib).cure("choose another size"));
        }
        EventFile::open_bytes(path.as_ref(), format, u64::from(max_mib) * (1 << 20) / 2)
    }

    fn open_bytes(path: &Path, format: Format, limit: u64) -> Result<EventFile> {
        let failed = |e| Error::io("open a file of events", path, e);
        // What is no file (a pipe, a folder) may hang when it is opened.
        match std::fs::metadata(path) {
            Ok(there) if !there.is_file() => return Err(other(path, format).found("something that is no file")),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                Error::new(ErrorKind::Busy, "another process writes this file of events").at(path.display()).cure("name another file")
            }
            TryLockError::Error(e) => failed(e),
        })?;
        let Found { len, cut, selection } = look(&mut file, path, format).map_err(|e| e.within(path.display()))?;
        if cut > 0 {
            file.set_len(len).map_err(failed)?;
            log::warn!("{}: the last line was torn, as by a power cut: {cut} bytes of it were cut off", path.display());
        }
        let path = path.to_owned();
        let mut file = EventFile { path, format, file, len, limit, selection, is_torn: false, synced_ns: 0 };
        if file.len == 0 {
            file.append(format.header().as_bytes())?;
        }
        Ok(file)
    }

    /// Cuts off what a failed write has left.
    fn mend(&mut self) -> Result<()> {
        if self.is_torn {
            self.file.set_len(self.len).map_err(|e| Error::io("mend a file of events", &self.path, e))?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.mend()?;
        if let Err(e) = self.file.write_all(bytes) {
            self.is_torn = true;
            return Err(Error::io("write events", &self.path, e));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Begins a new file under the name.
    fn begin(&mut self) -> Result<()> {
        *self = EventFile::open_bytes(&self.path, self.format, self.limit)?;
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.mend()?;
        self.sync()?;
        let old = older(&self.path);
        std::fs::rename(&self.path, &old).map_err(|e| Error::io("rotate a file of events", &old, e))?;
        self.begin()
    }

    /// Whether the name leads to another file by now, or to none.
    fn is_moved(&self) -> bool {
        let own = self.file.metadata().map(|m| (m.dev(), m.ino())).ok();
        own.is_some() && std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino())).ok() != own
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync a file of events", &self.path, e))
    }
}

impl Sink for EventFile {
    fn take(&mut self, event: &Event) -> Result<()> {
        if self.is_moved() {
            log::info!("{} was moved or deleted, and begins anew", self.path.display());
            self.begin()?;
        }
        let Some(mut line) = self.format.line(event, self.selection + 1)? else { return Ok(()) };
        let header = self.format.header().len() as u64;
        if header + line.len() as u64 > self.limit {
            return Err(Error::new(ErrorKind::Limit, "an event is longer than its file may be")
                .at(self.path.display())
                .expected(format!("at most {} bytes", self.limit - header))
                .found(format!("{} bytes", line.len()))
                .cure("raise max_mib"));
        }
        if self.len + line.len() as u64 > self.limit {
            self.rotate()?;
            line = self.format.line(event, self.selection + 1)?.unwrap_or_default();
        }
        self.append(line.as_bytes())?;
        self.selection += 1;
        if event.at.monotonic_ns.abs_diff(self.synced_ns) >= SYNC_NS {
            self.synced_ns = event.at.monotonic_ns;
            self.sync()?;
        }
        Ok(())
    }
}

impl Drop for EventFile {
    fn drop(&mut self) {
        if let Err(e) = self.sync() {
            log::error!("{e}");
        }
    }
}

/// The file that is kept beside: `events.1.csv` of `events.csv`.
fn older(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".1");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// What a file holds.
struct Found {
    /// Whole lines.
    len: u64,
    /// A torn one behind them.
    cut: u64,
    selection: u64,
}

/// Looks at a file that is there.
fn look(file: &mut File, path: &Path, format: Format) -> Result<Found> {
    let failed = |e| Error::io("read a file of events", path, e);
    let all = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let beginning = read_at(file, 0, all.min(BEGINNING)).map_err(failed)?;
    let len = after_line(file, all).map_err(failed)?;
    // Space that a file system gave before the bytes came.
    let is_empty = len == 0 && beginning.iter().all(|b| *b == 0);
    if !is_empty && !format.began(&beginning, len == 0) {
        let first = beginning.split(|b| *b == b'\n').next().unwrap_or_default();
        let first: String = String::from_utf8_lossy(first).chars().take(80).collect();
        return Err(other(path, format).found(format!("{first:?}")));
    }
    let selection = if len == 0 {
        0
    } else {
        let begin = after_line(file, len - 1).map_err(failed)?;
        let line = read_at(file, begin, (len - 1 - begin).min(STEP)).map_err(failed)?;
        let unclear = || other(path, format).expected("a selection with its number in the last line").found(String::from_utf8_lossy(&line));
        format.selection(&line).ok_or_else(unclear)?
    };
    Ok(Found { len, cut: all - len, selection })
}

fn other(path: &Path, format: Format) -> Error {
    let header = format.header();
    let expected = match format {
        Format::Json => "lines of JSON, events each".to_owned(),
        Format::Audacity => "labels: begin and end in s, and a name, with tabs between".to_owned(),
        Format::Csv | Format::Raven => format!("the header {:?}", header.trim_end()),
    };
    Error::new(ErrorKind::Input, "a file under this name holds something else than events of this format")
        .at(path.display())
        .expected(expected)
        .cure("name another file, or move it away; it was left as it is")
}

fn read_at(file: &mut File, at: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Where the last line end before `end` has passed; 0 where there is none.
fn after_line(file: &mut File, mut end: u64) -> std::io::Result<u64> {
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let bytes = read_at(file, begin, end - begin)?;
        if let Some(n) = bytes.iter().rposition(|b| *b == b'\n') {
            return Ok(begin + n as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
