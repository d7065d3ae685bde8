//! The folder of clips, which never takes more than its budget: the oldest clips make room for new ones. Other files in it are left alone.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::wav::About;
use crate::sinks::utc::utc;
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Before the end of a clip's name, by which it is known as one: `2026-11-27T03-49-34.120Z_12_wren.clip.wav`.
const MARK: &str = ".clip.wav";
const ENCRYPTED: &str = ".age";
/// Of a clip that is being written.
const PART: &str = ".part";
/// Bytes of a class that stand in a name.
const CLASS_LEN_MAX: usize = 48;

/// Clips, the oldest first, with what they take.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    budget_bytes: u64,
    clips: VecDeque<(PathBuf, u64)>,
    bytes: u64,
}

impl Folder {
    /// Opens or makes the folder at `path`.
    ///
    /// # Errors
    /// `Storage` when it cannot be made or read.
    pub fn open(path: &Path, budget_bytes: u64) -> Result<Folder> {
        let failed = |e| Error::io("open the folder of clips", path, e);
        fs::create_dir_all(path).map_err(failed)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_clip = |name: &str| name.ends_with(MARK) || name.strip_suffix(ENCRYPTED).is_some_and(|n| n.ends_with(MARK));
            if name.strip_suffix(PART).is_some_and(is_clip) {
                // What a kill has left.
                fs::remove_file(entry.path()).map_err(failed)?;
            } else if is_clip(name) {
                let meta = entry.metadata().map_err(failed)?;
                found.push((meta.modified().map_err(failed)?, entry.path(), meta.len()));
            }
        }
        // By when they were written: a clock that was wrong does not let new ones go first, once it is right.
        found.sort();
        let clips: VecDeque<_> = found.into_iter().map(|(_, path, len)| (path, len)).collect();
        let bytes = clips.iter().map(|c| c.1).sum();
        let mut folder = Folder { path: path.to_owned(), budget_bytes, clips, bytes };
        folder.make_room(0)?;
        Ok(folder)
    }

    /// Writes a clip, and lets the oldest go where there is no room. It is there whole or not at all.
    ///
    /// # Errors
    /// `Storage` when it cannot be written, `Limit` when it is larger than the budget.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let (path, len) = (self.path.join(name), bytes.len() as u64);
        if len > self.budget_bytes {
            return Err(Error::new(ErrorKind::Limit, "a clip is larger than all clips may be")
                .at(path.display())
                .expected(format!("at most {} bytes", self.budget_bytes))
                .found(len)
                .cure("raise clips.max_mib, or lower clips.max_s"));
        }
        self.make_room(len)?;
        let part = self.path.join(format!("{name}{PART}"));
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&part, &path)
        };
        if let Err(e) = write() {
            // A part that cannot be removed either goes at the next start.
            drop(fs::remove_file(&part));
            return Err(Error::io("write a clip", &path, e));
        }
        self.clips.push_back((path.clone(), len));
        self.bytes += len;
        Ok(path)
    }

    fn make_room(&mut self, len: u64) -> Result<()> {
        while self.bytes + len > self.budget_bytes {
            let Some((oldest, its)) = self.clips.front() else { return Ok(()) };
            match fs::remove_file(oldest) {
                // A person may have taken it.
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove the oldest clip", oldest, e)),
                _ => self.bytes -= its,
            }
            self.clips.pop_front();
        }
        Ok(())
    }
}

/// Name of a clip that began at `begin`: sorts by time, and is allowed on every file system.
pub(super) fn name(about: &About, begin: &Moment, is_encrypted: bool) -> String {
    let at = utc(begin).replace(':', "-");
    let at = if at.is_empty() { format!("boot-{:013}", begin.monotonic_ns / 1_000_000) } else { at };
    let mut class = String::new();
    for c in about.class.as_deref().unwrap_or("unsure").chars() {
        if class.len() + c.len_utf8() > CLASS_LEN_MAX {
            break;
        }
        class.push(if c.is_alphanumeric() || c == '-' { c } else { '_' });
    }
    format!("{at}_{}_{class}{MARK}{}", about.number, if is_encrypted { ENCRYPTED } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_clips_make_room_and_no_other_file_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clips");
        let mut folder = Folder::open(&path, 100).unwrap();
        fs::write(path.join("notes.wav"), [0; 500]).unwrap();
        for n in 1..=4 {
            folder.put(&format!("{n}{MARK}"), &[n; 40]).unwrap();
        }
        assert_eq!(names(&path), ["3.clip.wav", "4.clip.wav", "notes.wav"]);
        // One that a person took is not missed.
        fs::remove_file(path.join("3.clip.wav")).unwrap();
        folder.put(&format!("5{MARK}{ENCRYPTED}"), &[5; 90]).unwrap();
        assert_eq!(names(&path), ["5.clip.wav.age", "notes.wav"]);
        assert_eq!(fs::read(path.join("5.clip.wav.age")).unwrap(), [5; 90]);
        assert_eq!(folder.put("6.clip.wav", &[6; 101]).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(names(&path), ["5.clip.wav.age", "notes.wav"]);
    }

    #[test]
    fn a_start_counts_what_is_there_and_removes_what_a_kill_has_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1.clip.wav"), [0; 60]).unwrap();
        fs::write(dir.path().join("2.clip.wav.part"), [0; 60]).unwrap();
        let mut folder = Folder::open(dir.path(), 100).unwrap();
        assert_eq!(names(dir.path()), ["1.clip.wav"]);
        folder.put("3.clip.wav", &[0; 60]).unwrap();
        assert_eq!(names(dir.path()), ["3.clip.wav"]);
        drop(Folder::open(dir.path(), 10).unwrap());
        assert_eq!(names(dir.path()), [""; 0], "a smaller budget holds from the start");
    }

    #[test]
    fn a_name_sorts_by_time_and_is_allowed_everywhere() {
        let about = |class: Option<&str>| About {
            number: 12,
            source: String::new(),
            class: class.map(str::to_owned),
            probability: 1.0,
            begin: Moment::UNKNOWN,
        };
        let at = Moment { wall_ms: Some(1_795_751_374_120), monotonic_ns: 61_500_000_000, ..Moment::UNKNOWN };
        assert_eq!(name(&about(Some("../wren: a/b")), &at, false), "2026-11-27T03-49-34.120Z_12____wren__a_b.clip.wav");
        assert_eq!(name(&about(None), &Moment { wall_ms: None, ..at }, true), "boot-0000000061500_12_unsure.clip.wav.age");
        assert!(name(&about(Some(&"みそさざい".repeat(30))), &at, true).len() < 200);
    }
}
