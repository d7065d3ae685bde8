//! Finding and loading ONNX Runtime, which is not linked but opened at run time.
//!
//! Places looked at, in this order:
//! 1. the path given by the caller (a file, or a folder that holds the library); it must be there
//! 2. the environment variable `ORT_DYLIB_PATH`; it must be there
//! 3. beside the executable, then `../lib` from it
//! 4. `target/assets/onnxruntime` (or `$WHEATEAR_ASSETS/onnxruntime`) of the workspace the executable was built in
//! 5. the system's loader, by the name `libonnxruntime.so.1`
//!
//! A library older than 1.22 is refused. A process has one ONNX Runtime: the first that loads stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::telemetry;
use crate::{Error, ErrorKind, Result};

/// The environment variable that points at ONNX Runtime.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// The environment variable that replaces the workspace's `target/assets`.
pub const ASSETS_VARIABLE: &str = "WHEATEAR_ASSETS";
/// What the system's loader is asked for.
const SONAME: &str = "libonnxruntime.so.1";
const CURE: &str = "install it: `cargo xtask setup` in the workspace, or `pip download --no-deps onnxruntime==1.32.0`, unzip \
                    onnxruntime/capi/libonnxruntime.so.1.32.0 from the wheel and set ORT_DYLIB_PATH to that file";

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

#[derive(Clone)]
struct Loaded {
    environment: Environment,
    path: PathBuf,
}

/// The process's ONNX Runtime environment, loaded on the first call, and the library it came from.
///
/// # Errors
/// `Missing` with every place looked at and what was wrong there; `Mismatch` when another library than the one asked
/// for is already loaded; as [`telemetry::off`].
pub(super) fn environment(explicit: Option<&Path>) -> Result<(Environment, PathBuf)> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(l) = loaded.as_ref() {
        return match explicit.map(library_in) {
            Some(wanted) if wanted != l.path => Err(Error::new(ErrorKind::Mismatch, "another ONNX Runtime is already loaded")
                .expected(wanted.display())
                .found(l.path.display())
                .cure("use one library in a process, or start another process")),
            _ => Ok((l.environment.clone(), l.path.clone())),
        };
    }
    let mut looked = Vec::new();
    let exe = std::env::current_exe().unwrap_or_default();
    for place in places(explicit, path_variable(LIBRARY_VARIABLE).as_deref(), &exe, assets_folder().as_deref()) {
        if place.exists() || place == Path::new(SONAME) {
            telemetry::off()?;
        }
        match open(&place) {
            Ok(environment) => {
                let l = loaded.insert(Loaded { environment, path: place });
                return Ok((l.environment.clone(), l.path.clone()));
            }
            Err(reason) => looked.push(format!("{}: {reason}", place.display())),
        }
    }
    Err(Error::new(ErrorKind::Missing, "ONNX Runtime was not found").found(format!("looked at {}", looked.join("; "))).cure(CURE))
}

/// Every place to look at, in order; see the module.
fn places(explicit: Option<&Path>, variable: Option<&Path>, exe: &Path, assets: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit.or(variable) {
        return vec![library_in(path)];
    }
    let mut places = Vec::new();
    if let Some(folder) = exe.parent() {
        places.push(library_in(folder));
        places.push(library_in(&folder.join("../lib")));
    }
    places.extend(assets.map(|a| library_in(&a.join("onnxruntime"))));
    places.push(PathBuf::from(SONAME));
    places
}

fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// The folder that `cargo xtask setup` fills: `$WHEATEAR_ASSETS`, or `target/assets` of the workspace whose `target`
/// folder holds the running executable.
pub fn assets_folder() -> Option<PathBuf> {
    if let Some(path) = path_variable(ASSETS_VARIABLE) {
        return Some(path);
    }
    let exe = std::env::current_exe().ok()?;
    let target = exe.ancestors().find(|f| f.file_name().is_some_and(|n| n == "target"))?;
    Some(target.join("assets"))
}

/// The library at `path`: the file itself, or in a folder the newest `libonnxruntime.so*`, or its usual name there.
fn library_in(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_path_buf();
    }
    let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.file_name());
    let newest = names
        .filter(|n| n.to_str().is_some_and(|n| n.starts_with("libonnxruntime.so") || n == "libonnxruntime.dylib"))
        .max_by_key(|n| version_of(&n.to_string_lossy()));
    path.join(newest.unwrap_or_else(|| SONAME.into()))
}

fn version_of(name: &str) -> Vec<u32> {
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

fn open(path: &Path) -> Result<Environment, String> {
    let by_name = path == Path::new(SONAME);
    if !by_name && !path.exists() {
        return Err("not there".into());
    }
    // A relative path would be tried beside the executable first.
    let path = if by_name { path.to_path_buf() } else { std::path::absolute(path).map_err(|e| e.to_string())? };
    let builder = ort::init_from(&path).map_err(|e| one_line(&e.to_string()))?;
    let environment = builder
        .with_name("wheatear")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _category, _id, _place, message| log::log!(target: "onnxruntime", log_level(level), "{message}")))
        .build()
        .map_err(|e| one_line(&e.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

/// ONNX Runtime warns about each optimisation it leaves out: that is for whoever debugs.
fn log_level(level: LogLevel) -> log::Level {
    match level {
        LogLevel::Verbose => log::Level::Trace,
        LogLevel::Info | LogLevel::Warning => log::Level::Debug,
        LogLevel::Error | LogLevel::Fatal => log::Level::Warn,
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_a_folder_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0", "libonnxruntime.so.1", "libother.so.9"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(library_in(folder.path()).file_name().unwrap(), "libonnxruntime.so.1.32.0");
    }

    #[test]
    fn places_are_looked_at_in_the_documented_order() {
        let (exe, assets) = (Path::new("/opt/wheatear/bin/wheatear"), Path::new("/src/target/assets"));
        let path = |p: &str| PathBuf::from(p);
        let (given, variable) = (path("/given/lib.so"), path("/variable/lib.so"));
        assert_eq!(places(Some(&given), Some(&variable), exe, Some(assets)), std::slice::from_ref(&given));
        assert_eq!(places(None, Some(&variable), exe, Some(assets)), std::slice::from_ref(&variable));
        let want =
            ["/opt/wheatear/bin/libonnxruntime.so.1", "/opt/wheatear/bin/../lib", "/src/target/assets/onnxruntime", "libonnxruntime.so.1"];
        let got = places(None, None, exe, Some(assets));
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(g, w)| g.starts_with(w) || path(w).starts_with(g.parent().unwrap())), "{got:?}");
    }

    #[test]
    fn a_file_that_is_no_library_is_refused_with_a_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not a library").unwrap();
        let reason = open(file.path()).map(|_| ()).unwrap_err();
        assert!(reason.contains("failed to load"), "{reason}");
        assert_eq!(open(Path::new("/nowhere/lib.so")).map(|_| ()).unwrap_err(), "not there");
    }
}
