//! The other process: opens the adapter, does its part, and says each step on its standard output before and after it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wheatear::store::{Access, Adapter, Durability};

use crate::rows::teach;

const PART: &str = "WHEATEAR_TEST_PART";
const FOLDER: &str = "WHEATEAR_TEST_FOLDER";
/// Stands before what the child says: the test harness writes to the same place.
const MARK: &str = "child: ";

/// This program again, to play `part` with the adapter in `folder`.
pub fn command(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child::plays_its_part", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
    command
}

/// A running child.
pub struct Other {
    pub child: Child,
    input: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub fn start(part: &str, folder: &Path) -> Other {
        let mut child = command(part, folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Other { child, input, said: BufReader::new(output).lines() }
    }

    /// What it says next; `None` when it has ended.
    pub fn says(&mut self) -> Option<String> {
        loop {
            // A killed child may end in the middle of a line.
            let line = self.said.next()?.ok()?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        let said = self.says();
        assert_eq!(said.as_deref(), Some(wanted));
    }

    pub fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
        self.input.flush().unwrap();
    }

    pub fn end(mut self) -> ExitStatus {
        drop(self.input);
        self.child.wait().unwrap()
    }
}

fn say(what: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{what}").and_then(|()| out.flush()).unwrap();
}

/// The next word from the parent; `None` when there will be none.
fn told() -> Option<String> {
    let mut line = String::new();
    (std::io::stdin().lock().read_line(&mut line).unwrap() > 0).then(|| line.trim().to_owned())
}

#[test]
#[ignore = "the part of another process: the tests start it"]
fn plays_its_part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    let folder = PathBuf::from(folder);
    match part.split(' ').collect::<Vec<_>>()[..] {
        ["live", seed, first] => live(&folder, seed.parse().unwrap(), first.parse().unwrap()),
        ["obey"] => obey(&folder),
        ["open", "read"] => open(&folder, Access::Read),
        ["open", "write"] => open(&folder, Access::Write),
        _ => panic!("no such part: {part}"),
    }
}

/// Labels, corrections, checkpoints and rewriting, for ever.
fn live(folder: &Path, seed: u64, first: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut next = first;
    let mut adapter = Adapter::open(folder, Access::Write).unwrap();
    say(format_args!("opened"));
    loop {
        match random.random_range(0..100) {
            0..70 => {
                let count = if random.random_range(0..25) == 0 { random.random_range(100..900) } else { random.random_range(1..5) };
                let len = if random.random_range(0..3) == 0 { random.random_range(0..12_000) } else { 8 };
                let durability = if random.random_range(0..2) == 0 { Durability::Now } else { Durability::Later };
                say(format_args!("learn {count}"));
                let ack = teach(&mut adapter, next, count, len, durability);
                assert_eq!(ack.first_row, next);
                next += count;
                say(format_args!("learned {}", if ack.durable { "durably" } else { "for now" }));
            }
            70..85 => {
                say(format_args!("undo"));
                match adapter.undo(1, if random.random_range(0..2) == 0 { Durability::Now } else { Durability::Later }) {
                    Ok((rows, _)) => say(format_args!("undone {rows}")),
                    Err(e) => say(format_args!("refused {:?}", e.kind())),
                }
            }
            85..93 => {
                adapter.checkpoint().unwrap();
                say(format_args!("checkpointed"));
            }
            93..97 => {
                adapter.sync().unwrap();
                say(format_args!("synced"));
            }
            _ => {
                adapter.compact().unwrap();
                say(format_args!("compacted"));
            }
        }
    }
}

/// What the parent says, word by word.
fn obey(folder: &Path) {
    let mut adapter = Adapter::open(folder, Access::Write).unwrap();
    say(format_args!("opened"));
    while let Some(word) = told() {
        match word.split(' ').collect::<Vec<_>>()[..] {
            ["learn", first, count, len] => {
                let (first, count) = (first.parse().unwrap(), count.parse().unwrap());
                teach(&mut adapter, first, count, len.parse().unwrap(), Durability::Now);
            }
            ["checkpoint"] => adapter.checkpoint().unwrap(),
            ["compact"] => adapter.compact().unwrap(),
            ["look"] => {
                // Where they lie: through the map.
                let mut sum = 0u64;
                let seen = adapter.rows_in_place(|row| {
                    sum += row.packed.iter().map(|b| u64::from(*b)).sum::<u64>();
                    Ok(())
                });
                say(format_args!("saw {sum} {:?}", seen.is_ok()));
            }
            _ => panic!("no such word: {word}"),
        }
        say(format_args!("{word}: done"));
    }
}

/// Opens, and says what came of it.
fn open(folder: &Path, access: Access) {
    match Adapter::open(folder, access) {
        Ok(adapter) => {
            let rows = adapter.held_rows() + adapter.evicted_rows();
            say(format_args!("{rows} rows, {} held, {} damaged", adapter.held_rows(), adapter.damaged_chunks()));
        }
        Err(e) => say(format_args!("{:?}: {e}", e.kind())),
    }
}
