//! A private root with a compiler for 64-bit ARM Linux, its libraries and an emulator, from Debian 12's packages. Nothing is
//! installed on the machine, and nothing is asked of it but `apt-get` and `dpkg-deb`.
//!
//! apt runs with a configuration and lists of its own, and asks the mirrors that the machine's own apt is configured for, plus
//! the suite of backports on the same mirror. It checks signatures; what it fetched is checked once more against the digests
//! in the signed lists.

use crate::assets::{CrossPackage, Places, sha256_file};
use crate::process::{quiet, quoted, said};
use crate::step::{Progress, Steps, list_files, lock, make_folder, write_atomically};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that the packages are those of.
const RELEASE: &str = "bookworm";
/// What Debian's archive is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Programs of the root, with what must be said first for each to find its libraries there.
const PROGRAMS: [(&str, &str); 4] = [
    ("rustc", "usr/bin/rustc"),
    (
        "cc",
        "usr/bin/aarch64-linux-gnu-gcc-12 --sysroot={root} -B{root}/usr/lib/gcc/aarch64-linux-gnu/12 -L{root}/usr/lib/gcc/aarch64-linux-gnu/12",
    ),
    ("ar", "usr/bin/aarch64-linux-gnu-ar"),
    ("qemu", "usr/bin/qemu-aarch64 -L {root}"),
];

/// Makes the root, or finds it made from the same `packages`; returns the folder of its programs.
///
/// # Errors
/// Where the machine is not Debian 12, where apt cannot fetch, or where a file is not what the lists say.
pub fn root(places: &Places, packages: &[CrossPackage]) -> Result<PathBuf> {
    let cross = places.root.join("target/cross");
    fs::create_dir_all(&cross).with_context(|| format!("cannot create {}", cross.display()))?;
    lock(&cross)?;
    let (root, bin) = (cross.join("root"), cross.join("bin"));
    let recipe = format!("{packages:?} {PROGRAMS:?}");
    Steps::new(&cross, 1).run("a compiler for aarch64", &[recipe.as_bytes(), cross.as_os_str().as_encoded_bytes()], |progress| {
        ensure!(std::env::consts::ARCH == "x86_64", "its programs are for x86-64");
        ensure_release(&fs::read_to_string("/etc/os-release").unwrap_or_default())?;
        progress.note("reading the lists of packages");
        let (debs, apt) = (cross.join("debs"), Apt::configure(&cross.join("apt"))?);
        let files = make_folder(&debs, |part| apt.download(packages, part, progress))?;
        let bytes: u64 = files.iter().map(|f| f.len_bytes).sum();
        make_folder(&root, |part| unpack(&debs, &files, part, progress))?;
        make_folder(&bin, |part| write_programs(&root, part))?;
        // Nothing needs them again before the pins change.
        fs::remove_dir_all(&debs)?;
        fs::remove_dir_all(&apt.folder)?;
        Ok((vec![root.clone(), bin.clone()], format!("{} packages, {} MB fetched", files.len(), bytes / 1_000_000)))
    })?;
    Ok(bin)
}

fn ensure_release(os_release: &str) -> Result<()> {
    let value = |key: &str| os_release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().trim_matches('"');
    let (system, release) = (value("ID"), value("VERSION_CODENAME"));
    ensure!(system == "debian" && release == RELEASE, "its packages are those of Debian 12, and this is {system} {release}");
    Ok(())
}

/// A package file as the signed lists describe it.
#[derive(Debug, PartialEq, Eq)]
struct DebFile {
    name: String,
    len_bytes: u64,
    sha256: String,
}

