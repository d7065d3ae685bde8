//! Connections: so many at once, each with time limits, through TLS where there is a certificate.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
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

use super::CONNECTIONS;
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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let turn = tokio::select! {
            // Who comes on top waits in the system's own queue.
            turn = room.clone().acquire_owned() => turn,
            _ = &mut stopped => return,
        };
        let taken = tokio::select! { taken = listener.accept() => taken, _ = &mut stopped => return };
        match (taken, turn) {
            (Ok((stream, _)), Ok(turn)) => drop(tokio::spawn(connection(stream, tls.clone(), router.clone(), turn))),
            (Err(e), _) => {
                log::warn!("a connection could not be taken: {e}");
                tokio::time::sleep(PAUSE).await;
            }
            // The semaphore is never closed.
            (_, Err(_)) => return,
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, _turn: OwnedSemaphorePermit) {
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
