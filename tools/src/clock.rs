//! The shell around the pure core: the clock and the source of randomness, both taken here and handed down as values.

pub use wheatear::clock::now;
pub use wheatear::random::random_bytes;

/// Processor time that this thread has taken so far, in seconds.
pub fn thread_cpu_s() -> f64 {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    taken.tv_sec as f64 + taken.tv_nsec as f64 * 1e-9
}
