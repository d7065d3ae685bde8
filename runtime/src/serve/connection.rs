//! Connections: so many at once, of one peer fewer, each with time limits, through TLS where there is a certificate.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{CONNECTIONS, CONNECTIONS_OF_PEER};
use crate::{Error, ErrorKind, Result};

/// How long a request's headers, or a handshake, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what was sent may stay unconfirmed: a client that reads nothing is dropped then.
const UNREAD: Duration = Duration::from_secs(30);
/// Longest head of a request.
const HEAD_LEN_BYTES: usize = 16 * 1024;
/// After a failure to take a connection, such as of too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// TLS with the certificate chain and the key in these PEM files.
///
/// # Errors
/// `Missing`, `Storage` or `Config` when they cannot be used.
pub(super) fn tls(chain: &Path, key: &Path) -> Result<TlsAcceptor> {
    let wrong = |path: &Path, e: String| {
        Error::new(ErrorKind::Config, "this cannot be used for TLS").at(path.display()).found(e).cure("give a PEM file")
    };
    for path in [chain, key] {
        std::fs::File::open(path).map_err(|e| Error::io("read for TLS", path, e))?;
    }
    let certificates =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| wrong(chain, e.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, e.to_string()))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|c| c.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|e| wrong(chain, e.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes connections until it is stopped.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, mut stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => return log::error!("the page cannot be served: {e}"),
    };
    let (room, peers) = (Arc::new(Semaphore::new(CONNECTIONS)), Peers::default());
    loop {
        let turn = tokio::select! {
            // Who comes on top waits in the system's own queue.
            turn = room.clone().acquire_owned() => turn,
            _ = &mut stopped => return,
        };
        let taken = tokio::select! { taken = listener.accept() => taken, _ = &mut stopped => return };
        match (taken, turn) {
            (Ok((stream, address)), Ok(turn)) => match peers.enter(address.ip()) {
                Some(entry) => drop(tokio::spawn(connection(stream, tls.clone(), router.clone(), (turn, entry)))),
                None => log::debug!("{address} has {CONNECTIONS_OF_PEER} connections already"),
            },
            (Err(e), _) => {
                log::warn!("a connection could not be taken: {e}");
                tokio::time::sleep(PAUSE).await;
            }
            // The semaphore is never closed.
            (_, Err(_)) => return,
        }
    }
}

/// How many connections each peer has, so that one that never says its token cannot keep the others out.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A connection of a peer, until it is dropped.
struct Entry(Peers, IpAddr);

impl Peers {
    /// None when the peer has as many as it may. Whoever is on this device is not counted: a proxy speaks for many.
    fn enter(&self, address: IpAddr) -> Option<Entry> {
        let address = match address.to_canonical() {
            // A network gives its machines as many addresses of these 64 bits as they like.
            IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            other => other,
        };
        let mut peers = self.all();
        let count = peers.entry(address).or_insert(0);
        if *count == CONNECTIONS_OF_PEER && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Entry(self.clone(), address))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut peers = self.0.all();
        let left = peers.get(&self.1).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => peers.remove(&self.1),
            left => peers.insert(self.1, left),
        };
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, _turn: (OwnedSemaphorePermit, Entry)) {
    let socket = socket2::SockRef::from(&stream);
    if let Err(e) = socket.set_tcp_user_timeout(Some(UNREAD)).and_then(|()| stream.set_nodelay(true)) {
        log::debug!("a connection keeps its usual time limits: {e}");
    }
    match tls {
        None => speak(TokioIo::new(stream), router).await,
        Some(tls) => match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(TokioIo::new(stream), router).await,
            Ok(Err(e)) => log::debug!("a connection did not speak TLS: {e}"),
            Err(_) => log::debug!("a connection did not finish its handshake"),
        },
    }
}

async fn speak<S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static>(stream: S, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_LEN_BYTES);
    if let Err(e) = http.serve_connection(stream, TowerToHyperService::new(router)).await {
        log::debug!("a connection ended: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_cannot_have_all_connections() {
        let peers = Peers::default();
        let fill = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            (0..CONNECTIONS).map_while(|_| peers.enter(address)).collect::<Vec<_>>()
        };
        let mut held = fill("192.0.2.7");
        assert_eq!(held.len(), CONNECTIONS_OF_PEER);
        assert!(fill("::ffff:192.0.2.7").is_empty(), "the same peer by IPv6");
        assert_eq!(fill("192.0.2.8").len(), CONNECTIONS_OF_PEER);
        held.pop();
        assert_eq!(fill("192.0.2.7").len(), 1);
        let network = fill("2001:db8::1");
        assert_eq!(
            (network.len(), fill("2001:db8::2").len(), fill("2001:db8:0:1::1").len()),
            (CONNECTIONS_OF_PEER, 0, CONNECTIONS_OF_PEER)
        );
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(fill(address).len(), CONNECTIONS);
        }
        drop((held, network));
        assert!(peers.all().is_empty(), "nothing is kept of who has gone");
    }
}
