//! The one error type: what went wrong, where, what was expected, what was found and what to do next.
//!
//! The [`ErrorKind`] says what the caller can do; the text is for a person. Errors are built where the fact is known
//! and carried up unchanged, so nothing is guessed later.

use std::fmt;

/// What the caller can do about an [`Error`]; each kind has a stable exit code for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input (sound, array, label, ONNX file) cannot be used: give another one or mend it.
    Input,
    /// Something that must be installed or pointed to was not found.
    Missing,
    /// Two things do not belong together (adapter and backbone, digest and file).
    Mismatch,
    /// The configuration or a manifest is wrong: edit the named key.
    Config,
    /// The file system refused: free space, change permissions, then reopen.
    Storage,
    /// Another process holds it: wait, or end that process.
    Busy,
    /// Stored bytes fail their checksum: restore or repair.
    Corrupt,
    /// The backbone failed or returned something unusable.
    Backbone,
    /// A bound fixed at start is reached: raise it, or make room.
    Limit,
    /// Learning or solving cannot proceed with what has been learned so far.
    Learn,
}

impl ErrorKind {
    /// The process exit code of a command that ends with this kind (1 is kept for the unforeseen, 2 for usage).
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Input => 3,
            ErrorKind::Missing => 4,
            ErrorKind::Mismatch => 5,
            ErrorKind::Config => 6,
            ErrorKind::Storage => 7,
            ErrorKind::Busy => 8,
            ErrorKind::Corrupt => 9,
            ErrorKind::Backbone => 10,
            ErrorKind::Limit => 11,
            ErrorKind::Learn => 12,
        }
    }
}

/// An error a person can act on. Build it with [`Error::new`] and the fluent setters.
///
/// ```
/// use wheatear::{Error, ErrorKind};
/// let e = Error::new(ErrorKind::Input, "not a sound file").at("wren.wav").expected("RIFF").found("%PDF").cure("give a WAV, FLAC, OGG or MP3 file");
/// assert_eq!(e.to_string(), "not a sound file: wren.wav (expected RIFF, found %PDF); give a WAV, FLAC, OGG or MP3 file");
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    what: String,
    at: Option<String>,
    expected: Option<String>,
    found: Option<String>,
    cure: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error of `kind`; `what` says what went wrong, in lower case and without a full stop.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, what: what.into(), at: None, expected: None, found: None, cure: None, source: None }))
    }

    /// An I/O failure on `path`; the cure names the usual causes.
    pub fn io(doing: &str, path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, cure) = match source.kind() {
            Io::NotFound => (ErrorKind::Missing, "check the path"),
            Io::PermissionDenied | Io::ReadOnlyFilesystem => {
                (ErrorKind::Storage, "make it readable and writable for this user, or choose another place")
            }
            Io::StorageFull | Io::QuotaExceeded => {
                (ErrorKind::Storage, "free some space, then run the same command again: nothing acknowledged is lost")
            }
            Io::AlreadyExists | Io::DirectoryNotEmpty => (ErrorKind::Input, "choose another place, or remove what is there"),
            Io::IsADirectory | Io::NotADirectory | Io::InvalidInput | Io::InvalidData => (ErrorKind::Input, "check the path"),
            _ => (ErrorKind::Storage, "check the disk (dmesg, SMART), then try again"),
        };
        Error::new(kind, format!("cannot {doing}"))
            .at(path.as_ref().display().to_string())
            .found(source.to_string())
            .cure(cure)
            .because(source)
    }

    /// Where: a path, a key, a row, a tensor.
    pub fn at(mut self, at: impl fmt::Display) -> Self {
        self.0.at = Some(at.to_string());
        self
    }

    /// Where that is: a file or a folder, put before the place inside it.
    pub fn within(self, outer: impl fmt::Display) -> Self {
        let outer = outer.to_string();
        match &self.0.at {
            Some(at) if at.starts_with(&outer) => self,
            Some(at) => {
                let at = format!("{outer}, {at}");
                self.at(at)
            }
            None => self.at(outer),
        }
    }

    /// What was expected there.
    pub fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.0.expected = Some(expected.to_string());
        self
    }

    /// What was found instead.
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.0.found = Some(found.to_string());
        self
    }

    /// What to do next.
    pub fn cure(mut self, cure: impl fmt::Display) -> Self {
        self.0.cure = Some(cure.to_string());
        self
    }

    /// The underlying error, kept as [`std::error::Error::source`].
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong, without where.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Where it happened, if known.
    pub fn place(&self) -> Option<&str> {
        self.0.at.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        f.write_str(&e.what)?;
        if let Some(at) = &e.at {
            write!(f, ": {at}")?;
        }
        match (&e.expected, &e.found) {
            (Some(x), Some(y)) => write!(f, " (expected {x}, found {y})")?,
            (Some(x), None) => write!(f, " (expected {x})")?,
            (None, Some(y)) => write!(f, " ({y})")?,
            (None, None) => {}
        }
        if let Some(cure) = &e.cure {
            write!(f, "; {cure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}
