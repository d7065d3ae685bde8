//! The clocks of the system. Everything else takes time as an argument.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::Moment;

/// Now, by the monotonic clock of this boot and the wall clock, as uncertain as [`uncertainty_ms`] says.
pub fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok());
    Moment { boot_id: boot_id(), monotonic_ns: since_boot_ns(), wall_ms: wall, uncertainty_ms: uncertainty_ms() }
}

/// Greatest error of the wall clock in ms, as whatever sets it (NTP, GPS) has told the kernel; `u32::MAX` while nothing does.
pub fn uncertainty_ms() -> u32 {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: all bytes zero are a valid timex, whose modes, all unset, say that the call only reads into it.
        let (state, told) = unsafe {
            let mut told: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&raw mut told), told)
        };
        if (0..libc::TIME_ERROR).contains(&state) && told.status & libc::STA_UNSYNC == 0 {
            return u32::try_from(told.maxerror).map_or(u32::MAX, |us| us.div_ceil(1000).saturating_add(1));
        }
    }
    u32::MAX
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
