//! Files and their folder as the store sees them: few operations, so that every fault can be injected and every order of
//! writes tested. Everything that the store does to a disk goes through these two traits.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::{Error, ErrorKind, Result};

/// One preallocated file.
///
/// Durability contract: what was written before [`Storage::sync`] returned `Ok` is read back after a power cut. Writes
/// that were not synced may be present, absent or torn at any byte, in any order. After a failed sync nothing is known
/// about any write since the last good one, so the store writes no more until it is reopened.
pub trait Storage: Send + Sync {
    /// Fills `buf` from `offset`; past the end of a file that was cut short stand zeros.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Writes all of `buf` at `offset`; never past the length given at creation.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()>;
    /// Returns when all writes are durable.
    fn sync(&self) -> Result<()>;
    /// Length in bytes, fixed at creation.
    fn len_bytes(&self) -> u64;
    /// How much of it was there when it was opened: less than its length when something else cut it short.
    fn found_bytes(&self) -> u64 {
        self.len_bytes()
    }
    /// The file itself when it can be mapped read-only.
    fn mappable(&self) -> Option<&File>;
}

/// The folder of one adapter.
///
/// Durability contract: files made, renamed and removed before [`Folder::sync`] returned `Ok` are found so after a power
/// cut; each later one may have happened or not. A rename replaces its target or leaves it, never anything between.
pub trait Folder: Send + Sync {
    /// Names of the files in it.
    fn names(&self) -> Result<Vec<String>>;
    /// Makes the file `name` of `len_bytes` zeros, whose space is taken now; an error when it is there.
    fn create(&self, name: &str, len_bytes: u64) -> Result<Box<dyn Storage>>;
    /// Opens `name`, which was made with `len_bytes`: a longer one is an error; one that was cut short reads as zeros behind
    /// its end, and is made as long as it was when it is opened for writing.
    fn open(&self, name: &str, len_bytes: u64, write: bool) -> Result<Box<dyn Storage>>;
    /// All bytes of a file, of which no more than a mebibyte is taken.
    fn read(&self, name: &str) -> Result<Vec<u8>>;
    /// Length of a file as it is now. As it stands here it is right where [`Folder::read`] takes all.
    fn len_bytes(&self, name: &str) -> Result<u64> {
        Ok(self.read(name)?.len() as u64)
    }
    /// Puts `from` in the place of `to`.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<()>;
    /// Returns when all that was made, renamed and removed is durable.
    fn sync(&self) -> Result<()>;
    /// Takes the writer's lock on the file `name`, held as long as what is returned lives.
    fn lock(&self, name: &str) -> Result<Option<File>>;
    /// Lets `time` pass, so that a writer beside a reader may finish what it is writing.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
    /// Where it is, for a person.
    fn path(&self) -> &Path;
}

/// Longest file that [`Folder::read`] takes.
const READ_MAX_BYTES: u64 = 1 << 20;

/// A file on disk.
#[derive(Debug)]
struct FileStorage {
    file: File,
    path: PathBuf,
    len_bytes: u64,
    found_bytes: u64,
}

/// A folder on disk.
#[derive(Debug)]
pub struct DiskFolder(PathBuf);

impl DiskFolder {
    /// The folder at `path`; nothing is looked at yet.
    pub fn new(path: &Path) -> DiskFolder {
        DiskFolder(path.to_path_buf())
    }

    /// Makes the folder, if it is not there, so that it stays after a power cut.
    ///
    /// # Errors
    /// `Storage` or `Input` when it cannot be made.
    pub fn make(&self) -> Result<()> {
        if self.0.is_dir() {
            return Ok(());
        }
        let parent = self.0.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        std::fs::create_dir(&self.0).map_err(|e| Error::io("create", &self.0, e))?;
        sync_folder(parent)
    }
}

fn sync_folder(path: &Path) -> Result<()> {
    let handle = File::open(path).map_err(|e| Error::io("open", path, e))?;
    handle.sync_all().map_err(|e| Error::io("sync", path, e))
}

