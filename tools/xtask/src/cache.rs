//! The cache of downloaded packages: a file is there complete and with the pinned digest, or not at all.
//!
//! A download goes to a folder of its own and is renamed into place only after its size and SHA-256 were checked. Whatever
//! an interrupted run leaves behind lies in that folder and is swept away by the next one.

use crate::assets::{Package, sha256_file};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Where downloads are kept.
pub struct Cache {
    folder: PathBuf,
    offline: bool,
}

/// What [`Cache::package`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Cached(PathBuf),
    Fetched(PathBuf),
}

impl Found {
    pub fn path(&self) -> &Path {
        let (Found::Cached(path) | Found::Fetched(path)) = self;
        path
    }
}

impl Cache {
    /// A cache in `folder`; with `offline` nothing is fetched.
    pub fn open(folder: PathBuf, offline: bool) -> Result<Cache> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "part") {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(Cache { folder, offline })
    }

    /// The file of `package`; where it is missing or damaged, `fetch` is given an empty folder to put it in.
    pub fn package(&self, package: &Package, fetch: impl FnOnce(&Path) -> Result<()>) -> Result<Found> {
        let place = self.folder.join(&package.file);
        if place.exists() {
            match check(&place, package) {
                Ok(()) => return Ok(Found::Cached(place)),
                Err(e) => {
                    eprintln!("  {e:#}: fetching it again");
                    fs::remove_file(&place).with_context(|| format!("cannot remove {}", place.display()))?;
                }
            }
        }
        if self.offline {
            bail!("{} {} is not in the cache: run once without --offline, or {}", package.name, package.version, self.drop_hint(package));
        }
        let part = self.folder.join(format!("{}.part", package.file));
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        let fetched = fetch(&part).and_then(|()| {
            let file = largest_file(&part)?.with_context(|| format!("nothing was downloaded for {}", package.name))?;
            check(&file, package)?;
            fs::File::open(&file)?.sync_all()?;
            fs::rename(&file, &place).with_context(|| format!("cannot move the download to {}", place.display()))
        });
        let swept = fs::remove_dir_all(&part);
        fetched
            .with_context(|| format!("{} {} could not be had; you can also {}", package.name, package.version, self.drop_hint(package)))?;
        swept.with_context(|| format!("cannot remove {}", part.display()))?;
        Ok(Found::Fetched(place))
    }

    fn drop_hint(&self, package: &Package) -> String {
        format!("put {} (sha256 {}) into {}", package.file, package.sha256, self.folder.display())
    }
}

fn check(file: &Path, package: &Package) -> Result<()> {
    let size = file.metadata().with_context(|| format!("cannot read {}", file.display()))?.len();
    if size != package.size {
        bail!("{} has {size} bytes where {} are pinned", file.display(), package.size);
    }
    let sha256 = sha256_file(file)?;
    if sha256 != package.sha256 {
        bail!("{} has sha256 {sha256} where {} is pinned", file.display(), package.sha256);
    }
    Ok(())
}

fn largest_file(folder: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::{Kind, sha256};

    fn pin(body: &[u8]) -> Package {
        let (name, version, file) = ("thing".into(), "1".into(), "thing-1.whl".into());
        Package { name, version, kind: Kind::Wheel, arch: None, platform: None, file, size: body.len() as u64, sha256: sha256(body) }
    }

    fn cache(folder: &tempfile::TempDir) -> Cache {
        Cache::open(folder.path().to_path_buf(), false).unwrap()
    }

    fn put(body: &'static [u8]) -> impl FnOnce(&Path) -> Result<()> {
        move |folder| Ok(fs::write(folder.join("as-the-tool-names-it.whl"), body)?)
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_good_download_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("thing-1.whl");
        assert_eq!(cache(&dir).package(&pin(b"body"), put(b"body")).unwrap(), Found::Fetched(place.clone()));
        assert_eq!(cache(&dir).package(&pin(b"body"), |_| bail!("asked again")).unwrap(), Found::Cached(place));
        assert_eq!(names(&dir), ["thing-1.whl"]);
    }

    #[test]
    fn a_truncated_or_altered_file_in_the_cache_is_fetched_again() {
        for bad in [&b"bo"[..], b"BODY", b""] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("thing-1.whl"), bad).unwrap();
            let found = cache(&dir).package(&pin(b"body"), put(b"body")).unwrap();
            assert_eq!(found, Found::Fetched(dir.path().join("thing-1.whl")));
            assert_eq!(fs::read(found.path()).unwrap(), b"body");
        }
    }

    #[test]
    fn a_wrong_short_or_failed_download_leaves_nothing_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = cache(&dir).package(&pin(b"body"), put(b"BODY")).unwrap_err();
        assert!(format!("{wrong:#}").contains("is pinned"), "{wrong:#}");
        let short = cache(&dir).package(&pin(b"body"), put(b"bo")).unwrap_err();
        assert!(format!("{short:#}").contains("has 2 bytes where 4 are pinned"), "{short:#}");
        let none = cache(&dir).package(&pin(b"body"), |_| Ok(())).unwrap_err();
        assert!(format!("{none:#}").contains("nothing was downloaded"), "{none:#}");
        let failed = cache(&dir).package(&pin(b"body"), |folder| {
            fs::write(folder.join("half"), b"bo")?;
            bail!("the network is down")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("the network is down"));
        assert!(names(&dir).is_empty(), "{:?}", names(&dir));
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_never_taken_for_a_download() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("thing-1.whl.part")).unwrap();
        fs::write(dir.path().join("thing-1.whl.part/thing-1.whl"), b"longer than the body").unwrap();
        let found = cache(&dir).package(&pin(b"body"), put(b"body")).unwrap();
        assert_eq!(fs::read(found.path()).unwrap(), b"body");
        assert_eq!(names(&dir), ["thing-1.whl"]);
    }

    #[test]
    fn offline_says_which_file_to_put_where() {
        let dir = tempfile::tempdir().unwrap();
        let offline = Cache::open(dir.path().to_path_buf(), true).unwrap();
        let message = format!("{:#}", offline.package(&pin(b"body"), |_| panic!("fetched while offline")).unwrap_err());
        assert!(message.contains("put thing-1.whl (sha256 ") && message.contains(&dir.path().display().to_string()), "{message}");
    }
}
