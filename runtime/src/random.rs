//! Random bytes of the system: for identities and seeds, which are values from there on.

use std::io::Read;

use crate::{Error, Result};

/// So many bytes.
///
/// # Errors
/// `Missing` or `Storage` when the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0u8; N];
    let path = "/dev/urandom";
    let mut source = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    source.read_exact(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}
