//! An adapter as plain files that other programs read: `adapter.json`, `rows.safetensors` and `statistics.safetensors`
//! (runtime/docs/dump.md describes them).

mod json;
mod read;
mod rows;
mod statistics;
mod tensors;
mod write;

pub use read::read;
pub use write::{Dumped, write};

/// Number of this form of an adapter.
pub const FORMAT: u32 = 1;
/// File with everything but tensors.
pub const ADAPTER: &str = "adapter.json";
/// File with the held rows.
pub const ROWS: &str = "rows.safetensors";
/// File with the sums.
pub const STATISTICS: &str = "statistics.safetensors";
