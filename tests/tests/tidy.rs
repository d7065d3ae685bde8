//! Conventions of the repository that a reader relies on, kept by a test: file size and first line, where `unsafe` and
//! `ort` may stand, no open ends, nothing that works on one machine only.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const MAX_LINES: usize = 600;
/// Largest file kept in the repository, in bytes.
const MAX_BYTES: u64 = 2_000_000;
/// The only places with `unsafe`: kernels behind a CPU-feature check, what measures the processor's peak beside them, the read-only map, and
/// two calls of the system.
const UNSAFE_IN: [&str; 6] = [
    "runtime/src/backbone/telemetry.rs",
    "runtime/src/clock.rs",
    "runtime/src/kernel/avx2/",
    "runtime/src/kernel/neon/",
    "runtime/benches/gram.rs",
    "runtime/src/store/map.rs",
];
/// The only folder that knows ONNX Runtime's Rust API.
const ORT_IN: &str = "runtime/src/backbone/";
/// Folders that are made, not written.
const MADE: [&str; 4] = ["target", ".git", "__pycache__", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the repository, its path relative to the root with `/`, sorted.
fn files() -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !MADE.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{prefix}{name}/"), found);
            } else if kind.is_file() && name != ".git" {
                found.push(format!("{prefix}{name}"));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    found.sort();
    assert!(found.len() > 20 && found.contains(&"Cargo.toml".to_string()), "this is not the repository: {found:?}");
    found
}

/// Each text file with its contents; files that are not UTF-8 are left out.
fn texts(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let wanted = files().into_iter().filter(|f| wanted(f));
    wanted.filter_map(|f| fs::read_to_string(root().join(&f)).ok().map(|text| (f, text))).collect()
}

fn rust() -> Vec<(String, String)> {
    texts(|f| f.ends_with(".rs"))
}

/// `place: line` for each line of `sources` that `bad` holds for.
fn lines(sources: &[(String, String)], bad: impl Fn(&str) -> bool) -> Vec<String> {
    let all = sources.iter().flat_map(|(file, text)| text.lines().enumerate().map(move |(i, line)| (file, i + 1, line)));
    all.filter(|(_, _, line)| bad(line)).map(|(file, i, line)| format!("{file}:{i}: {}", line.trim())).collect()
}

/// Whether `line` holds `word` with no letter, digit or `_` on either side.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(inside) && !line[at + word.len()..].starts_with(inside))
}

/// Whether `line` names something of the crate `ort`.
fn names_ort(line: &str) -> bool {
    has_word(line, "ort") && (line.contains("ort::") || line.contains("use ort"))
}

/// The line without its comment and without what its string literals say.
fn code(line: &str) -> String {
    let line = line.replace("\\\"", "");
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_source_file_opens_with_what_it_does() {
    let silent = rust().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(f, _)| f).collect();
    none("start these files with a //! line", silent);
    let scripts = texts(|f| f.ends_with(".py"));
    let silent = scripts.into_iter().filter(|(_, text)| !text.starts_with("\"\"\"") && !text.starts_with('#')).map(|(f, _)| f).collect();
    none("start these scripts with what they do", silent);
}

#[test]
fn no_source_file_is_longer_than_one_reads_in_one_go() {
    let sources = texts(|f| f.ends_with(".rs") || f.ends_with(".py") || f.ends_with(".sh"));
    let long = sources.into_iter().filter(|(_, text)| text.lines().count() > MAX_LINES);
    none("look for a seam in these", long.map(|(f, text)| format!("{f}: {} lines", text.lines().count())).collect());
}

#[test]
fn no_large_file_is_kept() {
    // Models made beside their recipe are ignored by git.
    let kept = files().into_iter().filter(|f| f != "Cargo.lock" && !f.ends_with(".onnx") && !f.ends_with(".pth"));
    let large = kept.filter(|f| fs::metadata(root().join(f)).unwrap().len() > MAX_BYTES);
    none("these belong under target/assets, made by the set-up", large.collect());
}

