//! Good adapters to begin from, each made in memory by living: what the format's files hold after that is not written down
//! here, so a new format needs no new bytes.

use std::sync::OnceLock;

use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::store::{Adapter, Batch, Creation, Durability, Header};
use wheatear::units::Moment;

use super::memory::{CHUNKS, Disk, Memory};
use super::rows::{self, Row};

/// Who learns.
pub const OWN: Origin = Origin { device: [7; 16], incarnation: 3 };
/// Who else has blocks here.
const OTHER: Origin = Origin { device: [9; 16], incarnation: u64::MAX };

/// An adapter that was closed or lost its power.
#[derive(Debug, Clone)]
pub struct Life {
    /// What it was doing.
    pub name: &'static str,
    /// What was fixed at creation.
    pub header: Header,
    /// Its chunk file and its state file.
    pub files: [Memory; 2],
}

/// All lives, made once.
pub fn all() -> &'static [Life] {
    static LIVES: OnceLock<Vec<Life>> = OnceLock::new();
    LIVES.get_or_init(|| vec![young(), old(), torn(), begun(), corrected(), anew(), format_1()])
}

/// The header of a small adapter of `dim` and `bits`: eight chunks of 64 KiB, and slots no longer than they must be.
pub fn header(dim: u32, bits: u8) -> Header {
    let mut creation = Creation::new(SpaceId([5; 32]), "a backbone", dim, bits, vec![0.5; dim as usize], OWN);
    creation = creation.with_replay_rows(16);
    (creation.max_classes, creation.max_origins, creation.max_sources) = (8, 2, 8);
    Header { slot_len_bytes: 4096, ..Header::new(creation, *b"adapter to fuzz.").expect("a good creation") }
}

/// A batch of `source` (0: live) by `by`.
pub fn batch(origin: Origin, source: u64, by: &str) -> Batch {
    let time = Moment { boot_id: [3; 16], monotonic_ns: 5_000_000_000, wall_ms: Some(1_700_000_000_000), uncertainty_ms: 20 };
    Batch { origin, by: by.to_owned(), time, graph: 5, source, source_complete: source % 2 == 1 }
}

/// An adapter and the disk it lies on.
struct Living {
    disk: Disk,
    adapter: Adapter,
}

impl Living {
    fn born(dim: u32, bits: u8) -> Living {
        let disk = Disk::default();
        let adapter = Adapter::create_in(disk.folder(), header(dim, bits)).expect("an empty folder");
        Living { disk, adapter }
    }

    fn learn(&mut self, batch: &Batch, count: usize) {
        let (dim, bits) = (self.adapter.dim(), self.adapter.header().creation.bits);
        let rows: Vec<Row> = rows::rows(&rows::some(count, dim), dim, bits);
        self.adapter.learn(batch, &rows::borrowed(&rows), Durability::Now).expect("learns");
    }

    fn files(&self) -> [Memory; 2] {
        let (header, files) = (self.adapter.header(), self.disk.files());
        [header.chunk_file(), header.state_file()].map(|name| files[&name].clone())
    }

    fn ended(self, name: &'static str) -> Life {
        Life { name, header: self.adapter.header().clone(), files: self.files() }
    }
}

/// Two checkpoints and a record behind them; two origins.
fn young() -> Life {
    let mut life = Living::born(6, 7);
    life.learn(&batch(OWN, 77, "teach"), 5);
    life.adapter.checkpoint().expect("writes a checkpoint");
    life.learn(&batch(OTHER, 0, &"x".repeat(600)), 4);
    life.adapter.checkpoint().expect("writes a checkpoint");
    life.learn(&batch(OWN, 78, "teach"), 3);
    life.ended("young")
}

/// The chunk file went round: chunks were sealed and taken again.
fn old() -> Life {
    let mut life = Living::born(3, 8);
    for n in 0..24 {
        life.learn(&batch(OWN, n, &"x".repeat(20_000)), 2);
    }
    assert!(life.adapter.evicted_rows() > 0 && life.adapter.checkpoint_generation() > 0, "no chunk was taken again");
    life.ended("old")
}