impl Folder for DiskFolder {
    fn names(&self) -> Result<Vec<String>> {
        let list = std::fs::read_dir(&self.0).map_err(|e| Error::io("read the folder", &self.0, e))?;
        list.map(|entry| Ok(entry.map_err(|e| Error::io("read the folder", &self.0, e))?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, name: &str, len_bytes: u64) -> Result<Box<dyn Storage>> {
        let path = self.0.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(|e| Error::io("create", &path, e))?;
        preallocate(&file, &path, 0, len_bytes)?;
        Ok(Box::new(FileStorage { file, path, len_bytes, found_bytes: len_bytes }))
    }

    fn open(&self, name: &str, len_bytes: u64, write: bool) -> Result<Box<dyn Storage>> {
        let path = self.0.join(name);
        let file = OpenOptions::new().read(true).write(write).open(&path).map_err(|e| Error::io("open", &path, e))?;
        let found = file.metadata().map_err(|e| Error::io("read the length of", &path, e))?.len();
        if found > len_bytes {
            return Err(Error::new(ErrorKind::Corrupt, "a file of the adapter is longer than it was made")
                .at(path.display())
                .expected(format!("{len_bytes} bytes"))
                .found(format!("{found} bytes"))
                .cure("restore it from a copy"));
        }
        if found < len_bytes && write {
            preallocate(&file, &path, found, len_bytes)?;
            file.sync_all().map_err(|e| Error::io("sync", &path, e))?;
        }
        Ok(Box::new(FileStorage { file, path, len_bytes, found_bytes: found }))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.0.join(name);
        let file = File::open(&path).map_err(|e| Error::io("open the adapter", &path, e))?;
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(file, READ_MAX_BYTES);
        std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(|e| Error::io("read", &path, e))?;
        Ok(bytes)
    }

    fn len_bytes(&self, name: &str) -> Result<u64> {
        let path = self.0.join(name);
        Ok(std::fs::metadata(&path).map_err(|e| Error::io("read the length of", &path, e))?.len())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to)).map_err(|e| Error::io("replace", self.0.join(to), e))
    }

    fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.0.join(name)).map_err(|e| Error::io("remove", self.0.join(name), e))
    }

    fn sync(&self) -> Result<()> {
        sync_folder(&self.0)
    }

    fn lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.0.join(name);
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|e| Error::io("open", &path, e))?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(ErrorKind::Busy, "another process is writing this adapter")
                .at(path.display())
                .cure("wait for it or stop it; reading commands work meanwhile")),
            Err(e) => Err(Error::io("lock", &path, e.into())),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

fn preallocate(file: &File, path: &Path, from: u64, len_bytes: u64) -> Result<()> {
    if len_bytes == from {
        return Ok(());
    }
    match rustix::fs::fallocate(file.as_fd(), rustix::fs::FallocateFlags::empty(), from, len_bytes - from) {
        Ok(()) => Ok(()),
        // Some file systems cannot preallocate (NFS, FAT): write the zeros, so that the space is taken now and not in mid-commit.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0u8; 1 << 20];
            let mut offset = from;
            while offset < len_bytes {
                let n = zeros.len().min((len_bytes - offset) as usize);
                file.write_all_at(&zeros[..n], offset).map_err(|e| Error::io("preallocate", path, e))?;
                offset += n as u64;
            }
            Ok(())
        }
        Err(e) => Err(Error::io("preallocate", path, e.into()).expected(format!("{len_bytes} bytes of free space"))),
    }
}

impl Storage for FileStorage {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => {
                    buf[done..].fill(0);
                    return Ok(());
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", &self.path, e)),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len_bytes) {
            return Err(Error::new(ErrorKind::Limit, "a write past the end of a preallocated file").at(self.path.display()).found(offset));
        }
        self.file.write_all_at(buf, offset).map_err(|e| Error::io("write", &self.path, e))
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::fdatasync(self.file.as_fd()).map_err(|e| Error::io("sync", &self.path, e.into()))
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn found_bytes(&self) -> u64 {
        self.found_bytes
    }

    fn mappable(&self) -> Option<&File> {
        Some(&self.file)
    }
}
