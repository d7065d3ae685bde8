//! Every fuzz target on its seeds and on damage to them, without a fuzzer: nothing panics, nothing hangs, nothing takes much
//! memory. `cargo xtask fuzz` looks further.

use std::alloc::System;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cap::Cap;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use wheatear_tests::fuzz::{TARGETS, target};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// No input is longer than some kilobytes, so nothing may take more memory than this, in MiB.
const PEAK_MAX_MIB: usize = 192;
/// Times the cases of an ordinary property.
const CASES: u32 = 16;
/// Seeds that were found by fuzzing begin so; all others are made by their target.
const FOUND: &str = "found-";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The committed seeds of a target, by name.
fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = folder().join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(|e| read(e.unwrap())).collect()
}

/// A change to bytes; places are taken modulo the length.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Overwrite(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Repeat(Index, Index, usize),
    Truncate(Index),
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let at = |index: &Index| index.index(len + 1);
        match self {
            Damage::Flip(i, bit) => bytes.iter_mut().skip(at(i)).take(1).for_each(|b| *b ^= 1 << bit),
            Damage::Overwrite(i, new) => bytes.iter_mut().skip(at(i)).zip(new).for_each(|(b, n)| *b = *n),
            Damage::Insert(i, new) => drop(bytes.splice(at(i)..at(i), new.iter().copied())),
            Damage::Delete(i, n) => drop(bytes.drain(at(i)..len.min(at(i) + n))),
            Damage::Repeat(i, from, n) => {
                let part = bytes[at(from)..len.min(at(from) + n)].to_vec();
                drop(bytes.splice(at(i)..at(i), part));
            }
            Damage::Truncate(i) => bytes.truncate(at(i)),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = |n: u64, width: usize| n.to_le_bytes()[..width].to_vec();
    let edge = prop_oneof![Just(0), Just(1), Just(127), Just(128), Just(u64::MAX), Just(u64::MAX >> 1), Just(u64::MAX - 1), Just(1 << 63)];
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..12),
        (edge, prop_oneof![Just(1usize), Just(2), Just(4), Just(8)]).prop_map(move |(n, width)| number(n, width)),
    ];
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), 0u8..8).prop_map(|(i, bit)| Damage::Flip(i, bit)),
        4 => (place(), bytes.clone()).prop_map(|(i, b)| Damage::Overwrite(i, b)),
        2 => (place(), bytes).prop_map(|(i, b)| Damage::Insert(i, b)),
        2 => (place(), 1usize..20).prop_map(|(i, n)| Damage::Delete(i, n)),
        2 => (place(), place(), 1usize..40).prop_map(|(i, from, n)| Damage::Repeat(i, from, n)),
        1 => place().prop_map(Damage::Truncate),
    ]
}

fn damaged(seed: &[u8], changes: &[Damage]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    changes.iter().for_each(|c| c.to(&mut bytes));
    bytes
}

fn holds_near_its_seeds(name: &str) {
    let (target, seeds) = (target(name), seeds(name));
    assert!(!seeds.is_empty(), "no seeds of {name}");
    for (seed, bytes) in &seeds {
        eprintln!("seed {seed}");
        (target.run)(bytes);
    }
    let seeds: Vec<Vec<u8>> = seeds.into_values().collect();
    let ordinary = ProptestConfig::default();
    let config = ProptestConfig { cases: CASES * ordinary.cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ordinary };
    let cases = (any::<Index>(), proptest::collection::vec(damage(), 1..6));
    let done = TestRunner::new(config).run(&cases, |(seed, changes)| {
        (target.run)(&damaged(&seeds[seed.index(seeds.len())], &changes));
        Ok(())
    });
    if let Err(TestError::Fail(why, (seed, changes))) = done {
        let bytes = damaged(&seeds[seed.index(seeds.len())], &changes);
        panic!("{name}: {why}\nby these bytes: {}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
    done.expect("only failures end it");
    assert!(HEAP.max_allocated() >> 20 < PEAK_MAX_MIB, "{name} took {} MiB", HEAP.max_allocated() >> 20);
}

macro_rules! near_their_seeds {
    ($($name:ident)*) => {
        mod holds_near_its_seeds {
            $(#[test]
            fn $name() {
                super::holds_near_its_seeds(stringify!($name));
            })*
        }
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

near_their_seeds!(adapter bits block board class_name config frame header http label_set manifest record root wreck);

#[test]
fn every_target_is_tested_here_and_built_for_the_fuzzer() {
    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    assert_eq!(TESTED, names);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in &names {
        let source = fs::read_to_string(folder().join(format!("targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("target(\"{name}\")")), "targets/{name}.rs runs another target");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
    }
    assert_eq!(fs::read_dir(folder().join("targets")).unwrap().count(), names.len());
}

#[test]
fn the_committed_seeds_are_those_that_the_present_formats_give() {
    for target in TARGETS {
        let made: BTreeMap<String, Vec<u8>> = (target.seeds)().into_iter().collect();
        let kept: BTreeMap<String, Vec<u8>> = seeds(target.name).into_iter().filter(|(name, _)| !name.starts_with(FOUND)).collect();
        assert!(made.keys().eq(kept.keys()), "{}: {:?}\n{:?}", target.name, made.keys(), kept.keys());
        let changed: Vec<&String> = made.keys().filter(|name| made[*name] != kept[*name]).collect();
        assert!(changed.is_empty(), "{}: write the seeds again: {changed:?}", target.name);
    }
}

/// For a new format: run with `--ignored`.
#[test]
#[ignore = "writes the seeds"]
fn write_the_seeds() {
    for target in TARGETS {
        let folder = folder().join("seeds").join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for name in seeds(target.name).keys().filter(|name| !name.starts_with(FOUND)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, bytes) in (target.seeds)() {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
