//! The page and the API of a daemon, over HTTP: what is heard, what was heard, and labels from whoever is asked. `openapi.json` here is
//! the contract.
//!
//! Only loopback is served without a token and TLS. Everything is bounded: [`CONNECTIONS`] at once, [`CONNECTIONS_OF_PEER`] of them from one
//! other machine, [`BODY_LEN_BYTES`] a request, [`COMMANDS`] commands that wait for the daemon; who is too many or too slow is refused or
//! left out, and no window waits for anyone: the server is a thread of its own that reads what the daemon tells.

mod api;
mod connection;
mod guard;
mod metrics;
mod newest;
mod page;
mod stream;
pub mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};

use crate::daemon::Handle;
use crate::event::Event;
use crate::{Error, ErrorKind, Result};
use guard::Guard;
use watch::Watch;

/// Connections at once.
pub const CONNECTIONS: usize = 128;
/// Connections of one other machine, or of one network of IPv6 (/64), at once.
pub const CONNECTIONS_OF_PEER: usize = CONNECTIONS / 4;
/// Longest body of a request.
pub const BODY_LEN_BYTES: usize = 16 * 1024;
/// Commands that wait for the daemon at once.
pub const COMMANDS: usize = 16;
/// Shortest token.
pub const TOKEN_LEN_MIN: usize = 16;
/// A microphone of which no window was answered for so long is not heard.
const DEAF: Duration = Duration::from_secs(30);

/// How the daemon is served.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeSettings {
    /// Address; port 0 for any that is free.
    pub address: SocketAddr,
    /// Names by which this device is called, beside localhost and its addresses.
    pub hosts: Vec<String>,
    /// What a request must bring; needed where the address is not loopback.
    pub token: Option<String>,
    /// Certificate chain and key, PEM; needed where the address is not loopback.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Facts that do not change while a daemon runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// The backbone.
    pub backbone: BackboneFacts,
    /// Names of the microphones.
    pub microphones: Vec<String>,
    /// How long they may rest between two turns of hearing.
    #[serde(skip)]
    pub rest: Duration,
}

/// The backbone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackboneFacts {
    /// Its name.
    pub name: String,
    /// Dimension D.
    pub dim: u32,
    /// Rate of its sound.
    pub rate_hz: u32,
    /// Length of a window.
    pub window_ms: f64,
    /// From one window to the next.
    pub hop_ms: f64,
    /// Execution providers that run it, the first one first.
    pub provider: String,
}

/// Events of the past: those before a number, at most so many, of a kind, of a class; the newest first.
pub type History = Box<dyn Fn(Option<u64>, u32, Option<&str>, Option<&str>) -> Result<Vec<(u64, Event)>> + Send + Sync>;

/// What requests are answered from.
struct Desk {
    guard: Guard,
    watch: Watch,
    handle: Handle,
    about: About,
    history: Option<History>,
    commands: Arc<Semaphore>,
    begun: Instant,
}

/// A daemon being served. Dropping it ends that.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves the daemon that `watch` watches and `handle` speaks to.
    ///
    /// # Errors
    /// `Config` when the address is not loopback and a token or TLS is missing, the token is too short, or certificate and key cannot
    /// be used, or the address is not this device's; `Busy` when the address is taken; `Storage` when the system gives no thread or socket.
    pub fn start(settings: &ServeSettings, watch: Watch, handle: Handle, about: About, history: Option<History>) -> Result<Server> {
        check(settings)?;
        let tls = settings.tls.as_ref().map(|(chain, key)| connection::tls(chain, key)).transpose()?;
        let refused = |e| unbound(settings.address, e);
        let listener = TcpListener::bind(settings.address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let failed = |e: std::io::Error| Error::new(ErrorKind::Storage, "the system gives no thread").at("serving").because(e);
        // One thread serves; commands wait for the daemon on as many more as may wait.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(COMMANDS).build().map_err(failed)?;
        let desk = Arc::new(Desk {
            guard: Guard::new(&settings.hosts, settings.token.as_deref()),
            watch,
            handle,
            about,
            history,
            commands: Arc::new(Semaphore::new(COMMANDS)),
            begun: Instant::now(),
        });
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(connection::serve(listener, tls, api::router(desk), stopped));
            runtime.shutdown_timeout(Duration::from_secs(1));
        };
        let thread = std::thread::Builder::new().name("serving".into()).spawn(work).map_err(failed)?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it still serves.
    ///
    /// # Errors
    /// `Storage` when its thread has ended.
    pub fn check(&self) -> Result<()> {
        match self.thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished) {
            true => {
                Err(Error::new(ErrorKind::Storage, "the page is served no more").at(self.address).cure("see the log, and start it again"))
            }
            false => Ok(()),
        }
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.stop.take().map(|stop| stop.send(()));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that served the page had failed");
        }
    }
}

