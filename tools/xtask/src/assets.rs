//! The pins of `assets.toml` and the places where what they name is kept.
//!
//! Everything lies under `target/assets` (or `WHEATEAR_ASSETS`): `downloads` holds packages as fetched, the other folders
//! are made from them.

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The parsed `assets.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    package: Vec<Package>,
    #[serde(default)]
    pub system: Vec<SystemPackage>,
    #[serde(default)]
    program: Vec<Program>,
    /// What the private root for cross-building is made of.
    #[serde(default)]
    pub cross: Vec<CrossPackage>,
}

/// A package file, known by digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub kind: Kind,
    /// Machine it is for, as `std::env::consts::ARCH` says it; any when absent.
    pub arch: Option<String>,
    /// The wheel's platform tag, where it has one.
    pub platform: Option<String>,
    pub file: String,
    pub size: u64,
    pub sha256: String,
}

/// Which program fetches a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Wheel,
    Deb,
}

/// Something the machine itself must have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemPackage {
    pub name: String,
    pub why: String,
    pub probe: Vec<String>,
    /// Whether only tests need it.
    #[serde(default)]
    pub tests: bool,
    /// Whether only the test of the page needs it.
    #[serde(default)]
    pub page: bool,
}

/// A program that `cargo install` builds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    pub version: String,
}

/// A Debian package of the private root for cross-building.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossPackage {
    pub name: String,
    /// Debian's name of the machine it is for.
    pub arch: String,
    /// Versions that will do, as a pattern: security updates replace one by the next.
    pub version: String,
}

impl Pins {
    /// The pins compiled into this program.
    pub fn load() -> Result<Pins> {
        toml::from_str(include_str!("../assets.toml")).context("tools/xtask/assets.toml")
    }

    /// The package called `name` for this machine.
    pub fn package(&self, name: &str) -> Result<&Package> {
        let arch = std::env::consts::ARCH;
        let fits = |p: &&Package| p.name == name && p.arch.as_deref().is_none_or(|a| a == arch);
        self.package.iter().find(fits).with_context(|| {
            format!("no pinned {name} for {arch}: x86_64 and aarch64 Linux are supported; pin one in tools/xtask/assets.toml")
        })
    }

    /// The cargo program called `name`.
    pub fn program(&self, name: &str) -> Result<&Program> {
        self.program.iter().find(|p| p.name == name).with_context(|| format!("no pinned program {name} in tools/xtask/assets.toml"))
    }
}

/// Folders of this checkout.
#[derive(Debug, Clone)]
pub struct Places {
    /// The workspace root.
    pub root: PathBuf,
    /// Where assets lie.
    pub assets: PathBuf,
}

impl Places {
    /// The places of the checkout this program was built from.
    pub fn find() -> Result<Places> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("xtask does not lie in tools/xtask")?.to_path_buf();
        let assets = std::env::var_os("WHEATEAR_ASSETS").map_or_else(|| root.join("target/assets"), PathBuf::from);
        let assets = if assets.is_absolute() { assets } else { root.join(assets) };
        std::fs::create_dir_all(&assets).with_context(|| format!("cannot create {}", assets.display()))?;
        Ok(Places { root, assets })
    }

    pub fn downloads(&self) -> PathBuf {
        self.assets.join("downloads")
    }

    pub fn python(&self) -> PathBuf {
        self.assets.join("venv/bin/python")
    }

    pub fn onnxruntime(&self, version: &str) -> PathBuf {
        self.assets.join(format!("onnxruntime/libonnxruntime.so.{version}"))
    }

    /// `path` as a person in the workspace root would type it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// SHA-256 of a file, lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// SHA-256 of bytes, lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_has_a_digest_a_size_and_a_plain_file_name() {
        let pins = Pins::load().unwrap();
        for p in &pins.package {
            assert!(p.sha256.len() == 64 && p.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", p.file);
            assert!(p.size > 0 && !p.file.contains('/') && !p.file.starts_with('.'), "{}", p.file);
            assert!(p.kind == Kind::Wheel || p.platform.is_none(), "{}: a platform tag belongs to a wheel", p.file);
        }
        for arch in ["x86_64", "aarch64"] {
            assert!(pins.package.iter().any(|p| p.name == "onnxruntime" && p.arch.as_deref() == Some(arch)), "{arch}");
        }
    }

    #[test]
    fn who_only_builds_needs_no_sound_server_and_no_broker() {
        let pins = Pins::load().unwrap();
        let needed =
            |tests: bool| pins.system.iter().filter(|p| !p.page && (!p.tests || tests)).map(|p| p.name.as_str()).collect::<Vec<_>>();
        assert!(needed(false).contains(&"libasound2-dev") && !needed(false).iter().any(|n| n.contains("pulse") || n.contains("mosquitto")));
        assert!(["pulseaudio", "mosquitto", "mosquitto-clients"].iter().all(|name| needed(true).contains(name)));
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
