//! Standard output: a reader that stops early (`| head`) ends the command quietly, any other failure is an error.

use std::io::{ErrorKind as Io, IsTerminal, Write};

use wheatear::Error;

/// Writes `text` to standard output.
///
/// # Errors
/// When it cannot be written, for another reason than a reader that is gone.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == Io::BrokenPipe => Ok(()),
        other => Ok(other.map_err(|e| Error::io("write", "standard output", e))?),
    }
}

/// `text` in bold when standard output is a terminal that wants colours.
pub fn bold(text: &str) -> String {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
