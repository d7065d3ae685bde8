//! Fetches packages through the machine's own package programs, and installs what the machine lacks where it may.
//!
//! Nothing here knows a host or a URL: pip and apt ask whatever they are configured to ask.

use crate::assets::{Kind, Package, Places, SystemPackage};
use crate::process::{quiet, quoted, succeeds};
use crate::step::{Progress, list_files};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Puts the file of `package` into the empty folder `into`.
pub fn fetch(package: &Package, places: &Places, into: &Path, progress: &Progress) -> Result<()> {
    progress.count(package.size, true, &package.file);
    let tick = || {
        let mut bytes = 0;
        // A file may vanish while it is counted: the next tick counts again.
        let _ = list_files(into, &mut |_, len| bytes += len);
        progress.at(bytes);
    };
    match package.kind {
        Kind::Wheel => quiet(&mut pip_download(package, &places.python(), into), tick),
        Kind::Deb => fetch_deb(package, into, tick),
    }
}

fn pip_download(package: &Package, python: &Path, into: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--python-version", "3.11"]);
    if let Some(platform) = &package.platform {
        pip.args(["--platform", platform, "--implementation", "cp", "--abi", "cp311"]);
    }
    pip.arg("--dest").arg(into).arg(format!("{}=={}", package.name, package.version));
    // pip's own temporary folder, so that the progress is seen and nothing is left elsewhere.
    pip.env("TMPDIR", into);
    pip
}

fn fetch_deb(package: &Package, into: &Path, mut tick: impl FnMut()) -> Result<()> {
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("this machine has no apt-get: download the Debian package {} {} elsewhere", package.name, package.version);
    }
    let wanted = format!("{}={}", package.name, package.version);
    let mut get = Command::new("apt-get");
    get.args(["download", "--quiet", "--quiet", &wanted]).current_dir(into);
    let Err(first) = quiet(&mut get, &mut tick) else { return Ok(()) };
    // Usually the lists of packages are missing (a fresh container) or old.
    apt_as_root(&["update"]).with_context(|| format!("{first:#}"))?;
    quiet(&mut get, tick).with_context(|| format!("apt knows no {wanted} (it is in Debian 12 and Ubuntu 24.04's universe)"))
}

/// What makes a command run as root without asking anything: nothing for root itself, `sudo -n` where it may; else `None`.
fn root_prefix() -> Option<&'static [&'static str]> {
    if Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0") {
        return Some(&[]);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

/// Runs `apt-get` with `args` as root.
fn apt_as_root(args: &[&str]) -> Result<()> {
    let Some(prefix) = root_prefix() else {
        bail!("this user may not run apt-get {0}: run `sudo apt-get {0}`, then the same command again", args.join(" "));
    };
    let words = [prefix, &["apt-get", "--quiet", "--quiet"], args].concat();
    quiet(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"), || ())
}

/// Whether `package` is on the machine.
pub fn is_installed(package: &SystemPackage) -> bool {
    package.probe.split_first().is_some_and(|(program, args)| succeeds(Command::new(program).args(args)))
}

/// Makes sure that `package` is on the machine.
///
/// # Errors
/// Says which command installs it where this user or this system cannot.
pub fn ensure_system(package: &SystemPackage, offline: bool) -> Result<()> {
    if is_installed(package) {
        return Ok(());
    }
    let missing = || format!("{} is missing ({})", package.name, package.why);
    if offline {
        bail!("{}: install it, or run once without --offline", missing());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        let probe = package.probe.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ");
        bail!("{}, and this system has no apt: install what your system calls it, so that `{probe}` succeeds", missing());
    }
    if root_prefix().is_none() {
        let name = &package.name;
        bail!("{}: run `sudo apt-get update && sudo apt-get install --yes {name}`, then the same command again", missing());
    }
    let install = ["install", "--yes", "--no-install-recommends", &package.name];
    if apt_as_root(&install).is_err() {
        apt_as_root(&["update"]).with_context(missing)?;
        apt_as_root(&install).with_context(missing)?;
    }
    if !is_installed(package) {
        bail!("{} was installed, but `{}` still fails", package.name, package.probe.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::Pins;

    #[test]
    fn pip_is_asked_for_the_pinned_wheel_whatever_python_this_is() {
        let pins = Pins::load().unwrap();
        let line = |name| {
            let pip = pip_download(pins.package(name).unwrap(), Path::new("python"), Path::new("into"));
            pip.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(
            line("aisfx").ends_with("--no-deps --only-binary=:all: --python-version 3.11 --dest into aisfx==0.1.2"),
            "{}",
            line("aisfx")
        );
        assert!(line("onnxruntime").contains("--platform manylinux_2_28_"), "{}", line("onnxruntime"));
    }

    #[test]
    fn what_is_missing_offline_is_named_with_its_reason() {
        let package = SystemPackage {
            name: "thing".into(),
            why: "it does things".into(),
            probe: vec!["no-such-program-here".into()],
            tests: false,
            page: false,
        };
        let e = ensure_system(&package, true).unwrap_err().to_string();
        assert!(e.starts_with("thing is missing (it does things)"), "{e}");
        ensure_system(&SystemPackage { probe: vec!["true".into()], ..package }, true).unwrap();
    }
}
