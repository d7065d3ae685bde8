//! Rows by class, as results tell them.

use serde::Serialize;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::Tally;

/// Rows of a class, of a retired one or of background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassRows {
    /// `class`, `retired` or `background`.
    kind: &'static str,
    /// Name of the class; of a retired one the digits that stand for it, none for background.
    class: Option<String>,
    rows: u64,
}

/// Each entry of `tally`.
pub fn list(tally: &Tally) -> Vec<ClassRows> {
    let entry = |(class, rows): (&Option<ClassName>, &u64)| match class {
        None => ClassRows { kind: "background", class: None, rows: *rows },
        Some(name) if name.is_retired() => ClassRows { kind: "retired", class: Some(anonymous(name)), rows: *rows },
        Some(name) => ClassRows { kind: "class", class: Some(name.to_string()), rows: *rows },
    };
    tally.iter().map(entry).collect()
}

/// In one line: `wren 14, robin 3`.
pub fn line(rows: &[ClassRows]) -> String {
    let text = |r: &ClassRows| match (r.kind, &r.class) {
        ("class", Some(name)) => format!("{name} {}", r.rows),
        (kind, _) => format!("{kind} {}", r.rows),
    };
    if rows.is_empty() { "nothing".to_owned() } else { rows.iter().map(text).collect::<Vec<_>>().join(", ") }
}

/// What stands for the name of a retired class, without the character that cannot be typed.
pub fn anonymous(retired: &ClassName) -> String {
    retired.as_str().trim_start_matches(char::is_control).to_owned()
}

/// True when the labels name the class, as heard or as not heard.
pub fn names(labels: &LabelSet, class: &ClassName) -> bool {
    labels.positive().contains(class) || labels.negative().contains(class)
}
