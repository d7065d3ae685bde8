//! Label sets as text: `wren;robin` (both are heard), `!wren` (it is not a wren), `robin;!wren`, and `!*` (background: no class). A name
//! that has a semicolon in it, or begins with an exclamation or quotation mark, stands in quotes: `"a;b"`, `!"*"`. Lists of classes
//! (`relabel --is`) are the same without `!`, and a comma separates names there as a semicolon does: `wren,robin`, `"x, y"`.

use std::collections::BTreeSet;

use super::{ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// Stands for background.
const BACKGROUND: &str = "!*";

/// What is expected of a label set.
const SET: &str = "wren, wren;robin, !wren, robin;!wren or !*; a name with ; or a leading ! in quotes";
/// What is expected of a list of classes.
const LIST: &str = "wren, or wren;robin; a name with ; or , or a leading ! in quotes";

/// The labels that `text` says.
///
/// # Errors
/// `Input` when a name is missing or cannot be one, a quotation mark is not closed, a class is said twice, or both heard and not.
pub fn parse(text: &str) -> Result<LabelSet> {
    if text.trim() == BACKGROUND {
        return Ok(LabelSet::background());
    }
    let (mut positive, mut negative) = (BTreeSet::new(), BTreeSet::new());
    for (is_negative, class) in names(text, &[';'], SET)? {
        if !if is_negative { &mut negative } else { &mut positive }.insert(class) {
            return Err(bad("a label is said twice", text, SET));
        }
    }
    LabelSet::new(positive, negative)
}

/// The classes that `text` lists, as `relabel --is` and `--not` take them.
///
/// # Errors
/// `Input` as [`parse`], and when it says what something is not.
pub fn classes(text: &str) -> Result<Vec<ClassName>> {
    if text.trim() == BACKGROUND {
        return Err(bad("background is no class", text, LIST).cure("say it with --background"));
    }
    let names = names(text, &[';', ','], LIST)?;
    if names.iter().any(|(is_negative, _)| *is_negative) {
        return Err(bad("a leading ! has no place here", text, LIST)
            .cure("say what it is not with --not, without the !; a name that begins with one stands in quotes"));
    }
    Ok(names.into_iter().map(|(_, class)| class).collect())
}

fn bad(what: &str, text: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Input, what).at(format!("{text:?}")).expected(expected).cure("correct the label")
}

/// The names in `text` between `separators`, each with whether an exclamation mark stands before it.
fn names(text: &str, separators: &[char], expected: &str) -> Result<Vec<(bool, ClassName)>> {
    let bad = |what| bad(what, text, expected);
    let mut names = Vec::new();
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
                let (name, behind) = rest.split_at(rest.find(separators).unwrap_or(rest.len()));
                if name.starts_with('!') {
                    return Err(bad("a name with a leading ! needs quotes"));
                }
                rest = behind;
                name.to_owned()
            }
        };
        names.push((is_negative, ClassName::new(&name).map_err(|e| bad("a label has no usable class name").because(e))?));
        rest = rest.trim_start();
        match rest.strip_prefix(separators) {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Ok(names),
            None => return Err(bad("something stands behind a quoted name")),
        }
    }
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
        true => in_quotes(name),
        false => name.to_owned(),
    }
}

/// Class names as [`classes`] reads them again, commas between them.
pub fn class_line<'a>(classes: impl IntoIterator<Item = &'a ClassName>) -> String {
    let quoted = |name: &str| if name.contains(',') { in_quotes(name) } else { quoted(name) };
    classes.into_iter().map(|c| quoted(c.as_str())).collect::<Vec<_>>().join(",")
}

fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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

    #[test]
    fn lists_of_classes_take_commas_and_semicolons_and_are_written_as_they_are_read() {
        for (said, names) in [
            ("wren;robin", &["wren", "robin"][..]),
            ("wren,\"x, y\",a b", &["wren", "x, y", "a b"]),
            (" wren ;  \"x, y\" , a b ", &["wren", "x, y", "a b"]),
            ("\"a;b\",\"!x\"", &["a;b", "!x"]),
            ("\"say \"\"hi\"\", now\"", &["say \"hi\", now"]),
        ] {
            let read = classes(said).unwrap();
            assert_eq!(read.iter().map(ClassName::as_str).collect::<Vec<_>>(), names, "{said}");
            assert_eq!(classes(&class_line(&read)).unwrap(), read, "{}", class_line(&read));
        }
        for (said, part) in [
            ("", "no usable class name"),
            ("wren,,robin", "no usable class name"),
            (",", "no usable class name"),
            ("a\u{7}", "no usable class name"),
            ("!wren", "with --not, without the !"),
            ("robin;!wren", "with --not, without the !"),
            ("!*", "with --background"),
            ("\"wren", "not closed"),
        ] {
            let error = classes(said).unwrap_err();
            assert!(error.kind() == ErrorKind::Input && error.to_string().contains(part), "{said}: {error}");
        }
    }
}
