//! The shell around the pure core: the clock and the source of randomness, both taken here and handed down as values.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use wheatear::units::Moment;
use wheatear::{Error, Result};

/// Now, by the monotonic clock of this boot and the wall clock. Nothing tells how well the wall clock is set, so its
/// uncertainty is unknown.
pub fn now() -> Moment {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u32> = boot.chars().filter_map(|c| c.to_digit(16)).collect();
    let mut boot_id = [0u8; 16];
    boot_id.iter_mut().zip(digits.chunks_exact(2)).for_each(|(b, d)| *b = (d[0] << 4 | d[1]) as u8);
    // The clock that also counts while the device sleeps.
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let monotonic_ns = (since_boot.tv_sec.max(0) as u64) * 1_000_000_000 + since_boot.tv_nsec.max(0) as u64;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok());
    Moment { boot_id, monotonic_ns, wall_ms: wall, ..Moment::UNKNOWN }
}

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
