//! Any bytes at all, given to everything that reads bytes: each target is one function that takes them and asserts what must
//! hold, so that libFuzzer (`cargo xtask fuzz`) and an ordinary test run the same code.
//!
//! What lies under a checksum would never be reached by chance, so targets put right frames around the bytes they are given.

mod adapter;
mod bits;
mod block;
mod board;
mod class_name;
mod config;
mod desk;
mod frame;
mod header;
mod http;
mod label_set;
mod lives;
mod manifest;
mod memory;
mod patch;
mod pieces;
mod record;
mod root;
mod rows;
mod wreck;

/// One thing that reads bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its module, its fuzz target and its folder of seeds.
    pub name: &'static str,
    /// Takes any bytes; panics when something that must hold does not.
    pub run: fn(&[u8]),
    /// Good inputs to begin from, each with the name of its file.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All targets, in the order of their names.
pub const TARGETS: [Target; 14] = [
    Target { name: "adapter", run: adapter::run, seeds: adapter::seeds },
    Target { name: "bits", run: bits::run, seeds: bits::seeds },
    Target { name: "block", run: block::run, seeds: block::seeds },
    Target { name: "board", run: board::run, seeds: board::seeds },
    Target { name: "class_name", run: class_name::run, seeds: class_name::seeds },
    Target { name: "config", run: config::run, seeds: config::seeds },
    Target { name: "frame", run: frame::run, seeds: frame::seeds },
    Target { name: "header", run: header::run, seeds: header::seeds },
    Target { name: "http", run: http::run, seeds: http::seeds },
    Target { name: "label_set", run: label_set::run, seeds: label_set::seeds },
    Target { name: "manifest", run: manifest::run, seeds: manifest::seeds },
    Target { name: "record", run: record::run, seeds: record::seeds },
    Target { name: "root", run: root::run, seeds: root::seeds },
    Target { name: "wreck", run: wreck::run, seeds: wreck::seeds },
];

/// The target called `name`.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no fuzz target is called {name}"))
}
