//! Counts the sectors that reach the block device below a folder.
//!
//! The counters of a process know nothing of the file system's journal and count a page for every byte written into it;
//! the device's own counter, read behind a `syncfs`, is what a card wears by. It also counts what others write meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{major, minor, syncfs};

/// A sector of /proc/diskstats, whatever the device's own block size.
const SECTOR_LEN_BYTES: u64 = 512;
/// What [`Device::below`] writes to see whether the device counts.
const PROBE_LEN_BYTES: usize = 1 << 20;

/// Major and minor number of a block device.
pub type Number = (u32, u32);

/// The block device below a folder.
#[derive(Debug)]
pub struct Device {
    number: Number,
    pub name: String,
    folder: File,
}

impl Device {
    /// The device below `folder`, after a probe that it counts what is written there.
    ///
    /// # Errors
    /// When the file system lies on no block device, or the device keeps no count.
    pub fn below(folder: &Path) -> Result<Device> {
        let dev = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?.dev();
        let number = resolve((major(dev), minor(dev)))?;
        let (name, _) = sectors_written(&diskstats()?, number).context("not listed in /proc/diskstats")?;
        let device = Device { number, name, folder: File::open(folder)? };
        let before = device.written_bytes()?;
        let probe = folder.join("probe");
        fs::write(&probe, vec![0x5a; PROBE_LEN_BYTES])?;
        let counted = device.written_bytes()? - before;
        fs::remove_file(&probe)?;
        ensure!(counted >= PROBE_LEN_BYTES as u64, "{} counted {counted} of {PROBE_LEN_BYTES} bytes written to it", device.name);
        Ok(device)
    }

    /// Bytes written to the device since it appeared, everything that its file system still held included.
    pub fn written_bytes(&self) -> Result<u64> {
        syncfs(&self.folder).context("syncfs failed")?;
        let (_, sectors) = sectors_written(&diskstats()?, self.number).context("the device is gone from /proc/diskstats")?;
        Ok(sectors * SECTOR_LEN_BYTES)
    }

    /// Bytes a second that arrive while this program writes nothing.
    pub fn idle_bytes_per_s(&self, span: Duration) -> Result<f64> {
        let before = self.written_bytes()?;
        let started = Instant::now();
        thread::sleep(span);
        Ok((self.written_bytes()? - before) as f64 / started.elapsed().as_secs_f64())
    }
}

fn diskstats() -> Result<String> {
    fs::read_to_string("/proc/diskstats").context("cannot read /proc/diskstats")
}

/// The block device with `number`, or the one that a file system with a number of its own (btrfs) is mounted from.
fn resolve(number: Number) -> Result<Number> {
    let (major_number, minor_number) = number;
    if Path::new(&format!("/sys/dev/block/{major_number}:{minor_number}")).exists() {
        return Ok(number);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let source = mount_source(&mounts, number).filter(|s| s.starts_with("/dev"));
    let source = source.with_context(|| format!("device {major_number}:{minor_number} is no block device (tmpfs? overlay?)"))?;
    let rdev = fs::metadata(&source).with_context(|| format!("cannot look at {}", source.display()))?.rdev();
    Ok((major(rdev), minor(rdev)))
}

/// Name and sectors written of the device with `number`, by a text like /proc/diskstats: major, minor, name, then reads,
/// reads merged, sectors read, ms reading, writes, writes merged, sectors written and more.
fn sectors_written(diskstats: &str, number: Number) -> Option<(String, u64)> {
    diskstats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let found = (fields.first()?.parse().ok()?, fields.get(1)?.parse().ok()?);
        if found == number { Some(((*fields.get(2)?).to_owned(), fields.get(9)?.parse().ok()?)) } else { None }
    })
}

/// What the file system with `number` is mounted from, by a text like /proc/self/mountinfo: id, parent, major:minor, root,
/// place, options, optional fields up to a `-`, type, source and more.
fn mount_source(mountinfo: &str, number: Number) -> Option<PathBuf> {
    let wanted = format!("{}:{}", number.0, number.1);
    mountinfo.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        (mount.split(' ').nth(2)? == wanted).then(|| system.split(' ').nth(1).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISKSTATS: &str = "   7       0 loop0 53 0 2122 2 1 0 8 0 0 0 2 0 0 0 0 1 0
 254       0 vda 20931 4604 2815602 25135 8069 50067 16629352 58271 0 5764 84034 5086 42 316848 624 36 1
 254       1 vda1 1 2 3 4 5 6 77 8 9 10 11";
    const MOUNTINFO: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw
36 35 0:33 /home /home rw,noatime shared:1 master:2 - btrfs /dev/nvme0n1p2 rw,subvol=/home
37 35 0:44 / / rw - overlay overlay rw,lowerdir=/a";

    #[test]
    fn sectors_written_are_the_tenth_field_of_the_device_with_that_number() {
        assert_eq!(sectors_written(DISKSTATS, (254, 0)), Some(("vda".to_owned(), 16_629_352)));
        assert_eq!(sectors_written(DISKSTATS, (254, 1)), Some(("vda1".to_owned(), 77)));
        assert_eq!(sectors_written(DISKSTATS, (7, 0)), Some(("loop0".to_owned(), 8)));
        assert_eq!(sectors_written(DISKSTATS, (8, 0)), None);
        assert_eq!(sectors_written("254 0 vda 1 2", (254, 0)), None);
    }

    #[test]
    fn a_file_system_with_a_number_of_its_own_is_followed_to_its_source() {
        assert_eq!(mount_source(MOUNTINFO, (0, 33)), Some(PathBuf::from("/dev/nvme0n1p2")));
        assert_eq!(mount_source(MOUNTINFO, (0, 44)), Some(PathBuf::from("overlay")));
        assert_eq!(mount_source(MOUNTINFO, (0, 3)), None);
    }

    #[test]
    fn proc_lies_on_no_block_device() {
        let e = Device::below(Path::new("/proc")).unwrap_err();
        assert!(e.to_string().contains("no block device"), "{e:#}");
    }
}
