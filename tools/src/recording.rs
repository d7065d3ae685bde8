//! Recordings by the digest of their bytes: what an adapter remembers of what it was taught.
//!
//! The upper 48 bits of a source are the recording's, the lower 16 its labels': the same bytes with other labels are
//! something new to learn, and can be told from a new recording.

use std::path::Path;

use sha2::{Digest, Sha256};
use wheatear::learn::LabelSet;
use wheatear::{Error, Result};

use wheatear::learn::label_text;

const CLASS_BITS: u32 = 16;

/// First six bytes of the SHA-256 of a file, never 0.
///
/// # Errors
/// `Missing` or `Storage` when it cannot be read.
pub fn recording_of(path: &Path) -> Result<u64> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut block = vec![0u8; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut block).map_err(|e| Error::io("read", path, e))? {
            0 => break,
            n => hash.update(&block[..n]),
        }
    }
    Ok(first_bytes(&hash.finalize(), 6).max(1))
}

/// The source of a recording that is taught with `labels`.
pub fn source_of(recording: u64, labels: &LabelSet) -> u64 {
    let text = match labels.positive().first().filter(|class| *labels == LabelSet::single((*class).clone())) {
        Some(class) => class.to_string(),
        // No name has the character in front.
        None => format!("\u{1}{}", label_text::text(labels)),
    };
    recording << CLASS_BITS | first_bytes(&Sha256::digest(text.as_bytes()), 2)
}

/// The recording of a source.
pub fn recording_in(source: u64) -> u64 {
    source >> CLASS_BITS
}

fn first_bytes(digest: &[u8], n: usize) -> u64 {
    digest[..n].iter().fold(0, |word, b| word << 8 | u64::from(*b))
}
