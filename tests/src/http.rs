//! What speaks to a daemon over HTTP: a request and its answer, and the stream of what is told as it comes. HTTP/1.0, so that the end of an
//! answer is the end of the connection; without TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use wheatear::{Error, ErrorKind, Result};

/// How long an answer, and a pause in a stream, may take.
const LONG: Duration = Duration::from_secs(60);

/// Asks, and returns the status with the body.
///
/// # Errors
/// `Storage` when nobody answers.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let (status, mut reader) = open(address, method, path, body)?;
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|e| broken(address, path, e))?;
    Ok((status, text))
}

/// Asks for what is JSON; null where it is none.
///
/// # Errors
/// As [`ask`].
pub fn json(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
    let (status, text) = ask(address, method, path, body)?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// What is told on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A message: its name and what it says.
    Message(String, String),
    /// Who reads was too slow for so many messages.
    Lost(u64),
}

/// A stream of server-sent events.
pub struct Stream {
    reader: BufReader<TcpStream>,
    line: String,
}

impl Stream {
    /// Opens the stream at `path`.
    ///
    /// # Errors
    /// `Storage` when nobody answers, `Input` when the answer is no stream.
    pub fn open(address: &str, path: &str) -> Result<Stream> {
        match open(address, "GET", path, "")? {
            (200, reader) => Ok(Stream { reader, line: String::new() }),
            (status, _) => Err(Error::new(ErrorKind::Input, "no stream is given").at(path).expected("200").found(status)),
        }
    }

    /// The next that is told; none at the stream's end.
    ///
    /// # Errors
    /// `Storage` when it breaks off.
    pub fn read(&mut self) -> Result<Option<Told>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            self.line.clear();
            let n = self.reader.read_line(&mut self.line).map_err(|e| Error::io("read", "the stream", e))?;
            let line = self.line.trim_end_matches(['\r', '\n']);
            if n == 0 {
                return Ok(None);
            } else if let Some(lost) = line.strip_prefix(": lost ").or_else(|| line.strip_prefix(":lost ")) {
                return Ok(Some(Told::Lost(lost.trim().parse().unwrap_or(0))));
            } else if line.is_empty() {
                if !data.is_empty() {
                    return Ok(Some(Told::Message(name, data)));
                }
            } else if let Some((key, value)) = line.split_once(':') {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match key {
                    "event" => value.clone_into(&mut name),
                    "data" => value.clone_into(&mut data),
                    // Numbers of events, and comments that show that the line is up.
                    _ => {}
                }
            }
        }
    }
}

/// Asks, and reads up to the body.
fn open(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, BufReader<TcpStream>)> {
    let failed = |e| broken(address, path, e);
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(LONG)).map_err(failed)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .map_err(failed)?;
    let mut reader = BufReader::new(stream);
    let mut status = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(failed)? == 0 || line.trim_end().is_empty() {
            return Ok((status, reader));
        }
        if line.starts_with("HTTP/1.") {
            status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        }
    }
}

fn broken(address: &str, path: &str, e: std::io::Error) -> Error {
    Error::io("ask", format!("http://{address}{path}"), e)
}
