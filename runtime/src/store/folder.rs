//! The adapter's folder: creating it whole or not at all, opening it, and rewriting it into a new set of files, which the
//! header takes over in one step.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::adapter::{Access, Adapter, Recovery};
use super::header::{Creation, Header, STORE_FORMAT};
use super::storage::{DiskFolder, Folder};
use crate::{Error, ErrorKind, Result};

/// File that says which adapter it is; written anew for another one.
pub const HEADER: &str = "header";
pub(super) const HEADER_NEW: &str = "header.new";
pub(super) const CHUNKS: &str = "chunks";
pub(super) const STATE: &str = "state";
pub(super) const LOCK: &str = "lock";
/// A reader beside a writer tries this often, 1, 2, 4... milliseconds apart, before it calls a state corrupt.
const READ_ATTEMPTS: u32 = 7;
/// And so many times again before it says that a record is torn.
const TORN_ATTEMPTS: u32 = 4;

impl Adapter {
    /// Creates an adapter in `folder`, which must not exist or be empty, and opens it for writing.
    ///
    /// It is an adapter once its header is there, which comes last; a failure leaves nothing behind.
    ///
    /// # Errors
    /// `Storage` when there is no room or the place cannot be written, `Config` when a bound is out of range, `Input`
    /// when something is there already, `Busy` when another process is just making it.
    pub fn create(folder: &Path, creation: Creation, adapter_id: [u8; 16]) -> Result<Adapter> {
        let header = Header::new(creation, adapter_id)?;
        Adapter::make_folder(folder, |disk| Adapter::create_in(disk, header))
    }

    /// As [`Adapter::create`], in any folder.
    ///
    /// # Errors
    /// As [`Adapter::create`].
    pub fn create_in(folder: Arc<dyn Folder>, header: Header) -> Result<Adapter> {
        Adapter::build_in(folder, header, |folder, header| {
            let files = [(header.chunk_file(), header.chunk_file_len_bytes()), (header.state_file(), header.state_file_len_bytes())];
            files.iter().try_for_each(|(name, len_bytes)| folder.create(name, *len_bytes)?.sync())
        })
    }

    /// Makes the folder, and lets it be as it was when `make` fails.
    pub(super) fn make_folder(path: &Path, make: impl FnOnce(Arc<dyn Folder>) -> Result<Adapter>) -> Result<Adapter> {
        if path.exists() && !path.is_dir() {
            return Err(occupied(path));
        }
        let was_there = path.is_dir();
        let disk = DiskFolder::new(path);
        disk.make()?;
        let made = make(Arc::new(disk));
        if made.is_err() && !was_there {
            // Fails when another process has made something there meanwhile, which then stays.
            let _ = std::fs::remove_dir(path);
        }
        made
    }

    /// Makes the files of a new adapter by `build`, then its header, and opens it.
    pub(super) fn build_in(
        folder: Arc<dyn Folder>,
        header: Header,
        build: impl FnOnce(&Arc<dyn Folder>, &Header) -> Result<()>,
    ) -> Result<Adapter> {
        let check_free = || match folder.names()?.iter().any(|n| n == HEADER || !is_own(n)) {
            true => Err(occupied(folder.path())),
            false => Ok(()),
        };
        check_free()?;
        let lock = folder.lock(LOCK)?;
        // Another process may have made one before it let the lock go.
        check_free()?;
        let built =
            remove_all(&*folder, |name| name != LOCK).and_then(|()| build(&folder, &header)).and_then(|()| write_header(&*folder, &header));
        if let Err(e) = built {
            // What was begun goes again; that it could not be made is what matters to tell.
            let _ = remove_all(&*folder, |_| true);
            return Err(e);
        }
        Adapter::recover(folder, header, Access::Write, lock)
    }

    /// Opens the adapter in `folder` and recovers its newest state. One of an older format is rewritten when it is opened
    /// for writing.
    ///
    /// # Errors
    /// `Missing` when there is none, `Busy` when another process writes it, `Corrupt` when no state is whole, `Mismatch`
    /// when a newer version wrote it, `Storage` when it cannot be read.
    pub fn open(folder: &Path, access: Access) -> Result<Adapter> {
        Adapter::open_in(Arc::new(DiskFolder::new(folder)), access).map_err(|e| not_there(e, folder))
    }

    /// As [`Adapter::open`], from any folder.
    ///
    /// # Errors
    /// As [`Adapter::open`].
    pub fn open_in(folder: Arc<dyn Folder>, access: Access) -> Result<Adapter> {
        // With whether both of its copies are as they were written.
        let read_header = || {
            let bytes = folder.read(HEADER)?;
            let header = Header::decode(&bytes).map_err(|e| e.at(folder.path().join(HEADER).display()))?;
            header.encode().map(|whole| (header, whole == bytes))
        };
        if access == Access::Read {
            let (adapter, whole) = Adapter::read_beside_a_writer(&folder, read_header)?;
            adapter.warn(whole);
            return Ok(adapter);
        }
        // The header first: a folder that is no adapter gets no lock file. One without a header may just be made.
        if !folder.names().is_ok_and(|names| names.iter().any(|n| n == LOCK)) {
            read_header()?;
        }
        let lock = folder.lock(LOCK)?;
        let (header, whole) = read_header()?;
        // A writer that was killed may have left names that are not durable, and all that follows rests on them.
        folder.sync()?;
        let (current, format) = ([header.chunk_file(), header.state_file()], header.format);
        let mut adapter = Adapter::recover(Arc::clone(&folder), header, access, lock)?;
        adapter.warn(whole);
        // Left behind by a rewriting that was cut off.
        remove_all(&*folder, |name| name != HEADER && name != LOCK && !current.iter().any(|c| c == name))?;
        if format < STORE_FORMAT {
            log::warn!("{}: written by an older version, is rewritten in format {STORE_FORMAT}", folder.path().display());
            adapter.migrate()?;
        }
        Ok(adapter)
    }

