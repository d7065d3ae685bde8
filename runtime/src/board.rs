//! Boards as data: what a device can give the runtime, one TOML a board under `boards/`.
//!
//! Code never asks for a board's name: it reads these values. Parsing checks every one of them, so that a wrong profile is
//! refused at start and not found out in the field.

use crate::error::{Error, ErrorKind, Result};
use crate::learner::Budget;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Number of the board schema.
pub const BOARD_FORMAT: u32 = 1;

/// One board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// [`BOARD_FORMAT`].
    pub format: u32,
    /// Name to choose it by: lower-case letters, digits and '-'.
    pub name: String,
    /// What it is, for a person.
    pub description: String,
    /// Instruction set of its user space.
    pub arch: Arch,
    /// Size of a memory page in bytes: 4096, 16384 or 65536. Mappings are aligned to 64 KiB, which suits all three.
    pub page_bytes: u32,
    /// Memory that the adapter (blocks, replay, heads) may take, in MiB: 8 to 65536.
    pub adapter_mib: u32,
    /// Threads of the inference session: 1 to 64; fewer than there are cores leaves room for capture and learning.
    pub inference_threads: u32,
    /// Execution providers in the order in which they are tried; the last one is `cpu`.
    pub providers: Vec<Provider>,
    /// What learning may cost.
    pub learning: Budget,
    /// What is known about it, each with where it is known from.
    #[serde(default)]
    pub note: Vec<Note>,
}

/// Instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

/// An ONNX Runtime execution provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// In every build of ONNX Runtime.
    Cpu,
    /// NVIDIA GPU.
    Cuda,
    /// NVIDIA GPU; builds an engine at first start, which takes minutes.
    Tensorrt,
    /// Intel CPU, GPU or NPU.
    Openvino,
    /// Optimised CPU kernels, in builds that contain it.
    Xnnpack,
}

/// A fact about a board and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The fact.
    pub text: String,
    /// Where it is known from: a document, or the measurement.
    pub source: String,
}

impl Board {
    /// Reads and checks the board file `path`.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it cannot be read, `Config` with the key when it is wrong.
    pub fn load(path: &Path) -> Result<Board> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the board", path, e))?;
        Board::parse(&text).map_err(|e| match e.place() {
            Some(key) => {
                let at = format!("{}, {key}", path.display());
                e.at(at)
            }
            None => e.at(path.display()),
        })
    }

    /// Parses and checks a board's text.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn parse(text: &str) -> Result<Board> {
        let board: Board = toml::from_str(text).map_err(|e| {
            Error::new(ErrorKind::Config, "the board cannot be read").found(e.to_string().trim_end()).cure("correct the board's file")
        })?;
        board.validate()?;
        Ok(board)
    }

    /// Checks every value; parsing calls it, writers should too.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn validate(&self) -> Result<()> {
        check("format", self.format == BOARD_FORMAT, BOARD_FORMAT, self.format)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let named = !self.name.is_empty() && self.name.len() <= 64 && self.name.chars().all(plain);
        check("name", named, "1 to 64 lower-case letters, digits, '-' and '_'", &self.name)?;
        check("description", !self.description.trim().is_empty(), "a line for a person", "none")?;
        check("page_bytes", [4096, 16384, 65536].contains(&self.page_bytes), "4096, 16384 or 65536", self.page_bytes)?;
        check("adapter_mib", (8..=65536).contains(&self.adapter_mib), "8 to 65536", self.adapter_mib)?;
        check("inference_threads", (1..=64).contains(&self.inference_threads), "1 to 64", self.inference_threads)?;
        let found = format!("{:?}", self.providers);
        check("providers", self.providers.last() == Some(&Provider::Cpu), "a list that ends with \"cpu\"", &found)?;
        let twice = self.providers.iter().enumerate().any(|(i, p)| self.providers[..i].contains(p));
        check("providers", !twice, "each provider once", &found)?;
        if let Some((key, allowed, found)) = self.learning.fault() {
            check(key, false, allowed, found)?;
        }
        for (i, note) in self.note.iter().enumerate() {
            let said = !note.text.trim().is_empty() && !note.source.trim().is_empty();
            check(&format!("note {}", i + 1), said, "a text and its source", "an empty one")?;
        }
        Ok(())
    }
}

