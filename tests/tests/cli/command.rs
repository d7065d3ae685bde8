//! The built command: found beside the test, built when it is missing or older than its sources, run, and its answer checked.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The host command, of the same profile as this test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("wheatear", &["-p", "wheatear-tools"]))
}

/// The program called `name` of this `package`.
pub fn built(name: &str, package: &[&str]) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|f| !f.ends_with("deps") && f.is_dir()).unwrap();
    let binary = profile.join(name);
    let built = std::fs::metadata(&binary).and_then(|m| m.modified()).ok();
    if built.is_none_or(|built| newest_source() > built) {
        build(profile, name, package);
    }
    binary
}

/// When a source of the command was last changed.
fn newest_source() -> SystemTime {
    fn newest(folder: &Path) -> SystemTime {
        let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
        let times = entries.map(|e| if e.path().is_dir() { newest(&e.path()) } else { e.metadata().unwrap().modified().unwrap() });
        times.max().unwrap_or(SystemTime::UNIX_EPOCH)
    }
    newest(&root().join("tools/src")).max(newest(&root().join("runtime/src")))
}

fn build(profile: &Path, binary: &str, package: &[&str]) {
    let name = profile.file_name().unwrap().to_str().unwrap();
    let above = profile.parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--bin", binary]).args(package).current_dir(root());
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    // The folder of a target platform stands between the target folder and that of the profile.
    if above.join("CACHEDIR.TAG").exists() {
        cargo.arg("--target-dir").arg(above);
    } else {
        cargo.arg("--target").arg(above.file_name().unwrap()).arg("--target-dir").arg(above.parent().unwrap());
    }
    assert!(cargo.status().unwrap().success(), "the command cannot be built");
}

/// The command, free of what the tester's own environment says.
pub fn wheatear() -> Command {
    clean(Command::new(binary()))
}

/// A command without what the tester's own environment says.
pub fn clean(mut command: Command) -> Command {
    // The last ones make ONNX Runtime keep to itself, which is for the programs to see to.
    for variable in [
        "WHEATEAR_ADAPTER",
        "WHEATEAR_BACKBONE",
        "WHEATEAR_BOARD",
        "WHEATEAR_CONFIG",
        "NO_COLOR",
        "RUST_LOG",
        "RUST_BACKTRACE",
        "ORT_DISABLE_TELEMETRY",
        "ORT_RUNNING_UNIT_TESTS",
        "CI",
        "TF_BUILD",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "CIRCLECI",
        "TRAVIS",
        "JENKINS_URL",
        "CODEBUILD_BUILD_ID",
        "BUILDKITE",
        "TEAMCITY_VERSION",
        "XDG_CACHE_HOME",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// A shell that runs `script` with `$0` the command and `arguments` as `$1`...
pub fn shell(script: &str, arguments: &[&OsStr]) -> Command {
    let mut shell = clean(Command::new("sh"));
    shell.args(["-euc", script]).arg(binary()).args(arguments);
    shell
}

/// As [`shell`], in mount points of its own, where `$0` may mount what it likes; none where this system has no such thing.
///
/// Root has them at once; another user needs user namespaces.
pub fn private_shell(script: &str, arguments: &[&OsStr]) -> Option<Command> {
    let unshare = ["-m", "-rm"].into_iter().find(|flags| {
        let tried = Command::new("unshare").args([flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        tried.is_ok_and(|o| o.status.success())
    });
    let Some(flags) = unshare else {
        eprintln!("left out: this user may not mount anything here (unshare -m and unshare -rm are refused)");
        return None;
    };
    let mut command = clean(Command::new("unshare"));
    command.args([flags, "sh", "-euc", script]).arg(binary()).args(arguments);
    Some(command)
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Ran {
        Ran::from(command.output().unwrap())
    }

    pub fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!ran.err.contains(word), "{word}: {ran:#?}");
        }
        ran
    }

    /// It did what it was asked.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It ended with `code` and said each of `words` in the error that it ended with.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let error = self.err.rfind("error: ").map(|at| &self.err[at..]).unwrap_or_else(|| panic!("no error: {self:#?}"));
        assert!(error.matches("(os error").count() <= 1, "the cause is told twice: {error}");
        words.iter().for_each(|w| assert!(error.contains(w), "no {w:?} in: {error}"));
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// Runs the command with arguments of mixed kinds.
macro_rules! run {
    ($($argument:expr),* $(,)?) => {{
        let mut command = $crate::command::wheatear();
        $(command.arg(&$argument);)*
        $crate::command::Ran::of(&mut command)
    }};
}
pub(crate) use run;
