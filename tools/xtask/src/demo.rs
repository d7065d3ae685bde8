//! `cargo xtask demo`: from nothing to a report, by the commands a user would type, each shown before it runs.

use crate::assets::Places;
use crate::process::{loud, peak_so_far_kib, typed};
use crate::setup::{self, Goal};
use crate::step::list_files;
use crate::{check, note};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Every note with this index modulo [`HELD_OUT_OF`] is kept unheard until the end.
const HELD_OUT: usize = 3;
const HELD_OUT_OF: usize = 4;

/// Runs the whole demo.
pub fn run(offline: bool) -> Result<()> {
    let started = Instant::now();
    let mut costs = Vec::new();
    note("Set-up: everything comes from pinned packages and is kept under target/assets");
    let places = setup::run(Goal::Demo, offline)?;
    costs.push(("set-up", started.elapsed().as_secs_f64(), peak_so_far_kib()));

    let demo = Demo::new(&places)?;
    let heard = demo.split()?;
    println!("\n$ export ORT_DYLIB_PATH={}", places.show(&check::onnxruntime(&places)?));
    for (what, name, command) in demo.commands() {
        note(what);
        costs.push((name, 0.0, 0));
        let cost = demo.step(command)?;
        if let Some(last) = costs.last_mut() {
            (last.1, last.2) = (cost.elapsed.as_secs_f64(), cost.peak_kib);
        }
    }
    demo.closing(&costs, heard, started)
}

struct Demo<'a> {
    places: &'a Places,
    folder: PathBuf,
}

impl Demo<'_> {
    fn new(places: &Places) -> Result<Demo<'_>> {
        let folder = places.root.join("target/demo");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // The demo teaches from the beginning each time; embeddings of the lab may stay cached.
        for old in ["teach", "unheard", "adapter"] {
            remove(&folder.join(old))?;
        }
        Ok(Demo { places, folder })
    }

    /// Links three notes of four into `teach`, the fourth into `unheard`; returns how many of each.
    fn split(&self) -> Result<(usize, usize)> {
        let mut count = (0, 0);
        for class in sorted(&self.sounds())? {
            let name = class.file_name().unwrap_or_default();
            for (i, note) in sorted(&class)?.iter().enumerate() {
                let unheard = i % HELD_OUT_OF == HELD_OUT;
                let folder = self.folder.join(if unheard { "unheard" } else { "teach" }).join(name);
                fs::create_dir_all(&folder)?;
                let to = folder.join(note.file_name().unwrap_or_default());
                fs::hard_link(note, &to)
                    .or_else(|_| fs::copy(note, &to).map(|_| ()))
                    .with_context(|| format!("cannot write {}", to.display()))?;
                if unheard { count.1 += 1 } else { count.0 += 1 }
            }
        }
        ensure!(count.0 > 0 && count.1 > 0, "no notes in {}", self.sounds().display());
        Ok(count)
    }

    fn sounds(&self) -> PathBuf {
        self.places.assets.join("sounds/instruments")
    }

    fn report(&self) -> PathBuf {
        self.folder.join("report.html")
    }

    /// What each command shows, its short name, and the command.
    fn commands(&self) -> Vec<(&'static str, &'static str, Command)> {
        let wheatear = || Command::new(self.places.root.join("target/release/wheatear"));
        let backbone = self.places.assets.join("models/aisfx");
        let adapter = self.folder.join("adapter");
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "-p", "wheatear-tools"]);
        let mut lab = wheatear();
        lab.args(["lab", "run", "--audio"]).arg(self.sounds()).arg("--backbone").arg(&backbone);
        lab.args(["--head", "naive,ncm,slda,ridge", "--report"]).arg(self.report());
        lab.arg("--figure").arg(self.folder.join("accuracy.svg"));
        let mut teach = wheatear();
        teach.arg("teach").arg(self.folder.join("teach")).arg("--backbone").arg(&backbone).arg("--adapter").arg(&adapter);
        let mut classify = wheatear();
        classify.arg("classify").arg(self.folder.join("unheard")).arg("--adapter").arg(&adapter);
        classify.arg("--backbone").arg(&backbone).args(["--format", "table"]);
        let mut inspect = wheatear();
        inspect.arg("inspect").arg(&adapter);
        vec![
            ("Build the command `wheatear`", "build", build),
            ("20 instruments arrive two at a time, in one pass: who forgets?", "lab", lab),
            ("Teach an adapter: one folder a class, three notes of four", "teach", teach),
            ("Classify the notes it has never heard", "classify", classify),
            ("Look into the adapter", "inspect", inspect),
        ]
    }

    fn step(&self, mut command: Command) -> Result<crate::process::Cost> {
        println!("$ {}\n", typed(&command, &self.places.root));
        command.current_dir(&self.places.root).env("WHEATEAR_ASSETS", &self.places.assets);
        loud(command.env("ORT_DYLIB_PATH", check::onnxruntime(self.places)?))
    }

    fn closing(&self, costs: &[(&str, f64, u64)], (heard, unheard): (usize, usize), started: Instant) -> Result<()> {
        note("Done");
        for (name, seconds, peak_kib) in costs {
            // The compilers are children of cargo: its own peak says nothing of theirs.
            let peak = if *name == "build" { String::new() } else { format!("peak {:>5} MiB", peak_kib / 1024) };
            println!("{}", format!("  {name:<10} {seconds:>7.1} s   {peak}").trim_end());
        }
        let total = started.elapsed().as_secs_f64();
        println!(
            "  {:<10} {total:>7.1} s   {} of assets, {} of them downloads",
            "in all*",
            mib(&self.places.assets)?,
            mib(&self.places.downloads())?
        );
        println!("  * without building cargo xtask itself");
        println!("\n  report     {}", self.places.show(&self.report()));
        println!("  adapter    {} ({heard} notes taught, {unheard} unheard)", self.places.show(&self.folder.join("adapter")));
        println!(
            "\nTry next:\n  your own sounds, a folder a class:\n    target/release/wheatear teach FOLDER --backbone {0} --adapter my-adapter\n    \
             target/release/wheatear classify RECORDING.wav --backbone {0} --adapter my-adapter\n  your own model:\n    \
             target/release/wheatear export MODEL.onnx --help",
            self.places.show(&self.places.assets.join("models/aisfx"))
        );
        Ok(())
    }
}

fn mib(folder: &Path) -> Result<String> {
    let mut bytes = 0;
    list_files(folder, &mut |_, len| bytes += len)?;
    Ok(format!("{} MiB", bytes >> 20))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("cannot remove {}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_note_of_each_instrument_is_kept_unheard() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { root: dir.path().to_path_buf(), assets: dir.path().join("target/assets") };
        for (class, notes) in [("Alto Sax", 9), ("Viola", 4)] {
            let folder = places.assets.join("sounds/instruments").join(class);
            fs::create_dir_all(&folder).unwrap();
            (0..notes).for_each(|n| fs::write(folder.join(format!("{n}.wav")), b"x").unwrap());
        }
        for _ in 0..2 {
            assert_eq!(Demo::new(&places).unwrap().split().unwrap(), (10, 3));
        }
        let unheard = sorted(&dir.path().join("target/demo/unheard/Alto Sax")).unwrap();
        assert_eq!(unheard.iter().map(|p| p.file_name().unwrap()).collect::<Vec<_>>(), ["3.wav", "7.wav"]);
    }
}