fn check(key: &str, ok: bool, allowed: impl std::fmt::Display, found: impl std::fmt::Display) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "a board value is not allowed")
        .at(key)
        .expected(allowed)
        .found(found)
        .cure("correct the board's file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        format = 1
        name = "bench"
        description = "a test bench"
        arch = "aarch64"
        page_bytes = 16384
        adapter_mib = 128
        inference_threads = 3
        providers = ["cuda", "cpu"]
        [learning]
        memory_mib = 64
        judge_rows = 200
        head_ms = 1500
        [[note]]
        text = "it hums"
        source = "we listened"
    "#;

    #[test]
    fn a_good_board_is_read() {
        let board = Board::parse(GOOD).unwrap();
        assert_eq!(
            (board.arch, board.page_bytes, board.providers.as_slice(), board.learning.judge_rows),
            (Arch::Aarch64, 16384, &[Provider::Cuda, Provider::Cpu][..], 200)
        );
    }

    #[test]
    fn each_wrong_value_is_named_with_its_key_and_what_is_allowed() {
        for (good, bad, key, allowed) in [
            ("format = 1", "format = 2", "format", "1"),
            ("\"bench\"", "\"My Bench\"", "name", "1 to 64 lower-case"),
            ("\"a test bench\"", "\" \"", "description", "a line for a person"),
            ("16384", "8192", "page_bytes", "4096, 16384 or 65536"),
            ("adapter_mib = 128", "adapter_mib = 4", "adapter_mib", "8 to 65536"),
            ("inference_threads = 3", "inference_threads = 0", "inference_threads", "1 to 64"),
            ("[\"cuda\", \"cpu\"]", "[\"cuda\"]", "providers", "ends with"),
            ("[\"cuda\", \"cpu\"]", "[]", "providers", "ends with"),
            ("[\"cuda\", \"cpu\"]", "[\"cpu\", \"cpu\"]", "providers", "each provider once"),
            ("memory_mib = 64", "memory_mib = 3", "learning.memory_mib", "4 to 65536"),
            ("judge_rows = 200", "judge_rows = 9", "learning.judge_rows", "40 to 3000"),
            ("head_ms = 1500", "head_ms = 0", "learning.head_ms", "10 to 600000"),
            ("\"we listened\"", "\"\"", "note 1", "a text and its source"),
        ] {
            let e = Board::parse(&GOOD.replace(good, bad)).unwrap_err();
            assert_eq!((e.kind(), e.place()), (ErrorKind::Config, Some(key)), "{bad}: {e}");
            assert!(e.to_string().contains(allowed), "{bad}: {e}");
        }
    }

    #[test]
    fn an_unknown_key_arch_or_provider_is_refused() {
        for (good, bad, said) in [
            ("arch = ", "colour = \"red\"\narch = ", "unknown field `colour`"),
            ("aarch64", "riscv64", "unknown variant `riscv64`"),
            ("cuda", "magic", "unknown variant `magic`"),
        ] {
            let e = Board::parse(&GOOD.replace(good, bad)).unwrap_err();
            assert!(e.to_string().contains(said), "{bad}: {e}");
        }
    }

    #[test]
    fn every_board_in_the_repository_is_valid_and_named_as_its_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let board = Board::load(&path).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(path.file_stem().unwrap().to_str(), Some(board.name.as_str()));
                names.push(board.name);
            }
        }
        names.sort();
        assert_eq!(names, ["generic-x86_64", "jetson-orin", "raspberry-pi-5", "rk3588"]);
    }

    #[test]
    fn a_missing_board_file_says_which() {
        let e = Board::load(Path::new("no/such/board.toml")).unwrap_err();
        assert!(e.kind() == ErrorKind::Missing && e.to_string().contains("no/such/board.toml"), "{e}");
    }
}
