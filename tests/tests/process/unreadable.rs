//! A medium that cannot be read any more (EIO): a loop device whose backing file was cut short. Says so where it cannot run.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use wheatear::store::{Access, Adapter, Durability};

use crate::child::command;
use crate::rows::{Ledger, create, teach};

const CHUNK: usize = 65_536;

/// Copies the adapter in `$1` to a small file system on a loop device, cuts the device's file where slot `$2` of the chunk
/// file begins, and runs the rest of its arguments. It has mount points of its own, and lets the device go at the end.
const SCRIPT: &str = r#"
cd "$1"
dir=$PWD slot=$2
shift 2
skip() { echo "skip: $1"; exit 77; }
for tool in mkfs.ext4 debugfs losetup mount; do command -v $tool > /dev/null || skip "there is no $tool"; done
dd if=/dev/zero of=disk bs=1M count=16 2> /dev/null
mkfs.ext4 -q -F -b 4096 -O ^has_journal disk
loop=$(losetup -f --show disk 2> /dev/null) || skip "no loop device can be set up"
trap 'cd /; umount "$dir/mount" 2> /dev/null || true; losetup -d "$loop"' EXIT
mkdir -p mount
mount "$loop" mount 2> /dev/null || skip "a loop device cannot be mounted"
mkdir mount/adapter
for file in header state lock chunks; do cat "adapter/$file" > "mount/adapter/$file"; done
umount mount
first=$(debugfs -R "bmap /adapter/chunks $((slot * 16))" disk 2> /dev/null)
truncate -s $((first * 4096)) disk
mount "$loop" mount
dd if=mount/adapter/chunks bs=65536 count=$slot of=/dev/null 2> /dev/null || skip "the file does not lie in one piece"
if cat mount/adapter/chunks > /dev/null 2>&1; then skip "what was cut away can still be read"; fi
"$@"
"#;

/// What a process says that opens the adapter in `dir` with the chunk file unreadable from `slot` on; `None` when such a
/// medium cannot be made here.
fn opened(dir: &Path, slot: usize, access: &str) -> Option<String> {
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-euc", SCRIPT, "sh"]).arg(dir).arg(slot.to_string());
    let child = command(&format!("open {access}"), &dir.join("mount/adapter"));
    shell.arg(child.get_program()).args(child.get_args());
    shell.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Ok(output) = shell.output() else {
        eprintln!("left out: there is no unshare");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || text.contains("unshare failed") {
        eprintln!("left out: {text}");
        return None;
    }
    assert!(output.status.success(), "{text}");
    Some(text.lines().find_map(|l| l.split_once("child: ")).unwrap_or_else(|| panic!("{text}")).1.to_owned())
}

/// How the adapter opens with all bytes of a slot wrong: its rows and damaged chunks.
fn with_slot_overwritten(dir: &Path, slot: usize) -> Option<(u64, u64)> {
    let copy = dir.join("copy");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).unwrap();
    for file in ["header", "state", "lock", "chunks"] {
        fs::copy(dir.join("adapter").join(file), copy.join(file)).unwrap();
    }
    let mut chunks = fs::read(copy.join("chunks")).unwrap();
    chunks[slot * CHUNK..(slot + 1) * CHUNK].fill(0x5a);
    fs::write(copy.join("chunks"), chunks).unwrap();
    Adapter::open(&copy, Access::Read).ok().map(|a| (a.held_rows(), a.damaged_chunks()))
}

#[test]
fn an_unreadable_chunk_leaves_replay_and_one_that_may_hold_the_newest_rows_is_refused() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let (mut adapter, mut ledger) = (create(&folder), Ledger::new());
    let learn = |adapter: &mut Adapter, ledger: &mut Ledger| {
        teach(adapter, ledger.next_row, 1, 9_000, Durability::Now);
        ledger.learn(1);
    };
    (0..10).for_each(|_| learn(&mut adapter, &mut ledger));
    adapter.checkpoint().unwrap();
    for access in ["read", "write"] {
        // Nothing was ever written there; but who could know that without reading it?
        let Some(said) = opened(dir.path(), 5, access) else { return };
        for part in ["Storage", "may hold the newest rows", "slot 5", "dmesg", "wheatear repair"] {
            assert!(said.contains(part), "{access}: {part:?} is not in {said:?}");
        }
    }
    // Until the last slot holds rows that the checkpoint lists, and the journal has gone on elsewhere.
    let last = fs::metadata(folder.join("chunks")).unwrap().len() as usize / CHUNK - 1;
    let (held, damaged) = loop {
        learn(&mut adapter, &mut ledger);
        adapter.checkpoint().unwrap();
        match with_slot_overwritten(dir.path(), last) {
            Some((held, 1)) if held < adapter.held_rows() => break (held, 1),
            _ => assert!(ledger.rows < 200, "the last slot is never used"),
        }
    };
    for access in ["read", "write"] {
        let Some(said) = opened(dir.path(), last, access) else { return };
        assert_eq!(said, format!("{} rows, {held} held, {damaged} damaged", ledger.rows), "{access}");
    }
}
