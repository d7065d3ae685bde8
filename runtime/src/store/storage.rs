//! Files as the store sees them: five operations, so that every fault can be injected and every order of writes tested.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// One preallocated file.
///
/// Durability contract: what was written before [`Storage::sync`] returned `Ok` is read back after a power cut. Writes
/// that were not synced may be present, absent or torn at any byte, in any order. After a failed sync nothing is known
/// about any write since the last good one, so the store writes no more until it is reopened.
pub trait Storage: Send + Sync {
    /// Fills `buf` from `offset`; a short file is an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Writes all of `buf` at `offset`; never past the length given at creation.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()>;
    /// Returns when all writes are durable.
    fn sync(&self) -> Result<()>;
    /// Length in bytes, fixed at creation.
    fn len_bytes(&self) -> u64;
    /// The file itself when it can be mapped read-only.
    fn mappable(&self) -> Option<&File>;
}

/// A file on disk.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
    len_bytes: u64,
}

impl FileStorage {
    /// Creates `path` with `len_bytes` allocated on the disk, all zeros.
    ///
    /// # Errors
    /// `Storage` when the space is not there or the folder is read-only; `Storage` too when the file exists.
    pub fn create(path: &Path, len_bytes: u64) -> Result<FileStorage> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(|e| Error::io("create", path, e))?;
        match rustix::fs::fallocate(file.as_fd(), rustix::fs::FallocateFlags::empty(), 0, len_bytes) {
            Ok(()) => {}
            // Some file systems cannot preallocate (NFS, FAT): write the zeros, so that the space is taken now and not in mid-commit.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let zeros = vec![0u8; 1 << 20];
                let mut offset = 0;
                while offset < len_bytes {
                    let n = zeros.len().min((len_bytes - offset) as usize);
                    file.write_all_at(&zeros[..n], offset).map_err(|e| Error::io("preallocate", path, e))?;
                    offset += n as u64;
                }
            }
            Err(e) => {
                return Err(Error::io("preallocate", path, e.into()).expected(format!("{len_bytes} bytes of free space")));
            }
        }
        Ok(FileStorage { file, path: path.to_path_buf(), len_bytes })
    }

    /// Opens `path`, for writing too when `write`.
    ///
    /// # Errors
    /// `Missing` or `Storage`, with the path.
    pub fn open(path: &Path, write: bool) -> Result<FileStorage> {
        let file = OpenOptions::new().read(true).write(write).open(path).map_err(|e| Error::io("open", path, e))?;
        let len_bytes = file.metadata().map_err(|e| Error::io("read the length of", path, e))?.len();
        Ok(FileStorage { file, path: path.to_path_buf(), len_bytes })
    }
}

impl Storage for FileStorage {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::new(ErrorKind::Corrupt, "the file is shorter than it was made")
                .at(self.path.display())
                .expected(format!("{} bytes", self.len_bytes))
                .cure("restore it from a copy")
                .because(e),
            _ => Error::io("read", &self.path, e),
        })
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

    fn mappable(&self) -> Option<&File> {
        Some(&self.file)
    }
}