fn unbound(address: SocketAddr, e: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, cure) = match e.kind() {
        Io::AddrInUse => (ErrorKind::Busy, "end the program that has it, or give another port (serve.address)"),
        Io::AddrNotAvailable => (ErrorKind::Config, "give an address that this device has, or 0.0.0.0 for all (serve.address)"),
        Io::PermissionDenied => (ErrorKind::Config, "give a port from 1024 on (serve.address), or allow this one (CAP_NET_BIND_SERVICE)"),
        _ => (ErrorKind::Storage, "look at the system's limits (ulimit -n) and its network"),
    };
    let found = e.to_string();
    Error::new(kind, "the page cannot be served at this address").at(address).found(found).because(e).cure(cure)
}

/// Whether it may be served so.
///
/// # Errors
/// `Config` when the address is not loopback and a token or TLS is missing, or the token is no good one.
pub fn check(settings: &ServeSettings) -> Result<()> {
    let wrong = |what: &str, expected: String| Err(Error::new(ErrorKind::Config, what).at(settings.address).expected(expected));
    let is_loopback = settings.address.ip().is_loopback();
    if !is_loopback && (settings.token.is_none() || settings.tls.is_none()) {
        return wrong(
            "the page may be reached from other machines",
            "a token and TLS (serve.token_file, serve.certificate, serve.key)".into(),
        )
        .map_err(|e| e.cure("give both, or serve a loopback address such as 127.0.0.1:7380"));
    }
    match &settings.token {
        Some(token) if token.len() < TOKEN_LEN_MIN || !token.bytes().all(|b| b.is_ascii_graphic()) => {
            wrong("the token is no good one", format!("at least {TOKEN_LEN_MIN} ASCII characters without spaces"))
                .map_err(|e| e.cure("make one, such as with: head -c 24 /dev/urandom | base64"))
        }
        _ => Ok(()),
    }
}

impl Desk {
    /// Why it is not well, if so.
    fn ill(&self) -> Option<String> {
        // A slow board answers one window in many.
        let backbone = &self.about.backbone;
        let next = Duration::from_secs_f64((backbone.window_ms + 2.0 * backbone.hop_ms * f64::from(self.handle.stride())) * 1e-3);
        let ago = |n: usize| self.watch.answered_ago(n).unwrap_or_else(|| self.begun.elapsed());
        let ages: Vec<(&str, Duration)> = self.about.microphones.iter().enumerate().map(|(n, name)| (name.as_str(), ago(n))).collect();
        deaf(&ages, DEAF.max(next) + self.about.rest)
    }
}

/// Which microphones are not heard, of which a window was answered so long ago; none when all are.
fn deaf(ages: &[(&str, Duration)], limit: Duration) -> Option<String> {
    let deaf: Vec<String> = ages
        .iter()
        .filter(|(_, age)| *age > limit)
        .map(|(name, age)| format!("{name}: no window was answered for {} s", age.as_secs()))
        .collect();
    (!deaf.is_empty()).then(|| deaf.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_address_cannot_be_had_is_told_apart() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        for (address, kind, cure) in [
            (taken.local_addr().unwrap(), ErrorKind::Busy, "another port"),
            // Of a network that documents are written with (RFC 5737).
            ("192.0.2.1:7380".parse().unwrap(), ErrorKind::Config, "an address that this device has"),
        ] {
            let error = unbound(address, TcpListener::bind(address).unwrap_err());
            assert!(error.kind() == kind && error.to_string().contains(cure), "{error}");
        }
    }

    #[test]
    fn the_page_knows_background_by_its_name() {
        let says = format!("const ORDINARY = \"{}\";", crate::store::ORDINARY);
        assert!(page::FILES.iter().any(|(_, _, text)| text.contains(&says)));
    }

    #[test]
    fn one_deaf_microphone_of_two_is_named() {
        let (s, limit) = (Duration::from_secs, Duration::from_secs(30));
        assert_eq!(deaf(&[("yeti", s(30)), ("moth", s(1))], limit), None);
        assert_eq!(deaf(&[("yeti", s(1)), ("moth", s(95))], limit).unwrap(), "moth: no window was answered for 95 s");
    }

    #[test]
    fn beyond_loopback_a_token_and_tls_are_needed() {
        let pair = || Some(("chain.pem".into(), "key.pem".into()));
        let settings = |address: &str, token: Option<&str>, tls| ServeSettings {
            address: address.parse().unwrap(),
            hosts: vec![],
            token: token.map(str::to_owned),
            tls,
        };
        let long = Some("0123456789abcdef");
        assert!(check(&settings("127.0.0.1:0", None, None)).is_ok());
        assert!(check(&settings("[::1]:0", long, None)).is_ok());
        assert!(check(&settings("0.0.0.0:80", long, pair())).is_ok());
        for (address, token, tls) in [
            ("0.0.0.0:80", None, pair()),
            ("0.0.0.0:80", long, None),
            ("192.168.1.2:80", None, None),
            ("127.0.0.1:0", Some("short"), None),
            ("127.0.0.1:0", Some("0123456789 abcdef"), None),
        ] {
            let error = check(&settings(address, token, tls)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{address} {token:?}: {error}");
        }
    }
}
