//! The Python environment of the peers: wheels pinned by version and SHA-256, installed by pip as the machine has it
//! configured. They are pinned for CPython 3.11 on x86-64 Linux alone, the last for which ONNX Runtime's training exists.

use crate::assets::Places;
use crate::process::quiet;
use crate::step::Steps;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An environment with everything in a file of requirements in `tools/peers`.
pub struct Environment {
    python: PathBuf,
    scripts: PathBuf,
}

/// What a Python must say of itself.
const WANTED: &str = "CPython 3.11 Linux x86_64";
const ASK: &str = "import platform as p, sys; print(p.python_implementation(), '%d.%d' % sys.version_info[:2], p.system(), p.machine())";

/// Makes the environment of `requirements` in the folder `name` below `work`, unless it is there.
///
/// # Errors
/// Says which Python was found where another is needed, or why pip could not install what is pinned.
pub fn make(places: &Places, steps: &mut Steps, work: &Path, (requirements, name): (&str, &str), offline: bool) -> Result<Environment> {
    let scripts = places.root.join("tools/peers");
    let requirements = scripts.join(requirements);
    let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let place = work.join(name);
    let python = place.join("bin/python");
    steps.run(&format!("python environment of the peers: {name}"), &[&wanted, place.as_os_str().as_encoded_bytes()], |progress| {
        ensure!(!offline, "the environment is not made yet: run once without --offline");
        let system = find_python()?;
        progress.note("making the environment");
        quiet(Command::new(system).args(["-m", "venv", "--clear"]).arg(&place), || ())?;
        progress.note(&format!("installing {}", places.show(&requirements)));
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r"]);
        quiet(pip.arg(&requirements), || ())?;
        Ok((vec![place.join("pyvenv.cfg")], "as pinned".into()))
    })?;
    Ok(Environment { python, scripts })
}

fn find_python() -> Result<&'static str> {
    let mut found = Vec::new();
    for name in ["python3.11", "python3"] {
        let Ok(output) = Command::new(name).args(["-c", ASK]).stdin(Stdio::null()).output() else { continue };
        let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        if output.status.success() && said == WANTED {
            return Ok(name);
        }
        found.push(format!("{name} is {}", if said.is_empty() { "not usable" } else { &said }));
    }
    let found = if found.is_empty() { "no python3".to_string() } else { found.join(", ") };
    bail!("the peers' wheels are pinned for {WANTED}; found {found}: install python3.11 with its venv to compare with them")
}

impl Environment {
    /// The command that runs one of `tools/peers` with `args`.
    pub fn script(&self, name: &str, args: &[&Path]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(name)).args(args).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs the tests of what the peers share.
    pub fn test(&self) -> Result<()> {
        let mut tests = Command::new(&self.python);
        tests.args(["-m", "unittest", "discover", "--start-directory"]).arg(&self.scripts);
        quiet(tests.env("PYTHONDONTWRITEBYTECODE", "1"), || ()).context("the tests in tools/peers")
    }
}