#[test]
fn scripts_load_an_onnx_runtime_that_keeps_to_itself() {
    let scripts = texts(|f| f.ends_with(".py"));
    let imports = |text: &str| text.find("\nimport onnxruntime\n").or_else(|| text.find("\nimport onnxruntime  #"));
    let wrong = |text: &str| imports(text).is_some_and(|at| !text[..at].contains("os.environ[\"ORT_DISABLE_TELEMETRY\"] = \"1\""));
    assert!(scripts.iter().filter(|(_, text)| imports(text).is_some()).count() >= 4);
    assert!(wrong("a\nimport onnxruntime\n") && !wrong("import numpy\n"));
    none(
        "onnxruntime without ORT_DISABLE_TELEMETRY=1",
        scripts.iter().filter(|(_, text)| wrong(text)).map(|(file, _)| file.clone()).collect(),
    );
}

#[test]
fn unsafe_stands_only_where_its_reasons_are_kept() {
    let sources: Vec<_> = rust().into_iter().filter(|(f, _)| !UNSAFE_IN.iter().any(|place| f.starts_with(place))).collect();
    none("unsafe outside its files", lines(&sources, |line| has_word(&code(line), "unsafe")));
}

#[test]
fn ort_is_used_only_by_the_backbone() {
    let sources: Vec<_> = rust().into_iter().filter(|(f, _)| !f.starts_with(ORT_IN)).collect();
    none("ort outside the backbone", lines(&sources, |line| names_ort(&code(line))));
    let manifests = texts(|f| f.ends_with("Cargo.toml") && f != "Cargo.toml" && f != "runtime/Cargo.toml");
    none("ort as a dependency elsewhere", lines(&manifests, |line| line.starts_with("ort.") || line.starts_with("ort ")));
}

#[test]
fn nothing_is_left_open() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let sources = texts(|f| [".rs", ".py", ".toml", ".sh", ".md", ".ci/run"].iter().any(|e| f.ends_with(e)));
    none("left open", lines(&sources, |line| marks.iter().any(|m| line.contains(m))));
}

#[test]
fn no_registry_host_and_no_path_of_one_machine_is_named() {
    let sources = texts(|f| f != "Cargo.lock");
    none("works on one machine or through one host only", lines(&sources, |line| names_host(line) || names_home(line)));
}

/// Whether `line` holds a URL at a package registry.
fn names_host(line: &str) -> bool {
    let hosts = [concat!("crates", ".io"), concat!("py", "pi"), concat!("python", "hosted"), concat!("npm", "js"), concat!("deb", "ian")];
    line.split("://").skip(1).any(|rest| {
        let host = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-')).next().unwrap_or_default();
        hosts.iter().any(|h| host.to_ascii_lowercase().contains(h))
    })
}

/// Whether `line` holds an absolute path into the home or working folder of one machine.
fn names_home(line: &str) -> bool {
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let outside = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "_.-}>)".contains(c));
    homes.iter().any(|h| line.match_indices(h).any(|(at, _)| outside(&line[..at])))
}

#[test]
fn every_link_between_files_leads_somewhere() {
    let mut dead = Vec::new();
    let mut links = 0;
    for (file, text) in texts(|f| f.ends_with(".md")) {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            if !root().join(&file).with_file_name("").join(target).exists() {
                dead.push(format!("{file}: {target}"));
            }
        }
    }
    assert!(links > 5, "the README links to its documents");
    none("mend these links", dead);
}

#[test]
fn every_crate_takes_version_edition_and_lints_from_the_workspace() {
    let wanted = ["version.workspace = true", "edition.workspace = true", "rust-version.workspace = true", "[lints]\nworkspace = true"];
    let mut missing = Vec::new();
    for (file, text) in texts(|f| f.ends_with("/Cargo.toml") && !f.contains("fuzz/")) {
        missing.extend(wanted.iter().filter(|w| !text.contains(*w)).map(|w| format!("{file}: {w:?}")));
    }
    none("missing in a manifest", missing);
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert!(has_word("pub unsafe fn f()", "unsafe") && !has_word("unsafe_op_in_unsafe_fn", "unsafe"));
    assert!(names_ort("let x = ort::init();") && !names_ort("let x = report::init();"));
    assert_eq!(code("let a = \"unsafe\"; // unsafe"), "let a = \"\"; ");
    assert!(names_host(concat!("see https", "://files.python", "hosted.org/x")) && !names_host("see https://example.org/debian"));
    assert!(names_home(concat!("cd /ro", "ot/x")) && !names_home(concat!("target/ro", "ot/x")));
    let source = [("a.rs".to_string(), "one\ntwo\n".to_string())];
    assert_eq!(lines(&source, |line| line == "two"), ["a.rs:2: two"]);
}
