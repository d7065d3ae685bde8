//! The adapter on disk: a folder of four preallocated files (docs/format.md has every byte).
//!
//! | file | holds |
//! |---|---|
//! | `header` | what was fixed at creation |
//! | `chunks` | labelled rows; the open chunk is the journal |
//! | `state` | checkpoints: roots and the extents they name |
//! | `lock` | held by the one writer |

mod adapter;
pub mod chunks;
mod commit;
mod contents;
mod correct;
mod folder;
pub mod frame;
pub mod header;
mod held;
mod journal;
mod kept;
mod map;
pub mod pack;
pub mod record;
mod recover;
mod rewrite;
mod salvage;
mod sources;
pub mod state;
pub mod storage;
pub mod tally;
mod v1;
pub mod verify;
mod verify_chunks;

pub use adapter::{Access, Acknowledgement, Adapter, Durability, HeldRow, Recovery};
pub use folder::HEADER;
pub use header::{Creation, Header};
pub use record::{Batch, Learned, NewRow, ORDINARY, RowFlags};
pub use rewrite::{Anew, Loss, Sink, Statistics};
pub use salvage::{Change, ClassRows, Damage, HeaderFound, Salvage, SalvageReport, Skipped, Wrong};
pub use state::OriginState;
pub use tally::{Earlier, Tally};
