//! Lays out the sounds that demo, tests and calibration use, one folder a class, from the packages they come in.
//!
//! Which sounds: `tests/data/instruments.toml` and `tests/data/sonicpi.toml`. A bank or package that holds another number
//! of them is refused, since every reference value was measured on exactly these.

use crate::process::quiet;
use crate::soundfont::{Sample, SoundFont};
use crate::step::Progress;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `tests/data/instruments.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Instruments {
    notes: usize,
    classes: Vec<String>,
    calibration_notes_each: usize,
    calibration: Vec<String>,
}

/// `tests/data/sonicpi.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clips {
    clips: usize,
    classes: Vec<String>,
    calibration: Vec<String>,
}

/// Where the recipes for the sounds lie, under the workspace root.
pub const INSTRUMENTS: &str = "tests/data/instruments.toml";
/// See [`INSTRUMENTS`].
pub const SONICPI: &str = "tests/data/sonicpi.toml";

/// Writes the 20 instruments into `out`, `<Instrument>/<note>.wav`; returns the number of files.
pub fn instruments(root: &Path, deb: &Path, out: &Path, progress: &Progress) -> Result<usize> {
    let list: Instruments = read_list(&root.join(INSTRUMENTS))?;
    with_unpacked(deb, out, |unpacked| {
        let mut font = open_bank(unpacked)?;
        progress.count(list.notes as u64, false, "notes");
        let mut written = 0;
        for name in &list.classes {
            let notes = notes_of(&font, name)?;
            written += write_notes(&mut font, &notes, &out.join(file_name(name)))?;
            progress.at(written as u64);
        }
        ensure!(written == list.notes, "the bank gave {written} notes where {} are listed in {INSTRUMENTS}", list.notes);
        Ok(written)
    })
}

/// Writes calibration sounds into `out`: other instruments, other clips, and every third of the voice prompts.
pub fn calibration(root: &Path, bank: &Path, clips: &Path, voices: &Path, out: &Path, progress: &Progress) -> Result<usize> {
    let list: Instruments = read_list(&root.join(INSTRUMENTS))?;
    let mut written = with_unpacked(bank, out, |unpacked| {
        let mut font = open_bank(unpacked)?;
        let mut evaluated = BTreeSet::new();
        for name in &list.classes {
            evaluated.extend(font.instrument(name).into_iter().flat_map(|i| i.samples.iter().copied()));
        }
        progress.count(list.calibration.len() as u64, false, "instruments");
        let mut written = 0;
        for (done, name) in list.calibration.iter().enumerate() {
            let mut notes = notes_of(&font, name)?;
            if let Some(shared) = notes.iter().find(|n| evaluated.contains(n)) {
                bail!("{name} shares {} with an evaluated class: take it off {INSTRUMENTS}", font.sample(*shared).name);
            }
            let step = notes.len().div_ceil(list.calibration_notes_each).max(1);
            notes = notes.into_iter().step_by(step).collect();
            written += write_notes(&mut font, &notes, &out.join("instruments").join(file_name(name)))?;
            progress.at(done as u64 + 1);
        }
        Ok(written)
    })?;
    let families: Clips = read_list(&root.join(SONICPI))?;
    written += with_unpacked(clips, out, |unpacked| copy_families(unpacked, &families.calibration, &out.join("clips")))?;
    written += with_unpacked(voices, out, |unpacked| {
        let folder = out.join("voices");
        fs::create_dir_all(&folder)?;
        let spoken: Vec<PathBuf> =
            sound_files(unpacked, "wav")?.into_iter().filter(|p| !p.components().any(|c| c.as_os_str() == "silence")).collect();
        let third: Vec<&PathBuf> = spoken.iter().step_by(3).collect();
        for path in &third {
            let parent = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            let name = format!("{parent}-{}", path.file_name().unwrap_or_default().to_string_lossy());
            copy(path, &folder.join(name))?;
        }
        Ok(third.len())
    })?;
    Ok(written)
}

/// Copies the 8 families of clips into `out`, `<family>/<clip>.flac`; returns the number of files.
pub fn sonicpi(root: &Path, deb: &Path, out: &Path) -> Result<usize> {
    let list: Clips = read_list(&root.join(SONICPI))?;
    let copied = with_unpacked(deb, out, |unpacked| copy_families(unpacked, &list.classes, out))?;
    ensure!(copied == list.clips, "the package gave {copied} clips where {} are listed in {SONICPI}", list.clips);
    Ok(copied)
}

