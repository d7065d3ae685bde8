//! The shell around the pure core: the clock and the source of randomness, both taken here and handed down as values.

use std::io::Read;

pub use wheatear::clock::now;
use wheatear::{Error, Result};

/// Processor time that this thread has taken so far, in seconds.
pub fn thread_cpu_s() -> f64 {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    taken.tv_sec as f64 + taken.tv_nsec as f64 * 1e-9
}

/// Random bytes from the system.
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
