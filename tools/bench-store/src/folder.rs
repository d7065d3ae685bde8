//! Folders of files: how long they are, copies of them, and the one that a run works in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = ".bench-store-";

/// A new folder in `parent` that is deleted in the end; those that killed runs left there are deleted now.
pub fn work_in(parent: &Path) -> Result<TempDir> {
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    for old in files(parent)? {
        let process = old.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            fs::remove_dir_all(&old).with_context(|| format!("cannot delete {}", old.display()))?;
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).with_context(|| format!("cannot write in {}", parent.display()))
}

/// Length of all files in `folder`.
pub fn len_bytes(folder: &Path) -> Result<u64> {
    files(folder)?.into_iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}

/// Makes `to`, anew, with the files of `from` as they are now.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for file in files(from)? {
        let name = file.file_name().context("a file without a name")?;
        fs::copy(&file, to.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_runs_left_is_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let running = work_in(parent.path()).unwrap();
        // Process numbers end far below this one.
        for name in [".bench-store-4000000000-abc", "bench-store", ".bench-store-mine"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let second = work_in(parent.path()).unwrap();
        let left: Vec<PathBuf> = files(parent.path()).unwrap();
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(running.path().exists() && second.path().exists());
        assert!(!parent.path().join(".bench-store-4000000000-abc").exists());
    }

    #[test]
    fn a_copy_is_as_long_and_replaces_an_earlier_one() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        for (folder, len) in [(&to, 7), (&from, 5)] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(len.to_string()), vec![1; len]).unwrap();
        }
        copy(&from, &to).unwrap();
        assert_eq!((len_bytes(&from).unwrap(), len_bytes(&to).unwrap()), (5, 5));
    }
}
