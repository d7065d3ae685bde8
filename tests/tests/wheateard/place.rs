//! A place where a daemon runs: a microphone without hardware, a configuration, and a service manager that is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::command::{built, clean, root};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wheatear_tests::sound_server::SoundServer;

pub const LONG: Duration = Duration::from_secs(60);

pub fn wheateard() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    clean(Command::new(BINARY.get_or_init(|| built("wheateard", &["-p", "wheatear", "--features", "wheateard"]))))
}

/// A microphone, and a folder with the daemon's configuration.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub server: SoundServer,
}

/// A daemon that runs.
pub struct Running {
    pub child: Child,
    /// What the service manager is told; as a real one, it takes every message at once.
    pub manager: Receiver<String>,
}

impl Place {
    pub fn new(config: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let server = SoundServer::start(&home).unwrap_or_else(|e| panic!("{e}"));
        let place = Place { folder, server };
        place.configure(config);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configure(&self, more: &str) {
        let backbone = root().join("target/assets/models/aisfx");
        let text = format!("[backbone]\nfolder = {backbone:?}\n[adapter]\nfolder = \"adapter\"\n{more}");
        std::fs::write(self.path("wheatear.toml"), text).unwrap();
    }

    pub fn start(&self) -> Running {
        self.start_at("127.0.0.1:0")
    }

    /// Served at this address.
    pub fn start_at(&self, address: &str) -> Running {
        self.launch(wheateard(), address)
    }

    /// Starts `command`, which is `wheateard` with something around it.
    pub fn launch(&self, mut command: Command, address: &str) -> Running {
        let socket = self.path("notify");
        // Of a daemon before.
        _ = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        command.arg("--config").arg(self.path("wheatear.toml")).args(["--set", &format!("serve.address={address}")]);
        command.envs(self.server.environment()).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000000");
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let (tell, told) = channel();
        // It ends with whoever asks what was told, or with this test.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = manager.recv(&mut bytes) {
                if tell.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Running { child, manager: told }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Plays a note, and waits until all of it must have been heard.
    pub fn play(&self, note: &Path) {
        assert!(self.server.play(note).unwrap().wait().unwrap().success());
        std::thread::sleep(Duration::from_millis(1500));
    }
}

impl Running {
    /// What the service manager is told, up to a message with this in it.
    pub fn told(&self, what: &str) -> String {
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            let text = self.manager.recv_timeout(LONG).unwrap_or_else(|e| panic!("{what}: {e}"));
            if text.lines().any(|l| l.starts_with(what)) {
                return text;
            }
        }
        panic!("the service manager was not told {what}");
    }

    pub fn address(ready: &str) -> String {
        ready.lines().find_map(|l| l.strip_prefix("STATUS=listening, served at ")).unwrap_or_else(|| panic!("{ready}")).to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Names of its threads, and in what of the system each waits.
    fn threads(&self) -> String {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten().map(|task| task.path());
        let of =
            |task: PathBuf| ["comm", "wchan"].map(|name| std::fs::read_to_string(task.join(name)).unwrap_or_default().trim().to_owned());
        tasks.map(|task| of(task).join(" ")).collect::<Vec<_>>().join(", ")
    }

    /// Its exit code, within a bounded time.
    pub fn ends(mut self) -> i32 {
        let until = Instant::now() + LONG;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code().unwrap_or(-1),
                None => assert!(Instant::now() < until, "the daemon does not end: {}", self.threads()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub fn request(address: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    request_with(address, method, path, "", body).unwrap()
}

/// With more headers. The status is 0 where there was no answer, and the answer null where it was cut off.
pub fn request_with(address: &str, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        }
        if let Some(rest) = line.strip_prefix("content-length:") {
            length = rest.trim().parse::<u64>().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    // Not every server closes when it is asked to.
    let mut text = String::new();
    reader.take(length.unwrap_or(u64::MAX)).read_to_string(&mut text)?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Asks until it `is` so.
pub fn wait_for(address: &str, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + LONG;
    loop {
        let (_, answer) = request(address, "GET", path, "");
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
