//! Standard output: a reader that stops early (`| head`) ends the command quietly, any other failure is an error.

use std::io::{ErrorKind as Io, IsTerminal, Write};

use serde::Serialize;
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

/// Writes `facts` as JSON, or as the text that `text` makes of them.
///
/// # Errors
/// As [`print()`].
pub fn print_facts<T: Serialize>(json: bool, facts: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    if json { print(&format!("{}\n", serde_json::to_string_pretty(facts)?)) } else { print(&text(facts)) }
}

/// `n` of `what`, in the plural unless it is one.
pub fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Most sounds that an error names.
const NAMED_MAX: usize = 5;

/// The first of `faults`, each on a line of its own where there are several, and how many there are beside.
pub fn first_few(faults: &[String]) -> String {
    if let [one] = faults {
        return one.clone();
    }
    let more = faults.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("and {more} more"));
    faults.iter().take(NAMED_MAX).chain(&more).map(|fault| format!("\n  {fault}")).collect()
}

/// `text` in bold when standard output is a terminal that wants colours.
pub fn bold(text: &str) -> String {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_are_named_and_the_others_counted() {
        let faults: Vec<String> = (0..7).map(|i| format!("fault {i}")).collect();
        assert_eq!(first_few(&faults[..1]), "fault 0");
        assert_eq!(first_few(&faults[..2]), "\n  fault 0\n  fault 1");
        let said = first_few(&faults);
        assert!(said.contains("fault 4") && !said.contains("fault 5") && said.ends_with("\n  and 2 more"), "{said}");
    }
}
