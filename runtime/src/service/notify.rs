//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, still alive. Where there is none, nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service runs.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; `ready` follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(e) => log::debug!("no clock for the service manager: {e}"),
    }
}

/// The service ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The service is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the manager wants to hear that it is, if it does.
pub fn watchdog() -> Option<Duration> {
    // Twice in each period.
    sd_notify::watchdog_enabled().map(|period| period / 2)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        log::debug!("the service manager was not told: {e}");
    }
}
