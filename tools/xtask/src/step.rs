//! Steps of the set-up: each makes one thing, and is skipped while that thing is there and made from the same pins.
//!
//! A step's stamp records the digest of everything it was made from, and the size of each file it made. A missing or
//! shortened output, another pin or another recipe runs the step again.

use crate::assets::sha256;
use crate::process::share_lock;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// What a finished step left.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    key: String,
    outputs: Vec<(PathBuf, u64)>,
}

/// Runs steps one after another and shows how far they are.
pub struct Steps {
    assets: PathBuf,
    stamps: PathBuf,
    done: usize,
    total: usize,
}

impl Steps {
    /// `total` steps on the assets in `assets`.
    pub fn new(assets: &Path, total: usize) -> Steps {
        Steps { assets: assets.to_path_buf(), stamps: assets.join(".stamps"), done: 0, total }
    }

    /// Runs `make` unless the step's stamp holds for `inputs`; `make` returns the files or folders it made and a remark.
    pub fn run(&mut self, name: &str, inputs: &[&[u8]], make: impl FnOnce(&Progress) -> Result<(Vec<PathBuf>, String)>) -> Result<()> {
        self.done += 1;
        let key = sha256(inputs.iter().map(|i| sha256(i)).collect::<Vec<_>>().join("\n").as_bytes());
        let file = self.stamps.join(format!("{}.json", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
        if self.holds(&file, &key) {
            return Ok(());
        }
        let (progress, (made, remark)) = self.show(name, make)?;
        let mut outputs = Vec::new();
        for path in &made {
            list_files(path, &mut |file, len| outputs.push((relative(&self.assets, file), len)))?;
        }
        outputs.sort();
        write_atomically(&file, &serde_json::to_vec_pretty(&Stamp { key, outputs })?)?;
        progress.finished(&remark);
        Ok(())
    }

    /// Runs `mend`, which returns a remark, where `is_needed`. No stamp is kept: for what lies outside the assets, and may be
    /// gone though they are still there.
    pub fn mend(&mut self, name: &str, is_needed: bool, mend: impl FnOnce(&Progress) -> Result<String>) -> Result<()> {
        self.done += 1;
        if is_needed {
            let (progress, remark) = self.show(name, mend)?;
            progress.finished(&remark);
        }
        Ok(())
    }

    fn show<T>(&self, name: &str, make: impl FnOnce(&Progress) -> Result<T>) -> Result<(Progress, T)> {
        let progress = Progress::start(format!("[{}/{}] {name}", self.done, self.total));
        match make(&progress) {
            Ok(made) => Ok((progress, made)),
            Err(e) => {
                progress.failed();
                Err(e.context(format!("set-up step {} of {}: {name}", self.done, self.total)))
            }
        }
    }

    fn holds(&self, file: &Path, key: &str) -> bool {
        let Some(stamp) = fs::read(file).ok().and_then(|b| serde_json::from_slice::<Stamp>(&b).ok()) else { return false };
        stamp.key == key && stamp.outputs.iter().all(|(path, len)| self.assets.join(path).metadata().is_ok_and(|m| m.len() == *len))
    }
}

fn relative(assets: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(assets).unwrap_or(file).to_path_buf()
}

/// Lets no other run work in `folder` until this process and the programs it runs have ended; waits for one that does.
pub fn lock(folder: &Path) -> Result<()> {
    let file = File::options().read(true).append(true).create(true).open(folder.join(".lock"));
    let file = file.with_context(|| format!("cannot write in {}", folder.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another set-up is running: waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    }
    share_lock(file);
    Ok(())
}

/// Calls `each` with every regular file at or under `path`; links are not followed.
pub fn list_files(path: &Path, each: &mut dyn FnMut(&Path, u64)) -> Result<()> {
    let meta = path.symlink_metadata().with_context(|| format!("{} was not made", path.display()))?;
    if meta.is_file() {
        each(path, meta.len());
    } else if meta.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            list_files(&entry?.path(), each)?;
        }
    }
    Ok(())
}

/// Writes `bytes` under a temporary name, then renames: a reader finds all of them or the old file.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file needs a folder")?;
    fs::create_dir_all(folder)?;
    let part = file.with_extension("part");
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, file)).with_context(|| format!("cannot write {}", file.display()))
}

