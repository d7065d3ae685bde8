//! A file system of its own, on a loop device over a file in memory: its device counts what the stores write and nothing else.
//!
//! Both are mounted in a mount namespace of this process alone. So however this process ends, the kernel unmounts them and
//! frees the loop device and the memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Goes on as the same program in a mount namespace of its own; returns only where that cannot be, with the reason.
pub fn enter_namespace(marker: &str) -> anyhow::Error {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    if let Err(e) = run(unshare().arg("true")) {
        return e.context("no mount namespace of its own");
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match std::env::current_exe() {
        Ok(program) => unshare().arg("--").arg(program).args(arguments).arg(marker).exec().into(),
        Err(e) => e.into(),
    }
}

/// A mounted image.
#[derive(Debug)]
pub struct Image {
    pub place: PathBuf,
    /// What is mounted at `place`, one over the other.
    mounts: u32,
}

impl Image {
    /// Makes an ext4 image of `len_bytes` in memory and mounts it in `folder`. To be called in a namespace of one's own.
    ///
    /// # Errors
    /// When there is no tmpfs, loop device, mkfs.ext4 or right to mount.
    pub fn mount(folder: &Path, len_bytes: u64) -> Result<Image> {
        let mut image = Image { place: folder.join("image"), mounts: 0 };
        fs::create_dir(&image.place)?;
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&image.place))?;
        image.mounts += 1;
        let file = image.place.join("ext4");
        File::create_new(&file)?.set_len(len_bytes)?;
        // Lazily made tables would be written while the stores are counted.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&file))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&file, &image.place]))?;
        image.mounts += 1;
        Ok(image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for _ in 0..self.mounts {
            if let Err(e) = run(Command::new("umount").arg(&self.place)) {
                eprintln!("warning: {e:#}; it goes when this program ends");
            }
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed: {}", said.lines().next().unwrap_or("without a word"));
    }
    Ok(())
}