/// apt with a configuration of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Writes the configuration to `folder`.
    fn configure(folder: &Path) -> Result<Apt> {
        make_folder(folder, |_| Ok(()))?;
        for needed in ["etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(needed))?;
        }
        fs::write(folder.join("state/status"), "")?;
        let own = ["update", "--print-uris"];
        let sources = sources(&said(Command::new("apt-get").args(own)).context("apt does not say what it is configured to ask")?)?;
        fs::write(folder.join("etc/sources.list.d/debian.sources"), sources)?;
        let acquire = acquire(&said(Command::new("apt-config").arg("dump"))?);
        let place = |what: &str| folder.join(what).display().to_string();
        let configuration = format!(
            "Dir::Etc \"{etc}\";\nDir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{etc}/sources.list.d\";\n\
             Dir::State \"{state}\";\nDir::State::status \"{state}/status\";\nDir::Cache \"{cache}\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; \"arm64\"; }};\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n{acquire}",
            etc = place("etc"),
            state = place("state"),
            cache = place("cache"),
        );
        fs::write(folder.join("apt.conf"), configuration)?;
        Ok(Apt { folder: folder.to_path_buf() })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut apt = Command::new("apt-get");
        apt.args(args).env("APT_CONFIG", self.folder.join("apt.conf"));
        apt
    }

    /// Fetches the newest of each of `packages` that its pin allows into the empty folder `into`, and checks each digest.
    fn download(&self, packages: &[CrossPackage], into: &Path, progress: &Progress) -> Result<Vec<DebFile>> {
        quiet(&mut self.command(&["update", "--quiet", "--quiet", "--error-on=any"]), || ())?;
        let wanted: Vec<String> = packages.iter().map(|p| format!("{}:{}={}", p.name, p.arch, p.version)).collect();
        let files = deb_files(&said(self.command(&["download", "--print-uris"]).args(&wanted).current_dir(into))?)?;
        ensure!(files.len() == packages.len(), "apt offers {} of {} packages", files.len(), packages.len());
        progress.count(files.iter().map(|f| f.len_bytes).sum(), true, "packages");
        quiet(self.command(&["download", "--quiet", "--quiet"]).args(&wanted).current_dir(into), || {
            let mut bytes = 0;
            // A file may vanish while it is counted: the next tick counts again.
            let _ = list_files(into, &mut |_, len| bytes += len);
            progress.at(bytes);
        })?;
        for file in &files {
            let sha256 = sha256_file(&into.join(&file.name))?;
            ensure!(sha256 == file.sha256, "{}: sha256 {sha256}, where the signed list says {}", file.name, file.sha256);
        }
        Ok(files)
    }
}

/// The sources of the release in what `apt-get update --print-uris` says, and its backports where the release itself is.
fn sources(said: &str) -> Result<String> {
    let mut sources = String::new();
    for uri in said.lines().filter_map(|l| l.strip_prefix('\'')?.split('\'').next()?.strip_suffix("/InRelease")) {
        let Some((mirror, suite)) = uri.rsplit_once("/dists/") else { continue };
        let suites = match suite.strip_prefix(RELEASE) {
            Some("") => format!("{suite} {suite}-backports"),
            Some("-updates" | "-security") => suite.to_owned(),
            _ => continue,
        };
        sources += &format!("Types: deb\nURIs: {mirror}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n");
    }
    if !sources.contains(&format!("{RELEASE}-backports")) || !sources.contains(&format!("{RELEASE}-security")) {
        bail!("this machine's apt is not configured for {RELEASE} and its security updates");
    }
    Ok(sources)
}

/// How the machine's apt fetches (proxies, say), without what it fetches or does afterwards.
fn acquire(dump: &str) -> String {
    let wanted = |l: &&str| l.starts_with("Acquire::") && !["IndexTargets", "Languages"].iter().any(|not| l[9..].starts_with(not));
    dump.lines().filter(wanted).map(|l| format!("{l}\n")).collect()
}