    /// Recovers for a reader, which a writer may disturb: then again.
    fn read_beside_a_writer(folder: &Arc<dyn Folder>, read_header: impl Fn() -> Result<(Header, bool)>) -> Result<(Adapter, bool)> {
        let recover = |(header, whole)| Adapter::recover(Arc::clone(folder), header, Access::Read, None).map(|adapter| (adapter, whole));
        let mut torn_at = None;
        for n in 0..READ_ATTEMPTS {
            match recover(read_header()?) {
                // Perhaps the writer replaced what was being read.
                Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Missing) => {}
                Ok((mut adapter, whole)) if adapter.recovery != Recovery::Clean => {
                    // A record that is being written looks torn. Where the journal goes on, somebody is writing it.
                    if torn_at.is_some_and(|generation| adapter.generation() > generation) {
                        adapter.recovery = Recovery::Clean;
                    }
                    if adapter.recovery == Recovery::Clean || n == TORN_ATTEMPTS {
                        return Ok((adapter, whole));
                    }
                    torn_at = Some(adapter.generation());
                }
                opened => return opened,
            }
            folder.pause(Duration::from_millis(1 << n));
        }
        recover(read_header()?)
    }

    /// Tells of damage with which it opens all the same; of the header whether both copies are `whole`.
    fn warn(&self, whole: bool) {
        let here = self.folder.path();
        if !whole {
            log::warn!("{}: one of the two copies of the header is damaged: wheatear compact writes both anew", here.display());
        }
        for (file, name) in [(&self.chunks.storage, self.header.chunk_file()), (&self.state.storage, self.header.state_file())] {
            let (found, whole, place) = (file.found_bytes(), file.len_bytes(), here.join(name));
            if found < whole {
                log::warn!("{}: cut short: {found} of {whole} bytes, what is missing is taken for zeros", place.display());
            }
        }
        if self.damaged_chunks > 0 {
            log::warn!(
                "{}: {} chunks are damaged: their rows left replay, the statistics still count them; wheatear verify says where, \
                 wheatear repair salvages what can be",
                here.display(),
                self.damaged_chunks
            );
        }
    }
}

/// What to do when the adapter in `folder` is missing.
pub(super) fn not_there(e: Error, folder: &Path) -> Error {
    match (e.kind(), folder.is_dir()) {
        (ErrorKind::Missing, false) => e.cure("make one: wheatear teach FOLDER --backbone B --adapter A"),
        (ErrorKind::Missing, true) if !folder.join(HEADER).exists() => {
            let own = |entry: std::fs::DirEntry| entry.file_name().to_str().is_some_and(|n| n != LOCK && is_own(n));
            match std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(own))) {
                true => e.cure("its header is gone: restore it from a copy, or salvage the rows: wheatear repair --like ADAPTER"),
                false => e.cure("this folder is no adapter: name another one"),
            }
        }
        (ErrorKind::Missing, true) => e.cure("restore the adapter from a copy, or salvage its rows: wheatear repair"),
        _ => e,
    }
}

fn occupied(path: &Path) -> Error {
    Error::new(ErrorKind::Input, "there is something in the adapter's place already")
        .at(path.display())
        .cure("choose another folder, or remove this one")
}

/// True for the files that the store makes.
fn is_own(name: &str) -> bool {
    let numbered = |file: &str| name.strip_prefix(file).and_then(|n| n.strip_prefix('.')).is_some_and(|n| n.parse::<u32>().is_ok());
    [HEADER, HEADER_NEW, CHUNKS, STATE, LOCK].contains(&name) || numbered(CHUNKS) || numbered(STATE)
}

/// Removes those of the store's files that `unwanted` names.
pub(super) fn remove_all(folder: &dyn Folder, unwanted: impl Fn(&str) -> bool) -> Result<()> {
    let names: Vec<String> = folder.names()?.into_iter().filter(|n| is_own(n) && unwanted(n)).collect();
    names.iter().try_for_each(|name| folder.remove(name))?;
    if names.is_empty() { Ok(()) } else { folder.sync() }
}

/// Puts `header` in the place of the one before: from then on the files it names are the adapter.
pub(super) fn write_header(folder: &dyn Folder, header: &Header) -> Result<()> {
    let bytes = header.encode()?;
    let file = folder.create(HEADER_NEW, bytes.len() as u64)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    drop(file);
    folder.sync()?;
    folder.rename(HEADER_NEW, HEADER)?;
    folder.sync()
}
