//! What the tests of the whole workspace share: the functions that take any bytes and must never panic ([`fuzz`]), and a
//! microphone without hardware ([`sound_server`]), a broker ([`broker`]), what speaks to a daemon ([`http`]), and the long proofs
//! (`soak`). The tests themselves lie in tests/ beside this folder.

pub mod broker;
pub mod fuzz;
pub mod http;
pub mod live;
#[cfg(feature = "soak")]
pub mod soak;
pub mod sound_server;
pub mod usage;
