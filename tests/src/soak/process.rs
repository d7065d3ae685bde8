//! A process `wheateard` that hears a sound server, is asked over HTTP, and is told to end as a service manager does.

use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wheatear::{Error, ErrorKind, Result};

use crate::http;
use crate::sound_server::SoundServer;
use crate::usage::Usage;

/// The heap's settings, as boards/wheateard.service has them.
pub const HEAP: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// How long it may take to start, and to end.
const LONG: Duration = Duration::from_secs(60);

/// A daemon that runs; it ends when this is dropped.
pub struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    /// Starts the program with `config`, all of whose relative paths lie in `folder`; what it logs lies there, too.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it cannot be started, `Limit` when it is not ready in time.
    pub fn start(program: &Path, folder: &Path, config: &str, server: &SoundServer) -> Result<Daemon> {
        let (socket, file, log) = (folder.join("notify"), folder.join("wheatear.toml"), folder.join("log"));
        std::fs::write(&file, config).map_err(|e| Error::io("write", &file, e))?;
        let said = File::create(&log).map_err(|e| Error::io("create", &log, e))?;
        let manager = UnixDatagram::bind(&socket).map_err(|e| Error::io("listen at", &socket, e))?;
        manager.set_read_timeout(Some(LONG)).map_err(|e| Error::io("listen at", &socket, e))?;
        let mut command = Command::new(program);
        for variable in ["WHEATEAR_ADAPTER", "WHEATEAR_BACKBONE", "WHEATEAR_BOARD", "WHEATEAR_CONFIG", "RUST_LOG", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.arg("--config").arg(&file).envs(server.environment()).env("NOTIFY_SOCKET", &socket).envs(HEAP);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = child.spawn().map_err(|e| Error::io("start", program, e).cure("cargo xtask prove soak builds it"))?;
        let mut daemon = Daemon { child, address: String::new() };
        let mut bytes = [0; 4096];
        while daemon.address.is_empty() {
            let told = manager.recv(&mut bytes).map_err(|e| {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Error::new(ErrorKind::Limit, "the daemon is not ready").at(program.display()).expected("READY=1").found(said).because(e)
            })?;
            let told = String::from_utf8_lossy(&bytes[..told]);
            let served = told.lines().find_map(|l| l.strip_prefix("STATUS=listening, served at "));
            daemon.address = served.unwrap_or_default().to_owned();
        }
        Ok(daemon)
    }

    /// Where it is served.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// As [`http::json`]; `Input` when it refuses.
    pub fn status(&self) -> Result<Value> {
        match http::json(&self.address, "GET", "/api/v1/status", "")? {
            (200, status) => Ok(status),
            (code, answer) => Err(Error::new(ErrorKind::Input, "the daemon does not say how it stands").found(format!("{code} {answer}"))),
        }
    }

    /// What it takes.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// `Storage` when it does not end well, `Limit` when it does not end.
    pub fn stop(mut self) -> Result<()> {
        let failed = |e: std::io::Error| Error::io("end", "wheateard", e);
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|e| failed(e.into()))?;
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            match self.child.try_wait().map_err(failed)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Error::new(ErrorKind::Storage, "the daemon did not end well").found(status)),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(Error::new(ErrorKind::Limit, "the daemon does not end").expected(format!("within {} s", LONG.as_secs())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
