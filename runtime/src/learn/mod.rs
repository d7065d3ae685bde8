//! Learning: rows carry label sets of class names, and rows add up to blocks of exact integer statistics.

pub mod block;
pub mod class;
pub mod label_text;
pub mod origin;

pub use block::{Block, BlockKind, ClassSums};
pub use class::{ClassName, LabelSet};
pub use origin::Origin;
