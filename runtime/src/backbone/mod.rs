//! The frozen backbone: its manifest, and the session that runs it.

pub mod manifest;
