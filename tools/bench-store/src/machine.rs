//! What the figures were measured on.

use std::fs;
use std::thread;

use serde::Serialize;

/// The machine, as far as it says.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub page_bytes: usize,
    /// Runnable processes beside this one, averaged over a minute, when the run began.
    pub load: Option<f64>,
}

impl Machine {
    pub fn look() -> Machine {
        let uname = rustix::system::uname();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpu_name(&cpuinfo).unwrap_or_else(|| uname.machine().to_string_lossy().into_owned());
        let load = fs::read_to_string("/proc/loadavg").ok().and_then(|l| l.split(' ').next()?.parse().ok());
        Machine {
            processor,
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: uname.release().to_string_lossy().into_owned(),
            page_bytes: rustix::param::page_size(),
            load,
        }
    }
}

fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = ["model name", "Model"].iter().find_map(|key| cpuinfo.lines().find(|l| l.starts_with(key)))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_on_a_pc_and_a_pi() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: AMD EPYC\n").as_deref(), Some("AMD EPYC"));
        assert_eq!(cpu_name("processor\t: 0\nModel\t\t: Raspberry Pi 5 Model B\n").as_deref(), Some("Raspberry Pi 5 Model B"));
        assert_eq!(cpu_name("processor\t: 0\n"), None);
    }
}
