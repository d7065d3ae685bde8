//! An MQTT broker for tests: Debian's mosquitto on a free port of this machine, and its own clients, which hear and speak to what is tested.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use wheatear::{Error, ErrorKind, Result};

/// How long anything may take.
pub const LONG: Duration = Duration::from_secs(30);
/// What a listener prints: retained, topic, correlation data, text.
const LINE: &str = "%r|%t|%D|%p";

/// What a listener is called by.
const READY: &str = "ready";

/// A running mosquitto, ended when it is dropped.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    /// Further settings.
    more: String,
    child: Option<Child>,
}

/// A message as a listener got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whether it was kept by the broker from before.
    pub retained: bool,
    /// Its topic.
    pub topic: String,
    /// What its asker knows it by.
    pub correlation: String,
    /// Its text.
    pub text: String,
}

/// A client that hears everything.
pub struct Listener {
    child: Child,
    messages: Receiver<Message>,
    /// Messages that were passed over.
    waiting: VecDeque<Message>,
}

/// A port of this machine that nobody listens on.
///
/// # Errors
/// `Storage` when there is none.
pub fn free_port() -> Result<u16> {
    let found = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    found.map(|address| address.port()).map_err(|e| Error::io("find a free port", "127.0.0.1", e))
}

impl Broker {
    /// Starts a broker on `port`, with its files in `folder`. Who gives a user name must be known ([`Broker::know`]).
    ///
    /// # Errors
    /// `Missing` when mosquitto is not installed; `Limit` when it is not ready in time.
    pub fn start(folder: &Path, port: u16) -> Result<Broker> {
        Broker::with(folder, port, "")
    }

    /// The same, with further settings of mosquitto.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn with(folder: &Path, port: u16, more: &str) -> Result<Broker> {
        let mut broker = Broker { folder: folder.into(), port, more: more.into(), child: None };
        broker.know("", "")?;
        broker.restart()?;
        Ok(broker)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, `user` is let in by `password`, and no other user.
    ///
    /// # Errors
    /// `Missing` when mosquitto is not installed.
    pub fn know(&mut self, user: &str, password: &str) -> Result<()> {
        let file = self.folder.join("passwords");
        fs::write(&file, "").map_err(|e| Error::io("write", &file, e))?;
        if !user.is_empty() {
            // Hashed by mosquitto's own program.
            let hashed = program("mosquitto_passwd").arg("-b").arg(&file).args([user, password]).output();
            hashed.map_err(|e| not_installed("mosquitto_passwd", e))?;
        }
        self.signal("-HUP")
    }

