//! Label sets as text: `wren;robin` (both are heard), `!wren` (it is not a wren), `robin;!wren`, and `!*` (background: no class). A name
//! that has a semicolon in it, or begins with an exclamation or quotation mark, stands in quotes: `"a;b"`, `!"*"`.

use std::collections::BTreeSet;

use crate::learn::{ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// Stands for background.
const BACKGROUND: &str = "!*";

/// The labels that `text` says.
///
/// # Errors
/// `Input` when a name is missing or cannot be one, a quotation mark is not closed, a class is said twice, or both heard and not.
pub fn parse(text: &str) -> Result<LabelSet> {
    if text.trim() == BACKGROUND {
        return Ok(LabelSet::background());
    }
    let bad = |what: &str| {
        let error = Error::new(ErrorKind::Input, what).at(format!("{text:?}"));
        error.expected("wren, wren;robin, !wren, robin;!wren or !*; a name with ; or a leading ! in quotes").cure("correct the label")
    };
    let (mut positive, mut negative) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = text.trim();
    loop {
        let is_negative = rest.starts_with('!');
        rest = rest.strip_prefix('!').unwrap_or(rest).trim_start();
        let name = match rest.strip_prefix('"') {
            Some(inside) => {
                let (name, behind) = unquote(inside).ok_or_else(|| bad("a quotation mark in a label is not closed"))?;
                rest = behind;
                name
            }
            None => {
                let (name, behind) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
                if name.starts_with('!') {
                    return Err(bad("a name with a leading ! needs quotes"));
                }
                rest = behind;
                name.to_owned()
            }
        };
        let class = ClassName::new(&name).map_err(|e| bad("a label has no usable class name").because(e))?;
        if !if is_negative { &mut negative } else { &mut positive }.insert(class) {
            return Err(bad("a label is said twice"));
        }
        rest = rest.trim_start();
        match rest.strip_prefix(';') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => break,
            None => return Err(bad("something stands behind a quoted name")),
        }
    }
    LabelSet::new(positive, negative)
}

/// The name up to the closing quotation mark (two of them are one of the name), and what stands behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        name += part;
        rest = match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                behind
            }
            None => return Some((name, behind)),
        };
    }
}

/// As [`parse`] reads them again.
pub fn text(labels: &LabelSet) -> String {
    if *labels == LabelSet::background() {
        return BACKGROUND.to_owned();
    }
    let positive = labels.positive().iter().map(|c| quoted(c.as_str()));
    positive.chain(labels.negative().iter().map(|c| format!("!{}", quoted(c.as_str())))).collect::<Vec<_>>().join(";")
}

/// A class name, in quotes where it needs them.
pub fn quoted(name: &str) -> String {
    match name.contains(';') || name.starts_with(['!', '"']) || name == "*" {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(positive: &[&str], negative: &[&str]) -> LabelSet {
        let names = |names: &[&str]| names.iter().map(|n| ClassName::new(n).unwrap()).collect();
        LabelSet::new(names(positive), names(negative)).unwrap()
    }

    #[test]
    fn sets_are_read_as_they_are_written_whatever_is_in_a_name() {
        for (said, labels) in [
            ("wren", set(&["wren"], &[])),
            ("AC/DC hum, 50 Hz", set(&["AC/DC hum, 50 Hz"], &[])),
            ("wren;robin", set(&["wren", "robin"], &[])),
            (" wren ; ! jay ", set(&["wren"], &["jay"])),
            ("!wren", set(&[], &["wren"])),
            ("!*", LabelSet::background()),
            ("!\"*\"", set(&[], &["*"])),
            ("\"a;b\";!\"!x\"", set(&["a;b"], &["!x"])),
            ("\"say \"\"hi\"\"\"", set(&["say \"hi\""], &[])),
            ("say \"hi\"", set(&["say \"hi\""], &[])),
            ("\"\"\"hi\"\" she said\"", set(&["\"hi\" she said"], &[])),
        ] {
            assert_eq!(parse(said).unwrap(), labels, "{said}");
            assert_eq!(parse(&text(&labels)).unwrap(), labels, "{}", text(&labels));
        }
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_refused() {
        for (said, part) in [
            ("", "no usable class name"),
            ("wren;", "no usable class name"),
            ("wren;;robin", "no usable class name"),
            ("!", "no usable class name"),
            ("wren;wren", "twice"),
            ("wren;!wren", "both be a class and not be it"),
            ("\"wren", "not closed"),
            ("\"wren\" robin", "behind a quoted name"),
            ("!!wren", "needs quotes"),
        ] {
            let error = parse(said).unwrap_err();
            assert!(error.kind() == ErrorKind::Input && error.to_string().contains(part), "{said}: {error}");
        }
    }
}