fn read_list<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{}", file.display()))
}

/// Unpacks `deb` beside `out` for as long as `use_it` runs.
fn with_unpacked<T>(deb: &Path, out: &Path, use_it: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = out.with_extension("unpacked");
    let _ = fs::remove_dir_all(&folder);
    quiet(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(&folder), || ())?;
    let used = use_it(&folder);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    used
}

fn open_bank(unpacked: &Path) -> Result<SoundFont<BufReader<File>>> {
    let file = unpacked.join("usr/share/sounds/sf2/FluidR3_GM.sf2");
    let bytes = File::open(&file).with_context(|| format!("the package holds no {}", file.display()))?;
    SoundFont::open(BufReader::new(bytes)).with_context(|| format!("{}", file.display()))
}

fn notes_of<R: Read + Seek>(font: &SoundFont<R>, name: &str) -> Result<Vec<usize>> {
    let instrument = font.instrument(name).with_context(|| format!("the bank has no instrument {name}"))?;
    Ok(font.notes(instrument))
}

fn write_notes<R: Read + Seek>(font: &mut SoundFont<R>, notes: &[usize], folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for &note in notes {
        let sample = font.sample(note).clone();
        let file = folder.join(format!("{}.wav", file_name(sample.note())));
        ensure!(!file.exists(), "two samples would be written to {}", file.display());
        write_wav(&file, &sample, &font.points(note)?)?;
    }
    Ok(notes.len())
}

fn write_wav(file: &Path, sample: &Sample, points: &[i16]) -> Result<()> {
    let spec = hound::WavSpec { channels: 1, sample_rate: sample.rate_hz, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let write = || -> Result<(), hound::Error> {
        let mut wav = hound::WavWriter::create(file, spec)?;
        let mut samples = wav.get_i16_writer(points.len() as u32);
        points.iter().for_each(|p| samples.write_sample(*p));
        samples.flush()?;
        wav.finalize()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn copy_families(unpacked: &Path, families: &[String], out: &Path) -> Result<usize> {
    let mut copied = 0;
    for file in sound_files(unpacked, "flac")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(family) = families.iter().find(|f| name.split('_').next() == Some(f)) else { continue };
        copy(&file, &out.join(family).join(&name))?;
        copied += 1;
    }
    Ok(copied)
}

/// Files of one extension under `folder`, links left out, sorted.
fn sound_files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    crate::step::list_files(folder, &mut |file, _| {
        if file.extension().is_some_and(|e| e == extension) {
            files.push(file.to_path_buf());
        }
    })?;
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map(|_| ()).with_context(|| format!("cannot copy to {}", to.display()))
}

/// `name` as a file name: separators and control characters become '-'.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_name_20_instruments_and_8_families_and_calibrate_on_none_of_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list: Instruments = read_list(&root.join(INSTRUMENTS)).unwrap();
        let clips: Clips = read_list(&root.join(SONICPI)).unwrap();
        assert_eq!((list.classes.len(), list.notes, clips.classes.len(), clips.clips), (20, 314, 8, 133));
        assert!(list.calibration.iter().all(|c| !list.classes.contains(c)));
        assert!(clips.calibration.iter().all(|c| !clips.classes.contains(c)));
    }

    #[test]
    fn only_the_listed_families_are_copied_each_into_its_folder() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("deep")).unwrap();
        for name in ["bd_808.flac", "bdx_808.flac", "deep/perc_bell.flac", "bd_808.wav"] {
            fs::write(from.path().join(name), b"sound").unwrap();
        }
        assert_eq!(copy_families(from.path(), &["bd".into(), "perc".into()], to.path()).unwrap(), 2);
        assert!(to.path().join("bd/bd_808.flac").exists() && to.path().join("perc/perc_bell.flac").exists());
    }

    #[test]
    fn a_name_never_leaves_its_folder() {
        assert_eq!(file_name("Strings/GS"), "Strings-GS");
        assert_eq!(file_name("../Alto D#4"), "..-Alto D#4");
    }
}
