//! `cargo xtask cross | emulate`: builds for 64-bit ARM Linux, and runs the library's tests for it under qemu.
//!
//! By the target of rustup, the system's cross linker and qemu where all are installed; else by a private root under
//! `target/cross` that needs no root rights, but Debian 12 on x86-64. What is built needs glibc 2.34 or newer. An emulator
//! shows that code is right; how long anything takes there means nothing.

use crate::assets::{Pins, Places};
use crate::debian;
use crate::fetch::ensure_system;
use crate::process::{loud, said, succeeds, typed};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of every 64-bit ARM board with a GNU system.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";
/// What a person installs who has rustup and its servers.
const RUSTUP_WAY: &str = "rustup target add aarch64-unknown-linux-gnu, and the system's gcc-aarch64-linux-gnu, libasound2-dev:arm64 and \
    qemu-user 10 or newer";
/// Where Debian and its kin keep what pkg-config knows of the target's libraries.
const SYSTEM_PKG_CONFIG: &str = "/usr/lib/aarch64-linux-gnu/pkgconfig";

/// Builds for the target; with `args`, as `cargo build` understands them, else library and tools as for release.
pub fn build(args: &[String]) -> Result<()> {
    let (places, toolchain) = prepare()?;
    let mut cargo = toolchain.cargo(&places, "build");
    if args.is_empty() {
        cargo.args(["--release", "--locked"]);
    }
    eprintln!("$ {}", typed(cargo.args(args), &places.root));
    loud(&mut cargo)?;
    let built = toolchain.build_folder(&places).join(TARGET);
    println!("built for {TARGET} under {}", places.show(&built));
    Ok(())
}

/// Runs tests of the library under qemu: the kernels' when `args` is empty, else those that `cargo test` makes of `args`.
///
/// Returns whether all passed; nothing is printed after the runner's own summary.
pub fn emulate(args: &[String]) -> Result<bool> {
    let (places, toolchain) = prepare()?;
    let mut cargo = toolchain.cargo(&places, "test");
    // Optimised dependencies take longer to build than they save here. An emulator has no microphone.
    cargo.args([
        "--config",
        "profile.dev.package.\"*\".opt-level=0",
        "--locked",
        "--package",
        "wheatear",
        "--no-default-features",
        "--lib",
    ]);
    if args.is_empty() {
        cargo.arg("kernel::");
    }
    eprintln!("$ {}", typed(cargo.args(args), &places.root));
    Ok(cargo.stdin(Stdio::null()).status().context("cannot start cargo")?.success())
}

/// What builds for the target, and runs what was built.
enum Toolchain {
    /// The compiler that cargo finds, with the target added by rustup.
    Rustup,
    /// The programs in this folder: `rustc`, `cc`, `ar` and `qemu`.
    Private(PathBuf),
}

fn prepare() -> Result<(Places, Toolchain)> {
    let (places, pins) = (Places::find()?, Pins::load()?);
    ensure!(std::env::consts::ARCH != "aarch64", "this machine is aarch64 itself: cargo build and cargo test do it");
    pins.system.iter().filter(|p| p.name == "pkg-config").try_for_each(|p| ensure_system(p, false))?;
    let toolchain = match rustup_lacks() {
        None => Toolchain::Rustup,
        Some(lacks) => {
            eprintln!("without rustup's way ({lacks}): a private root under target/cross");
            let made = debian::root(&places, &pins.cross);
            Toolchain::Private(made.with_context(|| format!("no compiler for {TARGET}; the other way is {RUSTUP_WAY}"))?)
        }
    };
    for program in toolchain.programs() {
        let mut version = Command::new(&program);
        let line = said(version.arg("--version"))?;
        eprintln!("  {}: {}", places.show(&program), line.lines().next().unwrap_or_default());
    }
    Ok((places, toolchain))
}

