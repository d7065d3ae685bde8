//! What an idle process keeps in memory that has an adapter open: a child opens it and reads its own /proc/self/smaps_rollup.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use wheatear::store::Durability;

use crate::folder;
use crate::row::Rows;
use crate::stores::adapter::{self, Learner};
use crate::stores::{Shape, Store};

/// The adapter that is opened: it holds every row that it was taught.
pub const SHAPE: Shape = Shape { dim: 1024, replay_rows: 20_000 };
/// The option by which the child is told the adapter.
pub const OPTION: &str = "--memory-of";
const ROWS_PER_COMMIT: usize = 32;

/// Resident memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    pub rss_kib: u64,
    /// Heap, stack and what else has no file behind it; the rest of `rss_kib` is pages of files, which the kernel can drop.
    pub anonymous_kib: u64,
}

impl Resident {
    pub fn file_kib(self) -> u64 {
        self.rss_kib.saturating_sub(self.anonymous_kib)
    }
}

/// The child's memory before and after it opened the adapter.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Memory {
    pub before: Resident,
    pub opened: Resident,
}

/// What is reported.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    pub dim: usize,
    pub rows: u32,
    #[serde(flatten)]
    pub memory: Memory,
    pub file_bytes: u64,
}

/// Fills an adapter below `place` and lets a child process open it.
pub fn measure(place: &Path, shape: Shape) -> Result<Idle> {
    let original = place.join("memory");
    let mut learner = Learner::create(&original, shape, Durability::Later)?;
    let mut rows = Rows::new(shape.dim)?;
    for _ in 0..shape.replay_rows as usize / ROWS_PER_COMMIT {
        learner.commit(&rows.take(ROWS_PER_COMMIT))?;
    }
    learner.sync()?;
    drop(learner);
    let program = std::env::current_exe().context("this program cannot be found again")?;
    let child = Command::new(program).arg(OPTION).arg(&original).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(child.status.success(), "the process that measures memory ended with {}", child.status);
    let memory = serde_json::from_slice(&child.stdout).context("the process that measures memory said something else")?;
    Ok(Idle { dim: shape.dim, rows: shape.replay_rows, memory, file_bytes: folder::len_bytes(&original)? })
}

/// The child: opens the adapter in `folder`, and prints what that took.
pub fn child(folder: &Path) -> Result<()> {
    let before = resident()?;
    let adapter = adapter::open(folder)?;
    let opened = resident()?;
    drop(adapter);
    println!("{}", serde_json::to_string(&Memory { before, opened })?);
    Ok(())
}

fn resident() -> Result<Resident> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").context("cannot read /proc/self/smaps_rollup")?;
    parse(&text).context("/proc/self/smaps_rollup lacks Rss or Anonymous")
}

fn parse(smaps_rollup: &str) -> Option<Resident> {
    let field = |name: &str| {
        let value = smaps_rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Resident { rss_kib: field("Rss")?, anonymous_kib: field("Anonymous")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_split_into_anonymous_and_file_backed() {
        let text = "55690b467000-7fffe4d80000 ---p 00000000 00:00 0     [rollup]
Rss:                1760 kB
Pss_Anon:            111 kB
Anonymous:           112 kB
AnonHugePages:         0 kB
";
        let resident = parse(text).unwrap();
        assert_eq!((resident, resident.file_kib()), (Resident { rss_kib: 1760, anonymous_kib: 112 }, 1648));
        assert_eq!(parse("Rss: 12 kB\n"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let now = resident().unwrap();
        assert!(now.anonymous_kib > 0 && now.rss_kib > now.anonymous_kib, "{now:?}");
    }
}
