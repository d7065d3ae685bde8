//! What is compared on: the project's own sets, and npz files named on the command line.

use std::path::PathBuf;

/// A set that the project makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Own {
    /// The 133 clips whose latents are in tests/data, one row a clip
    Clips,
    /// 314 notes of 20 instruments, a row a window
    Instruments,
    /// 133 clips of 8 families, a row a window
    Sonicpi,
}

impl Own {
    pub fn name(self) -> &'static str {
        match self {
            Own::Clips => "clips",
            Own::Instruments => "instruments",
            Own::Sonicpi => "sonicpi",
        }
    }

    /// Whether it is embedded from sounds that set-up fetches.
    pub fn needs_sounds(self) -> bool {
        self != Own::Clips
    }
}

/// Embeddings with a name for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub file: PathBuf,
}

/// Reads `NAME=FILE.npz`.
pub fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, file)) if is_name(name) && !file.is_empty() => Ok(Named { name: name.into(), file: file.into() }),
        _ => Err("expected NAME=FILE.npz with a name of letters, digits, '-', '_' and '.'".into()),
    }
}

/// Names become names of files.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_a_plain_name_and_a_file() {
        assert_eq!(named("birds=a/b=c.npz").unwrap(), Named { name: "birds".into(), file: "a/b=c.npz".into() });
        for wrong in ["birds", "=a.npz", "birds=", "../birds=a.npz", "a/b=c.npz", ".=a.npz"] {
            assert!(named(wrong).unwrap_err().starts_with("expected NAME=FILE.npz"), "{wrong}");
        }
    }
}