/// Half of the last record reached the disk.
fn torn() -> Life {
    let mut life = Living::born(4, 5);
    life.learn(&batch(OWN, 77, "teach"), 3);
    life.adapter.checkpoint().expect("writes a checkpoint");
    life.learn(&batch(OWN, 78, "teach"), 2);
    let before = life.files();
    life.learn(&batch(OWN, 80, "teach"), 3);
    cut(life, before, "torn")
}

/// The power went while a new chunk was being begun.
fn begun() -> Life {
    let mut life = Living::born(4, 4);
    life.learn(&batch(OWN, 0, &"x".repeat(33_000)), 1);
    let before = life.files();
    life.learn(&batch(OWN, 2, &"x".repeat(33_000)), 1);
    cut(life, before, "begun")
}

/// Labels were taken back, changed and forgotten, before a checkpoint and behind it.
fn corrected() -> Life {
    let mut life = Living::born(5, 6);
    let wren = ClassName::new("wren").expect("a good name");
    let robin = LabelSet::single(ClassName::new("robin").expect("a good name"));
    let correct = |adapter: &mut Adapter, row: u64| {
        adapter.relabel(&[row], &robin, "a person", Durability::Now).expect("a held row");
        adapter.undo(1, Durability::Now).expect("a label within the horizon");
    };
    life.learn(&batch(OWN, 77, "teach"), 4);
    life.learn(&batch(OWN, 0, "teach"), 2);
    correct(&mut life.adapter, 2);
    life.adapter.checkpoint().expect("writes a checkpoint");
    life.learn(&batch(OWN, 79, "teach"), 2);
    correct(&mut life.adapter, 3);
    life.adapter.forget(&wren, Durability::Now).expect("a known class");
    life.ended("corrected")
}

/// Written anew, with rows that were carried, and taught on.
fn anew() -> Life {
    let mut life = Living::born(4, 8);
    life.learn(&batch(OWN, 77, "teach"), 4);
    life.adapter.compact().expect("has room");
    life.learn(&batch(OWN, 78, "teach"), 2);
    assert!(life.adapter.header().epoch > 0, "not written anew");
    life.ended("anew")
}

/// As an older version left it: the golden adapter of format 1.
fn format_1() -> Life {
    let golden = |file: &str| {
        let mut lines = file.lines();
        let mut bytes = Memory::zeros(lines.next().and_then(|l| l.parse().ok()).expect("a length"));
        for (offset, hex) in lines.filter_map(|l| l.split_once(' ')) {
            let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal digits");
            bytes.write(offset.parse().expect("an offset"), &(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>());
        }
        bytes
    };
    let header = golden(include_str!("../../../runtime/tests/golden/adapter-v1/header.txt"));
    let header = Header::decode(&header.read(0, header.len())).expect("a good header");
    let [chunks, state] = [
        include_str!("../../../runtime/tests/golden/adapter-v1/chunks.txt"),
        include_str!("../../../runtime/tests/golden/adapter-v1/state.txt"),
    ];
    Life { name: "format-1", header, files: [golden(chunks), golden(state)] }
}

/// Of all that has changed in the chunk file since `before`, only the first half arrived.
fn cut(life: Living, before: [Memory; 2], name: &'static str) -> Life {
    let mut life = life.ended(name);
    let len = life.files[CHUNKS].len();
    let (was, is) = (before[CHUNKS].read(0, len), life.files[CHUNKS].read(0, len));
    let changed: Vec<usize> = (0..len).filter(|i| was[*i] != is[*i]).collect();
    let half = changed[changed.len() / 2];
    life.files = before;
    life.files[CHUNKS].write(changed[0], &is[changed[0]..half]);
    life
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheatear::store::{Access, Recovery};

    fn open(life: &Life) -> Adapter {
        Disk::of(&life.header, &life.header.encode().unwrap(), life.files.clone()).open(Access::Read).unwrap()
    }

    #[test]
    fn each_life_opens_and_those_that_lost_their_power_say_so() {
        for life in all() {
            let adapter = open(life);
            let rolled_back = matches!(adapter.recovery(), Recovery::RolledBack { .. });
            assert_eq!(rolled_back, matches!(life.name, "torn" | "begun"), "{}", life.name);
        }
        let young = open(&all()[0]);
        assert_eq!((young.generation(), young.checkpoint_generation(), young.origins().len()), (3, 2, 2));
    }
}
