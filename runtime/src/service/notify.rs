//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, still alive. Where there is none, nothing.
//!
//! A manager that reads nothing is waited for no longer than [`PATIENCE`], and [`PASSING`] for what soon comes again or is not needed.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;

/// How long a message may wait for room in the manager's queue.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that is not needed may.
pub const PASSING: Duration = Duration::from_millis(100);

/// The service runs.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)], PATIENCE);
}

/// The configuration is being read again; `ready` follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now], PATIENCE),
        Err(e) => log::debug!("no clock for the service manager: {e}"),
    }
}

/// The service ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping], PASSING);
}

/// The service is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog], PASSING);
}

/// How often the manager wants to hear that it is, if it does.
pub fn watchdog() -> Option<Duration> {
    // Twice in each period.
    sd_notify::watchdog_enabled().map(|period| period / 2)
}

fn tell(state: &[NotifyState<'_>], patience: Duration) {
    let Some(manager) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text: String = state.iter().map(|state| format!("{state}\n")).collect();
    if let Err(e) = send(Path::new(&manager), &text, patience) {
        log::debug!("the service manager was not told: {e}");
    }
}

/// As `sd_notify::notify`, which waits for ever.
fn send(manager: &Path, text: &str, patience: Duration) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(manager)?;
    socket.send(text.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_reads_nothing_is_waited_for_a_while_and_told_again_when_it_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let tell = || send(&path, "WATCHDOG=1\n", Duration::from_millis(10));
        let told = (0..100_000).take_while(|_| tell().is_ok()).count();
        assert!((1..100_000).contains(&told), "its queue ends, and so does waiting: {told}");
        assert_eq!(tell().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut text = [0; 64];
        for _ in 0..told {
            assert_eq!(manager.recv(&mut text).unwrap(), "WATCHDOG=1\n".len());
        }
        tell().unwrap();
    }
}
