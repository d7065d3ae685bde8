//! The clocks of the system. Everything else takes time as an argument.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::Moment;

/// Now, by the monotonic clock of this boot and the wall clock. Nothing tells how well the wall clock is set, so its
/// uncertainty is unknown.
pub fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok());
    Moment { boot_id: boot_id(), monotonic_ns: since_boot_ns(), wall_ms: wall, ..Moment::UNKNOWN }
}

/// Nanoseconds since boot, sleep included (`CLOCK_BOOTTIME`).
pub fn since_boot_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (t.tv_sec.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec.max(0) as u64)
}

/// Processor time of the thread that asks, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (t.tv_sec.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec.max(0) as u64)
}

/// Temperature of the hottest zone that the system tells of, in degrees Celsius.
pub fn temperature_c() -> Option<f64> {
    let zones = std::fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let read = |zone: std::fs::DirEntry| std::fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse::<f64>().ok();
    zones
        .filter(|z| z.file_name().to_string_lossy().starts_with("thermal_zone"))
        .filter_map(read)
        .map(|milli| milli * 1e-3)
        .reduce(f64::max)
}

fn boot_id() -> [u8; 16] {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u32> = boot.chars().filter_map(|c| c.to_digit(16)).collect();
        let mut id = [0u8; 16];
        id.iter_mut().zip(digits.chunks_exact(2)).for_each(|(b, d)| *b = (d[0] << 4 | d[1]) as u8);
        id
    })
}
