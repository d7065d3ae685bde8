//! Killed (SIGKILL) at random moments: this shows recovery, not sync, since the kernel keeps what a killed process wrote.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::tempdir;
use wheatear::store::{Access, Adapter};

use crate::child::Other;
use crate::rows::{Ledger, create};

const KILLS: u64 = 220;

/// What the child was about when it was killed.
#[derive(Debug, Default, PartialEq)]
enum Pending {
    #[default]
    Nothing,
    Learn(u64),
    Undo,
}

/// Takes down what the child said; what it did not say any more is pending.
#[derive(Default)]
struct Listener {
    pending: Pending,
    acknowledged: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Listener {
    fn hear(&mut self, said: &str, ledger: &mut Ledger) {
        let mut count = |what| *self.counts.entry(what).or_default() += 1;
        match &said.split(' ').collect::<Vec<_>>()[..] {
            ["learn", rows] => self.pending = Pending::Learn(rows.parse().unwrap()),
            ["learned", how @ ..] => {
                let Pending::Learn(rows) = std::mem::take(&mut self.pending) else { panic!("{said}") };
                ledger.learn(rows);
                count(if *how == ["durably"] { "learned durably" } else { "learned for now" });
            }
            ["undo"] => self.pending = Pending::Undo,
            ["undone", rows] => {
                assert_eq!(ledger.acts.last().unwrap().1, rows.parse::<u64>().unwrap(), "the last label is taken back");
                self.pending = Pending::Nothing;
                ledger.undo();
                count("undone");
            }
            ["refused", kind] => {
                assert!(*kind == "Limit" || *kind == "Input" && ledger.rows == 0, "{said}");
                self.pending = Pending::Nothing;
                count("refused");
            }
            ["opened"] => count("opened"),
            ["checkpointed"] => count("checkpointed"),
            ["synced"] => count("synced"),
            ["compacted"] => count("compacted"),
            _ => panic!("the child said {said:?}"),
        }
        self.acknowledged += u64::from(self.pending == Pending::Nothing);
    }

    /// Nothing acknowledged is missing; what was pending is there, or not, or as many of its records as were written.
    fn settle(&mut self, adapter: &Adapter, ledger: &mut Ledger, when: &str) {
        let rows = adapter.held_rows() + adapter.evicted_rows();
        match std::mem::take(&mut self.pending) {
            Pending::Learn(count) => {
                let arrived = rows.checked_sub(ledger.rows).filter(|n| *n <= count);
                let arrived = arrived.unwrap_or_else(|| panic!("{when}: {rows} rows, {} acknowledged, {count} pending", ledger.rows));
                ledger.learn(arrived);
                *self.counts.entry(if arrived == 0 { "pending lost" } else { "pending kept" }).or_default() += 1;
            }
            Pending::Undo if rows != ledger.rows => ledger.undo(),
            _ => {}
        }
        ledger.check(adapter, when);
    }
}

fn lengths(folder: &Path) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap());
    // Compacting numbers the files.
    let name = |f: &std::fs::DirEntry| f.file_name().to_string_lossy().split('.').next().unwrap().to_owned();
    let mut all: Vec<(String, u64)> = files.map(|f| (name(&f), f.metadata().unwrap().len())).collect();
    all.sort();
    all
}

#[test]
fn whatever_was_acknowledged_is_there_after_every_kill() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    drop(create(&folder));
    let made = lengths(&folder);
    let mut random = ChaCha8Rng::seed_from_u64(20_261_125);
    let (mut ledger, mut listener) = (Ledger::new(), Listener::default());
    for kill in 0..KILLS {
        let when = format!("kill {kill}");
        let mut other = Other::start(&format!("live {kill} {}", ledger.next_row), &folder);
        // At once, so that it is killed while it starts or opens; or some steps and a moment later.
        let steps = if random.random_range(0..6) == 0 { 0 } else { random.random_range(1..60) };
        let moment = Duration::from_micros(random.random_range(0..if steps == 0 { 12_000 } else { 2_500 }));
        let wanted = listener.acknowledged + steps;
        while listener.acknowledged < wanted {
            let said = other.says().unwrap_or_else(|| panic!("{when}: it ended by itself"));
            listener.hear(&said, &mut ledger);
        }
        let began = Instant::now();
        while began.elapsed() < moment {
            std::hint::spin_loop();
        }
        other.child.kill().unwrap();
        while let Some(said) = other.says() {
            listener.hear(&said, &mut ledger);
        }
        assert_eq!(other.end().signal(), Some(9), "{when}");
        // A reader changes nothing, so that half of the time the next child recovers what the kill left.
        listener.settle(&Adapter::open(&folder, Access::Read).unwrap_or_else(|e| panic!("{when}: {e}")), &mut ledger, &when);
        if random.random_range(0..2) == 0 {
            let adapter = Adapter::open(&folder, Access::Write).unwrap_or_else(|e| panic!("{when}: {e}"));
            ledger.check(&adapter, &format!("{when}, opened to be written to"));
            assert_eq!(adapter.damaged_chunks(), 0, "{when}");
        }
    }
    drop(Adapter::open(&folder, Access::Write).unwrap());
    assert_eq!(lengths(&folder), made, "no file is left over and none has grown");
    println!("{KILLS} kills, {} rows learned: {:?}", ledger.next_row - 1, listener.counts);
    for what in ["learned durably", "learned for now", "undone", "checkpointed", "compacted"] {
        assert!(listener.counts.get(what).is_some_and(|n| *n >= 20), "{what}: {:?}", listener.counts);
    }
}
