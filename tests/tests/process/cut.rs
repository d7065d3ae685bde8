//! The chunk file is cut short by something else while a process has it open: it ends by SIGBUS, and the next start tells
//! what is gone.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::store::frame::{Kind, unframe_postcard};
use wheatear::store::{Access, Adapter};

use crate::child::Other;
use crate::rows::{Ledger, create};

const CHUNK: u64 = 65_536;
const SIGBUS: i32 = 7;

/// The slot that the newest chunk lies in.
fn slot_of_end(folder: &Path) -> u64 {
    let chunks = std::fs::read(folder.join("chunks")).unwrap();
    let named = |slot: &&[u8]| unframe_postcard::<([u8; 16], u64)>(slot, Kind::ChunkOpen).map_or(0, |open| open.1 + 1);
    let slots: Vec<&[u8]> = chunks.chunks(CHUNK as usize).collect();
    (0..slots.len() as u64).max_by_key(|slot| named(&slots[*slot as usize])).unwrap()
}

/// A child with an adapter whose journal ends in the slot that `wanted` names, all of it checkpointed.
fn taught(folder: &Path, wanted: impl Fn(u64) -> bool) -> (Other, Ledger) {
    drop(create(folder));
    let (mut other, mut ledger) = (Other::start("obey", folder), Ledger::new());
    other.expect("opened");
    while ledger.rows < 40 || !wanted(slot_of_end(folder)) {
        let learn = format!("learn {} 1 9000", ledger.next_row);
        other.tell(&learn);
        other.expect(&format!("{learn}: done"));
        ledger.learn(1);
    }
    other.tell("checkpoint");
    other.expect("checkpoint: done");
    other.tell("look");
    assert!(other.says().unwrap().ends_with("true"));
    other.expect("look: done");
    (other, ledger)
}

fn cut(folder: &Path, len_bytes: u64) {
    OpenOptions::new().write(true).open(folder.join("chunks")).unwrap().set_len(len_bytes).unwrap();
}

fn ends_by_sigbus(mut other: Other) {
    other.tell("look");
    assert_eq!(other.says(), None, "it does not come back from the page that is gone");
    assert_eq!(other.end().signal(), Some(SIGBUS));
}

#[test]
fn rows_of_chunks_cut_off_under_a_process_leave_replay_at_the_next_start_and_are_counted_still() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let (other, mut ledger) = taught(&folder, |slot| slot < 2);
    let whole = Adapter::open(&folder, Access::Read).unwrap().held_rows();
    cut(&folder, 2 * CHUNK);
    ends_by_sigbus(other);
    for access in [Access::Read, Access::Write, Access::Write] {
        let adapter = Adapter::open(&folder, access).unwrap();
        assert!(adapter.damaged_chunks() > 0 && adapter.held_rows() < whole, "{} of {whole} held", adapter.held_rows());
        assert_eq!(adapter.held_rows() + adapter.evicted_rows(), ledger.rows, "the checkpoint counts them still");
    }
    // And it goes on: labels, checkpoints, chunks taken again.
    let mut other = Other::start("obey", &folder);
    other.expect("opened");
    for _ in 0..40 {
        let learn = format!("learn {} 1 9000", ledger.next_row);
        other.tell(&learn);
        other.expect(&format!("{learn}: done"));
        ledger.learn(1);
    }
    assert!(other.end().success());
    let adapter = Adapter::open(&folder, Access::Write).unwrap();
    ledger.check(&adapter, "taught on");
    assert_eq!(adapter.damaged_chunks(), 0, "what was damaged was let go");
}

#[test]
fn a_journal_whose_end_was_cut_off_under_a_process_is_refused_at_the_next_start_with_what_to_do() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let (other, _) = taught(&folder, |slot| slot > 3);
    cut(&folder, 3 * CHUNK + 100);
    ends_by_sigbus(other);
    for access in [Access::Read, Access::Write, Access::Read] {
        let error = Adapter::open(&folder, access).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let text = error.to_string();
        assert!(["cut short", "restore the adapter from a copy", "wheatear repair"].iter().all(|part| text.contains(part)), "{text}");
    }
    assert_eq!(std::fs::metadata(folder.join("chunks")).unwrap().len(), 3 * CHUNK + 100, "nothing is changed that repair may need");
}
