//! Adapters in processes of their own, in real folders: killed, beside each other, and with the files cut under them.
//!
//! The other process is this program again, with its part named in the environment (`child.rs`).

mod beside;
mod child;
mod cut;
mod killed;
mod rows;
mod unreadable;