/// What is missing for rustup's way, if anything.
fn rustup_lacks() -> Option<String> {
    let installed = said(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    if !installed.lines().any(|line| line.trim() == TARGET) {
        return Some(format!("rustup has no {TARGET}"));
    }
    let missing = ["aarch64-linux-gnu-gcc", "qemu-aarch64"].into_iter().find(|p| !succeeds(Command::new(p).arg("--version")));
    let alsa = Path::new(SYSTEM_PKG_CONFIG).join("alsa.pc");
    missing.map(|program| format!("there is no {program}")).or_else(|| (!alsa.exists()).then(|| format!("there is no {}", alsa.display())))
}

impl Toolchain {
    fn programs(&self) -> Vec<PathBuf> {
        match self {
            Toolchain::Rustup => ["rustc", "aarch64-linux-gnu-gcc", "qemu-aarch64"].map(PathBuf::from).to_vec(),
            Toolchain::Private(bin) => ["rustc", "cc", "qemu"].map(|name| bin.join(name)).to_vec(),
        }
    }

    /// Where cargo builds: another compiler has a folder of its own, so that neither throws away what the other built.
    fn build_folder(&self, places: &Places) -> PathBuf {
        match self {
            Toolchain::Rustup => places.root.join("target"),
            Toolchain::Private(_) => places.root.join("target/cross/build"),
        }
    }

    /// `cargo COMMAND` for the target, in the workspace root.
    fn cargo(&self, places: &Places, command: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args([command, "--target", TARGET]).current_dir(&places.root).env("CARGO_TARGET_DIR", self.build_folder(places));
        let variable = |what: &str| format!("CARGO_TARGET_{}_{what}", TARGET.to_uppercase().replace('-', "_"));
        match self {
            // Where Debian's and Ubuntu's packages for cross-building have the system's libraries.
            Toolchain::Rustup => {
                cargo.env(variable("RUNNER"), "qemu-aarch64 -L /usr/aarch64-linux-gnu");
                cargo.env("PKG_CONFIG_ALLOW_CROSS", "1").env("PKG_CONFIG_LIBDIR", SYSTEM_PKG_CONFIG)
            }
            Toolchain::Private(bin) => {
                let of_target = |what: &str| format!("{what}_{}", TARGET.replace('-', "_"));
                // Relative to the root: cargo would split a path at its spaces.
                cargo.env(variable("RUNNER"), bin.strip_prefix(&places.root).unwrap_or(bin).join("qemu"));
                cargo.env("RUSTC", bin.join("rustc")).env(variable("LINKER"), bin.join("cc"));
                cargo.env(of_target("CC"), bin.join("cc")).env(of_target("AR"), bin.join("ar"));
                pkg_config(&mut cargo, &bin.with_file_name("root"))
            }
        };
        cargo
    }
}

/// Lets pkg-config find the target's libraries in `root`, and no others.
fn pkg_config<'a>(cargo: &'a mut Command, root: &Path) -> &'a mut Command {
    let libraries = ["usr/lib/aarch64-linux-gnu/pkgconfig", "usr/share/pkgconfig"].map(|l| root.join(l).display().to_string()).join(":");
    cargo.env("PKG_CONFIG_ALLOW_CROSS", "1").env("PKG_CONFIG_SYSROOT_DIR", root).env("PKG_CONFIG_LIBDIR", libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_the_private_compiler_linker_emulator_and_libraries() {
        let places = Places { root: "/a root".into(), assets: "/a root/target/assets".into() };
        let cargo = Toolchain::Private("/a root/target/cross/bin".into()).cargo(&places, "test");
        let told = |name: &str| cargo.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value?.to_str()).unwrap_or_default();
        assert_eq!(told("RUSTC"), "/a root/target/cross/bin/rustc");
        assert_eq!(told("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"), "/a root/target/cross/bin/cc");
        assert_eq!(told("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"), "target/cross/bin/qemu", "cargo splits it at spaces");
        assert_eq!(told("PKG_CONFIG_SYSROOT_DIR"), "/a root/target/cross/root");
        assert_eq!(told("CARGO_TARGET_DIR"), "/a root/target/cross/build");
    }

    #[test]
    fn rustups_compiler_is_left_to_cargo() {
        let places = Places { root: "/a root".into(), assets: "/a root/target/assets".into() };
        let cargo = Toolchain::Rustup.cargo(&places, "build");
        assert!(cargo.get_envs().any(|(key, value)| key == "PKG_CONFIG_LIBDIR" && value == Some(SYSTEM_PKG_CONFIG.as_ref())));
        assert!(!cargo.get_envs().any(|(key, _)| key == "RUSTC" || key.to_string_lossy().ends_with("_LINKER")));
        assert_eq!(Toolchain::Rustup.build_folder(&places), Path::new("/a root/target"));
    }
}
