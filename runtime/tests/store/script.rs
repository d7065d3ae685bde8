//! The lives whose every moment is tried: all that an adapter can be asked for, in phases that each begin with what the one
//! before left.

use wheatear::Result;
use wheatear::store::Durability::{Later, Now};
use wheatear::store::Header;

use crate::committed::{self, committed};
use crate::diary::{BITS, Diary, Life};
use crate::disk::Disk;
use crate::pages::Snapshot;
use crate::world::{ID, ORIGIN, batch, bulky, creation, labels, rows};

/// At this dimension a checkpoint comes after each few bulky records.
pub const DIM: usize = 4;
/// At this one it is so long that it comes only when a chunk must be taken again.
pub const DIM_OF_RARE_CHECKPOINTS: usize = 200;

pub struct Phase {
    pub name: &'static str,
    pub script: fn(&mut Life) -> Result<()>,
}

/// What a phase begins with.
#[derive(Clone)]
pub struct Start {
    pub image: Snapshot,
    pub diary: Diary,
}

/// A phase that was lived: with what it began, what it did and what the diary says.
pub struct Lived {
    pub name: String,
    pub script: fn(&mut Life) -> Result<()>,
    pub start: Start,
    pub life: Life,
}

pub fn header(dim: usize) -> Header {
    Header::new(creation(dim as u32, BITS), ID).unwrap()
}

impl Phase {
    /// Lives it from `start`, on a disk on which nothing fails.
    pub fn live(&self, start: &Start, of: &str) -> Lived {
        let mut life = start.life();
        (self.script)(&mut life).unwrap_or_else(|e| panic!("{of}, {}: {e}", self.name));
        Lived { name: format!("{of}: {}", self.name), script: self.script, start: start.clone(), life }
    }
}

impl Start {
    pub fn nothing(dim: usize) -> Start {
        Start { image: Snapshot::default(), diary: Diary::blank(dim) }
    }

    pub fn life(&self) -> Life {
        Life { disk: Disk::at(self.image.clone()), adapter: None, diary: self.diary.clone(), damaged_chunks: 0 }
    }
}

impl Lived {
    /// Where it ended; all must be durable.
    pub fn end(&self) -> Start {
        let last = self.life.diary.calls.last().unwrap();
        assert!(last.durable, "{} ends with what a power cut may take", self.name);
        Start { image: self.life.disk.snapshot(), diary: self.life.diary.next_volume() }
    }
}

/// A sequence of phases at one dimension.
pub struct Story {
    pub name: &'static str,
    pub dim: usize,
    pub phases: Vec<Phase>,
}

/// All of them; `small` leaves out what takes long.
pub fn stories(small: bool) -> Vec<Story> {
    let rewriting = vec![
        Phase { name: "create", script: |life| life.create(header(DIM)) },
        Phase { name: "correct", script: correct },
        Phase { name: "forget", script: forget },
        Phase { name: "forget hard", script: forget_hard },
        Phase { name: "roll back", script: roll_back },
        Phase { name: "compact", script: compact },
    ];
    let filling = vec![
        Phase { name: "create", script: |life| life.create(header(DIM)) },
        Phase { name: "teach", script: if small { teach_little } else { teach } },
        Phase { name: "fill", script: fill },
        Phase { name: "many at once", script: many_at_once },
    ];
    let rare = vec![
        Phase { name: "create", script: |life| life.create(header(DIM_OF_RARE_CHECKPOINTS)) },
        Phase { name: "fill", script: fill_with_rare_checkpoints },
    ];
    let mut stories = vec![
        Story { name: "a life of corrections", dim: DIM, phases: rewriting },
        Story { name: "a full disk", dim: DIM, phases: filling },
    ];
    if !small {
        stories.push(Story { name: "rare checkpoints", dim: DIM_OF_RARE_CHECKPOINTS, phases: rare });
    }
    stories
}

impl Story {
    /// Lives all phases, one after another.
    pub fn live(&self) -> Vec<Lived> {
        let mut start = Start::nothing(self.dim);
        let mut lived = Vec::new();
        for phase in &self.phases {
            let done = phase.live(&start, self.name);
            start = done.end();
            lived.push(done);
        }
        lived
    }
}

/// An adapter with all that its files can hold: carried rows, sealed chunks, two checkpoints, corrections, rows that left,
/// and records behind the newest checkpoint.
pub fn well_used() -> Lived {
    let script = |life: &mut Life| {
        life.create(header(DIM))?;
        life.learn(8, batch(5, true), Now)?;
        life.learn(6, batch(0, false), Now)?;
        life.compact()?;
        life.learn(2, bulky(31_000), Now)?;
        life.learn(3, batch(0, false), Now)?;
        life.learn(1, bulky(30_000), Now)?;
        life.checkpoint()?;
        life.learn(2, bulky(40_000), Now)?;
        life.relabel(&[0, 2], &labels(&["jay"], &["wren"]), Now)?;
        life.learn(2, bulky(22_000), Now)?;
        life.learn(1, bulky(61_000), Now)?;
        life.learn(1, bulky(60_000), Now)?;
        life.learn(2, batch(9, false), Now)?;
        life.checkpoint()?;
        life.learn(2, batch(9, true), Now)?;
        life.relabel(&[1], &labels(&["jay"], &[]), Now)?;
        life.learn(2, batch(0, false), Now)?;
        life.undo(1)?;
        life.learn(2, batch(0, false), Now)
    };
    Phase { name: "well used", script }.live(&Start::nothing(DIM), "an adapter")
}