/// What `apt-get download --print-uris` says of each file.
fn deb_files(said: &str) -> Result<Vec<DebFile>> {
    let file = |line: &str| {
        let (_, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let mut words = rest.split_whitespace();
        let (name, len_bytes, sha256) =
            (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.strip_prefix("SHA256:")?.to_owned());
        Some(DebFile { name: name.replace(':', "%3a"), len_bytes, sha256 })
    };
    said.lines().map(|l| file(l).with_context(|| format!("apt says of a package: {l}"))).collect()
}

fn unpack(debs: &Path, files: &[DebFile], root: &Path, progress: &Progress) -> Result<()> {
    progress.count(files.len() as u64, false, "packages unpacked");
    for (n, file) in files.iter().enumerate() {
        quiet(Command::new("dpkg-deb").arg("--extract").arg(debs.join(&file.name)).arg(root), || ())?;
        progress.at(n as u64 + 1);
    }
    Ok(())
}

/// Writes a script for each of [`PROGRAMS`] that starts it with the libraries of `root`.
fn write_programs(root: &Path, bin: &Path) -> Result<()> {
    let root = quoted(&root.display().to_string());
    for (name, call) in PROGRAMS {
        let call = call.replace("{root}", &root);
        let script = format!("#!/bin/sh\nLD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu exec {root}/{call} \"$@\"\n");
        write_atomically(&bin.join(name), script.as_bytes())?;
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_of_the_release_are_asked_and_backports_where_it_is_itself() {
        let uris = "'mirror://one/debian/dists/bookworm/InRelease' a 0\n'mirror://one/debian/dists/bookworm-updates/InRelease' b 0 \n\
            'mirror://two/security/dists/bookworm-security/InRelease' c 0\n'mirror://three/dists/bookworm-other/InRelease' d 0\n\
            'mirror://one/debian/dists/bookworm/main/binary-amd64/Packages.xz' e 0\n";
        let written = sources(uris).unwrap();
        let suites: Vec<&str> = written.lines().filter_map(|l| l.strip_prefix("Suites: ")).collect();
        assert_eq!(suites, ["bookworm bookworm-backports", "bookworm-updates", "bookworm-security"]);
        assert!(written.contains("URIs: mirror://one/debian\n") && !written.contains("three"), "{written}");
    }

    #[test]
    fn a_machine_without_the_security_suite_is_told_so() {
        let e = sources("'mirror://one/debian/dists/bookworm/InRelease' a 0\n").unwrap_err().to_string();
        assert!(e.contains("not configured for bookworm and its security updates"), "{e}");
    }

    #[test]
    fn proxies_are_kept_and_further_lists_and_hooks_are_not() {
        let dump = "APT::Update::Post-Invoke:: \"rm\";\nAcquire::http::Proxy \"p\";\nAcquire::IndexTargets::deb::DEP-11 \"\";\n\
            Acquire::Languages:: \"de\";\n";
        assert_eq!(acquire(dump), "Acquire::http::Proxy \"p\";\n");
    }

    #[test]
    fn a_package_is_known_by_the_digest_of_the_signed_list() {
        let files = deb_files("'mirror://one/a_1%3a2_amd64.deb' a_1%3a2_amd64.deb 42 SHA256:00ff\n").unwrap();
        assert_eq!(files, [DebFile { name: "a_1%3a2_amd64.deb".into(), len_bytes: 42, sha256: "00ff".into() }]);
        assert!(deb_files("E: no such package").is_err());
    }

    #[test]
    fn other_systems_are_told_which_one_is_needed() {
        ensure_release("PRETTY_NAME=\"x\"\nID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
        assert!(ensure_release("ID=debian\nVERSION_CODENAME=trixie\n").is_err());
        let e = ensure_release("ID=ubuntu\nVERSION_CODENAME=\"noble\"\n").unwrap_err().to_string();
        assert!(e.contains("Debian 12") && e.contains("ubuntu noble"), "{e}");
    }

    #[test]
    fn scripts_start_programs_of_the_root_even_where_its_path_has_a_space() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/qemu-aarch64"), "#!/bin/sh\necho \"$2|$3\"\n").unwrap();
        fs::set_permissions(root.join("usr/bin/qemu-aarch64"), fs::Permissions::from_mode(0o755)).unwrap();
        write_programs(&root, dir.path()).unwrap();
        let line = said(Command::new(dir.path().join("qemu")).arg("test")).unwrap();
        assert_eq!(line.trim(), format!("{}|test", root.display()));
    }
}