/// Lets `make` fill an empty folder beside `folder`, then puts it in `folder`'s place.
pub fn make_folder<T>(folder: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let part = folder.with_extension("part");
    let clear = |path: &Path| match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).with_context(|| format!("cannot remove {}", path.display())),
        _ => Ok(()),
    };
    clear(&part)?;
    fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    let made = make(&part)?;
    clear(folder)?;
    fs::rename(&part, folder).with_context(|| format!("cannot move {} into place", part.display()))?;
    Ok(made)
}

/// One step on screen: a bar on a terminal, a line at its start and its end elsewhere.
pub struct Progress {
    bar: ProgressBar,
    name: String,
    plain: bool,
    started: Instant,
}

impl Progress {
    fn start(name: String) -> Progress {
        let plain = !io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        if plain {
            eprintln!("{name} ...");
        }
        Progress { bar, name, plain, started: Instant::now() }
    }

    /// From here on the step counts bytes (of a download) or things (files made) up to `total`.
    pub fn count(&self, total: u64, bytes: bool, what: &str) {
        let unit = if bytes { "{bytes}/{total_bytes}" } else { "{pos}/{len}" };
        if let Ok(style) = ProgressStyle::with_template(&format!("{{prefix}} [{{bar:24}}] {unit} {{msg}}")) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_length(total);
        self.bar.set_position(0);
        self.bar.set_message(what.to_string());
    }

    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub fn note(&self, what: &str) {
        self.bar.set_message(what.to_string());
        if self.plain {
            eprintln!("  {what}");
        }
    }

    fn finished(&self, remark: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {remark} ({:.1} s)", self.name, self.started.elapsed().as_secs_f64());
    }

    fn failed(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn run(assets: &Path, key: &[u8], runs: &Cell<u32>) {
        let out = assets.join("thing");
        let make = |_: &Progress| {
            runs.set(runs.get() + 1);
            fs::write(&out, b"made")?;
            Ok((vec![out.clone()], "made".into()))
        };
        Steps::new(assets, 1).run("a thing", &[key], make).unwrap();
    }

    #[test]
    fn a_step_runs_again_only_for_other_inputs_or_damaged_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Cell::new(0);
        run(dir.path(), b"pin 1", &runs);
        run(dir.path(), b"pin 1", &runs);
        assert_eq!(runs.get(), 1);
        run(dir.path(), b"pin 2", &runs);
        assert_eq!(runs.get(), 2, "another pin");
        fs::write(dir.path().join("thing"), b"ma").unwrap();
        run(dir.path(), b"pin 2", &runs);
        assert_eq!(runs.get(), 3, "a shortened output");
        fs::remove_file(dir.path().join("thing")).unwrap();
        run(dir.path(), b"pin 2", &runs);
        assert_eq!(runs.get(), 4, "a missing output");
    }

    #[test]
    fn what_lies_outside_the_assets_is_mended_whenever_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Cell::new(0);
        let mut steps = Steps::new(dir.path(), 3);
        for is_needed in [true, false, true] {
            let mend = |_: &Progress| {
                runs.set(runs.get() + 1);
                Ok("mended".into())
            };
            steps.mend("a thing", is_needed, mend).unwrap();
        }
        assert_eq!((runs.get(), steps.done), (2, 3));
    }

    #[test]
    fn a_failed_step_leaves_no_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let failed = Steps::new(dir.path(), 1).run("a thing", &[b"pin"], |_| anyhow::bail!("no space"));
        assert_eq!(format!("{:#}", failed.unwrap_err()), "set-up step 1 of 1: a thing: no space");
        let runs = Cell::new(0);
        run(dir.path(), b"pin", &runs);
        assert_eq!(runs.get(), 1);
    }

    #[test]
    fn a_folder_half_made_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sounds");
        make_folder(&folder, |f| Ok(fs::write(f.join("a"), b"1")?)).unwrap();
        let failed: Result<()> = make_folder(&folder, |f| {
            fs::write(f.join("b"), b"2")?;
            anyhow::bail!("stopped")
        });
        failed.unwrap_err();
        assert!(folder.join("a").exists() && !folder.join("b").exists());
        make_folder(&folder, |f| Ok(fs::write(f.join("c"), b"3")?)).unwrap();
        assert!(folder.join("c").exists() && !folder.join("a").exists(), "the folder is replaced as a whole");
    }
}
