//! The adapter's folder: creating it whole or not at all, opening it, and the lock of the one writer.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::adapter::{Access, Adapter, STATE};
use super::header::{Creation, Header};
use super::storage::{FileStorage, Storage};
use crate::{Error, ErrorKind, Result};

const HEADER: &str = "header";
pub(super) const CHUNKS: &str = "chunks";
const LOCK: &str = "lock";
/// A reader beside a writer tries this often, 1, 2, 4... milliseconds apart, before it calls a state corrupt.
const READ_ATTEMPTS: u32 = 7;

impl Adapter {
    /// Creates an adapter in `folder`, which must not exist or be empty, and opens it for writing.
    ///
    /// The files are made beside it and renamed, so a failure leaves nothing behind.
    ///
    /// # Errors
    /// `Storage` when there is no room or the place cannot be written, `Config` when a bound is out of range, `Input`
    /// when something is there already.
    pub fn create(folder: &Path, creation: Creation, adapter_id: [u8; 16]) -> Result<Adapter> {
        let header = Header::new(creation, adapter_id)?;
        let occupied = std::fs::read_dir(folder).map(|mut d| d.next().is_some()).unwrap_or(folder.exists());
        if occupied {
            return Err(Error::new(ErrorKind::Input, "there is something in the adapter's place already")
                .at(folder.display())
                .cure("choose another folder, or remove this one"));
        }
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        let name = folder.file_name().and_then(|n| n.to_str()).unwrap_or("adapter");
        let building = parent.join(format!(".{name}.{}.new", adapter_id.map(|b| format!("{b:02x}")).concat()));
        let made = Adapter::build(&building, &header).and_then(|()| {
            let _ = std::fs::remove_dir(folder);
            std::fs::rename(&building, folder).map_err(|e| Error::io("create", folder, e))?;
            let handle = File::open(parent).map_err(|e| Error::io("open", parent, e))?;
            handle.sync_all().map_err(|e| Error::io("sync", parent, e))
        });
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&building);
        }
        made?;
        Adapter::open(folder, Access::Write)
    }

    fn build(folder: &Path, header: &Header) -> Result<()> {
        std::fs::create_dir(folder).map_err(|e| Error::io("create", folder, e))?;
        let encoded = header.encode()?;
        let files =
            [(HEADER, encoded.len() as u64), (CHUNKS, header.chunk_file_len_bytes()), (STATE, header.state_file_len_bytes()), (LOCK, 0)];
        for (name, len_bytes) in files.into_iter().filter(|(_, len)| *len > 0) {
            let file = FileStorage::create(&folder.join(name), len_bytes)?;
            if name == HEADER {
                file.write_at(0, &encoded)?;
            }
            file.sync()?;
        }
        File::create(folder.join(LOCK)).map_err(|e| Error::io("create", folder.join(LOCK), e))?;
        let handle = File::open(folder).map_err(|e| Error::io("open", folder, e))?;
        handle.sync_all().map_err(|e| Error::io("sync", folder, e))
    }

    /// Opens the adapter in `folder` and recovers its newest state.
    ///
    /// # Errors
    /// `Missing` when there is none, `Busy` when another process writes it, `Corrupt` when no state is whole, `Mismatch`
    /// when a newer version wrote it, `Storage` when it cannot be read.
    pub fn open(folder: &Path, access: Access) -> Result<Adapter> {
        let path = folder.join(HEADER);
        let bytes = std::fs::read(&path).map_err(|e| {
            let error = Error::io("open the adapter", &path, e);
            match (error.kind(), folder.is_dir()) {
                (ErrorKind::Missing, false) => error.cure("make one: wheatear teach FOLDER --backbone B --adapter A"),
                (ErrorKind::Missing, true) => error.cure("this folder is no adapter: name another one"),
                _ => error,
            }
        })?;
        let header = Header::decode(&bytes).map_err(|e| e.at(path.display()))?;
        if access == Access::Write {
            let lock = take_lock(&folder.join(LOCK))?;
            return Adapter::open_files(folder, &header, access, Some(lock));
        }
        for attempt in 0..READ_ATTEMPTS {
            match Adapter::open_files(folder, &header, access, None) {
                // Perhaps the writer replaced what was being read.
                Err(e) if e.kind() == ErrorKind::Corrupt => std::thread::sleep(Duration::from_millis(1 << attempt)),
                opened => return opened,
            }
        }
        Adapter::open_files(folder, &header, access, None)
    }

    fn open_files(folder: &Path, header: &Header, access: Access, lock: Option<File>) -> Result<Adapter> {
        let write = access == Access::Write;
        let chunks = Box::new(FileStorage::open(&folder.join(CHUNKS), write)?);
        let state = Box::new(FileStorage::open(&folder.join(STATE), write)?);
        Adapter::recover(folder.to_path_buf(), header.clone(), access, lock, chunks, state)
    }
}

fn take_lock(path: &Path) -> Result<File> {
    let file = File::options().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(ErrorKind::Busy, "another process is writing this adapter")
            .at(path.display())
            .cure("wait for it or stop it; reading commands work meanwhile")),
        Err(e) => Err(Error::io("lock", path, e.into())),
    }
}