/// Opening the committed adapter of format 1 for writing.
pub fn migration() -> (Phase, Start) {
    let diary = Diary::of(&rows(0, 12, committed::DIM, committed::BITS), committed::DIM, ORIGIN);
    let image = Disk::of(committed(1)).snapshot();
    let script = |life: &mut Life| {
        life.open()?;
        life.learn(1, batch(0, false), Now)
    };
    (Phase { name: "open for writing", script }, Start { image, diary })
}

/// Few records of every kind of labels; some that nothing makes durable before the writer is killed.
fn teach_little(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(3, batch(0, false), Now)?;
    life.learn(1, batch(0, false), Later)?;
    life.learn(2, bulky(700), Later)?;
    life.open()?;
    life.sync()?;
    life.learn(2, batch(9, false), Later)?;
    life.open()?;
    life.checkpoint()?;
    life.learn(2, batch(9, true), Later)?;
    life.checkpoint()?;
    life.learn(1, bulky(1500), Now)
}

fn teach(life: &mut Life) -> Result<()> {
    teach_little(life)?;
    for i in 0..12 {
        life.learn(1 + i % 2, batch(0, false), Later)?;
    }
    life.sync()?;
    life.learn(0, batch(12, true), Now)?;
    life.learn(1, bulky(3000), Later)?;
    life.learn(1, batch(0, false), Later)?;
    life.learn(2, bulky(2000), Now)?;
    // A writer that is killed behind rows that nothing made durable, and the next one has to begin a chunk.
    life.learn(1, bulky(30_000), Later)?;
    life.open()?;
    life.learn(1, bulky(40_000), Now)
}

/// One call that needs several commits.
fn many_at_once(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(1, batch(0, false), Later)?;
    life.learn_many(520)?;
    life.learn(1, bulky(20_000), Now)
}

/// Records so long that every few fill a chunk, and in each chunk rows of rare classes that stay: they must be carried to make
/// room.
fn fill(life: &mut Life) -> Result<()> {
    life.open()?;
    let wren = labels(&["wren"], &[]);
    let rare = [labels(&["jay"], &[]), labels(&["robin", "jay"], &["wren"]), labels(&[], &[]), labels(&["robin"], &[])];
    for step in 0..52 {
        let durability = if step % 6 == 1 { Later } else { Now };
        match step % 4 {
            0 => life.learn_as(1, &rare[step / 4 % 4], batch(9, step == 48), durability)?,
            1 => life.learn_as(2, &wren, bulky(14_000 + 16 * step), durability)?,
            2 => life.learn_as(1, &wren, bulky(16_000 + 160 * step), durability)?,
            _ => life.learn_as(3, &wren, bulky(11_000), durability)?,
        }
        match step {
            9 | 27 => life.relabel(&[0, 2], &labels(&["jay"], &["wren"]), Now)?,
            14 => life.undo(1)?,
            20 => life.checkpoint()?,
            22 => life.open()?,
            _ => {}
        }
    }
    life.sync()
}

/// All of one kind: a checkpoint is one long part.
fn fill_with_rare_checkpoints(life: &mut Life) -> Result<()> {
    life.open()?;
    let classes = ["wren", "robin", "jay"].map(|class| labels(&[class], &[]));
    for step in 0..34 {
        life.learn_as(1, &classes[step % 3], bulky(20_000 + 10 * step), if step % 3 == 1 { Later } else { Now })?;
    }
    life.sync()
}

/// Labels changed and taken back, with so many rows that some have left replay.
fn correct(life: &mut Life) -> Result<()> {
    life.open()?;
    for step in 0..6u64 {
        life.learn(4, batch(step % 3 * 10, step == 5), if step % 2 == 0 { Later } else { Now })?;
    }
    life.relabel(&[0, 3, 7, 9], &labels(&["jay"], &[]), Later)?;
    life.relabel(&[1], &labels(&["wren", "jay"], &["robin"]), Now)?;
    life.checkpoint()?;
    life.learn(1, batch(0, false), Later)?;
    life.learn(2, batch(0, false), Later)?;
    life.undo(1)?;
    life.learn(1, batch(0, false), Now)?;
    life.undo(2)?;
    life.learn(1, batch(0, false), Now)?;
    life.learn(2, bulky(1_000), Later)?;
    life.undo(1)?;
    life.learn(3, batch(0, false), Now)
}

/// A class of which rows have left replay, so that part of it is retired.
fn forget(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(2, batch(0, false), Later)?;
    life.forget("wren")?;
    assert!(counts_retired(life), "a retired class arises");
    life.learn(2, batch(0, false), Now)?;
    life.checkpoint()?;
    life.learn(3, batch(0, false), Later)?;
    life.checkpoint()
}

fn forget_hard(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(3, batch(0, false), Later)?;
    life.forget_hard("robin")?;
    life.learn(2, batch(0, false), Now)
}

fn roll_back(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(2, batch(0, false), Now)?;
    life.checkpoint()?;
    life.learn(3, batch(0, false), Now)?;
    life.checkpoint()?;
    life.learn(1, batch(0, false), Later)?;
    life.roll_back(77)?;
    life.learn(1, batch(0, false), Later)?;
    life.learn(2, batch(0, false), Now)?;
    life.undo(1)
}

fn compact(life: &mut Life) -> Result<()> {
    life.open()?;
    life.learn(2, batch(21, true), Later)?;
    life.compact()?;
    life.learn(1, batch(0, false), Now)?;
    life.compact()
}

/// True when rows of a retired class are counted.
fn counts_retired(life: &Life) -> bool {
    let mut rows = life.diary.last().rows.values();
    rows.any(|k| k.row.labels.positive().iter().chain(k.row.labels.negative()).any(|c| c.is_retired()))
}