    /// From now on it does nothing, and says nothing, until it is killed.
    ///
    /// # Errors
    /// `Storage` when the system cannot.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("-STOP")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let told = Command::new("kill").args([signal, &child.id().to_string()]).status();
        told.map(drop).map_err(|e| Error::io("signal", "mosquitto", e))
    }

    /// Ends it without any farewell, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has gone already needs no ending.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again after [`Broker::kill`]; it has forgotten everything.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let (settings, said) = (self.folder.join("mosquitto.conf"), self.folder.join("mosquitto.log"));
        let passwords = self.folder.join("passwords");
        // `user root` keeps root's folders readable, where root runs the tests; others stay who they are.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npassword_file {}\nuser root\n{}",
            self.port,
            passwords.display(),
            self.more
        );
        fs::write(&settings, text).map_err(|e| Error::io("write", &settings, e))?;
        let log = File::create(&said).map_err(|e| Error::io("create", &said, e))?;
        let child = program("mosquitto").arg("-c").arg(&settings).stderr(log).spawn().map_err(|e| not_installed("mosquitto", e))?;
        let (child, until) = (self.child.insert(child), Instant::now() + LONG);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(_)) = child.try_wait() {
                return Err(not_ready(&said));
            }
            if Instant::now() > until {
                self.kill();
                return Err(not_ready(&said));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Hears everything from now on.
    ///
    /// # Errors
    /// `Missing` when mosquitto's clients are not installed; `Limit` when it does not hear in time.
    pub fn listen(&self) -> Result<Listener> {
        let mut listener = self.client("mosquitto_sub");
        listener.args(["-q", "1", "-t", "#", "-F", LINE]).stdout(Stdio::piped());
        let mut child = listener.spawn().map_err(|e| not_installed("mosquitto_sub", e))?;
        let Some(out) = child.stdout.take() else { return Err(Error::new(ErrorKind::Storage, "mosquitto_sub has no output")) };
        let ((tell, messages), (ready, is_ready)) = (channel(), channel());
        std::thread::spawn(move || {
            for message in BufReader::new(out).lines().map_while(std::io::Result::ok).filter_map(|line| message(&line)) {
                // Nobody may be listening any more.
                let _ = if message.topic == READY { ready.send(()).is_ok() } else { tell.send(message).is_ok() };
            }
        });
        let listener = Listener { child, messages, waiting: VecDeque::new() };
        // It does not say when it hears, so it is called until it does.
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            self.publish(READY, "", &[])?;
            if is_ready.recv_timeout(Duration::from_millis(100)).is_ok() {
                return Ok(listener);
            }
        }
        Err(Error::new(ErrorKind::Limit, "mosquitto_sub does not hear").expected(format!("within {} s", LONG.as_secs())))
    }

    /// Publishes `text`; `more` are further arguments of `mosquitto_pub`.
    ///
    /// # Errors
    /// `Missing` when mosquitto's clients are not installed; `Storage` when it could not.
    pub fn publish(&self, topic: &str, text: &str, more: &[&str]) -> Result<()> {
        let mut publisher = self.client("mosquitto_pub");
        publisher.args(["-q", "1", "-t", topic, if text.is_empty() { "-n" } else { "-s" }]).args(more).stdin(Stdio::piped());
        let mut child = publisher.spawn().map_err(|e| not_installed("mosquitto_pub", e))?;
        let failed = |e| Error::io("publish", topic, e);
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text.as_bytes()).map_err(failed)?;
        }
        let ended = child.wait().map_err(failed)?;
        if ended.success() { Ok(()) } else { Err(Error::new(ErrorKind::Storage, "mosquitto_pub failed").at(topic).found(ended)) }
    }

    fn client(&self, name: &str) -> Command {
        let mut client = program(name);
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-V", "mqttv5"]);
        client
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Listener {
    /// The first message that `is` wanted; the others wait for who asks for them.
    ///
    /// # Errors
    /// `Limit` when none comes in time, with the messages that did.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Message) -> bool) -> Result<Message> {
        if let Some(message) = self.waiting.iter().position(&is).and_then(|n| self.waiting.remove(n)) {
            return Ok(message);
        }
        let until = Instant::now() + LONG;
        loop {
            match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) if is(&message) => return Ok(message),
                Ok(message) => self.waiting.push_back(message),
                Err(_) => {
                    let found: Vec<String> = self.waiting.iter().map(|m| format!("{} {}", m.topic, m.text)).collect();
                    return Err(Error::new(ErrorKind::Limit, "this was not published").expected(what).found(found.join("\n")));
                }
            }
        }
    }

    /// The next message under `topic`.
    ///
    /// # Errors
    /// As [`Listener::wait_for`].
    pub fn under(&mut self, topic: &str) -> Result<Message> {
        self.wait_for(topic, |m| m.topic == topic)
    }

    /// What came and nobody asked for.
    pub fn rest(&mut self) -> Vec<Message> {
        self.waiting.extend(self.messages.try_iter());
        Vec::from(std::mem::take(&mut self.waiting))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line as [`LINE`] has it; others are what the client complains of.
fn message(line: &str) -> Option<Message> {
    let mut parts = line.splitn(4, '|');
    let retained = parts.next().filter(|r| matches!(*r, "0" | "1"))? == "1";
    let (topic, correlation, text) = (parts.next()?.to_owned(), parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Message { retained, topic, correlation, text })
}

fn program(name: &str) -> Command {
    // Debian keeps the broker where not every user looks.
    let beside = Path::new("/usr/sbin").join(name);
    let mut program = if beside.exists() { Command::new(beside) } else { Command::new(name) };
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    program
}

fn not_installed(program: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Missing, "the tests of MQTT need a broker")
        .at(program)
        .found(e.to_string())
        .cure("run cargo xtask setup, which installs mosquitto and mosquitto-clients")
        .because(e)
}

fn not_ready(said: &Path) -> Error {
    let text = fs::read_to_string(said).unwrap_or_default();
    let error = Error::new(ErrorKind::Limit, "the test's mosquitto is not ready").at(said.display());
    error.found(format!("it said:\n{text}")).cure("run cargo xtask setup, which installs mosquitto")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_broker_is_missing_the_packages_are_named() {
        let e = program("no-such-program-here").spawn().map_err(|e| not_installed("mosquitto", e)).unwrap_err();
        let text = e.to_string();
        assert!(e.kind() == ErrorKind::Missing && text.contains("mosquitto and mosquitto-clients"), "{text}");
    }

    #[test]
    fn messages_are_told_from_what_the_client_complains_of() {
        let text = r#"1|a/b||{"x":"a|b"}"#;
        let expected = Message { retained: true, topic: "a/b".into(), correlation: String::new(), text: r#"{"x":"a|b"}"#.into() };
        assert_eq!(message(text), Some(expected));
        assert_eq!(message("Error: Connection lost | a | b | c"), None);
    }
}
