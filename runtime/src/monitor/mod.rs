//! Monitor: how well an adapter answers as its world changes. Nothing here holds a clock or reads data: answers, embeddings and
//! blocks are arguments.

pub mod adwin;
pub mod prequential;
pub mod ring;

pub use adwin::{Adwin, Change};
pub use prequential::{Prequential, Report};
pub use ring::Ring;
