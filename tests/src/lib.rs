//! What the tests of the whole workspace share: the functions that take any bytes and must never panic ([`fuzz`]), and a
//! microphone without hardware ([`sound_server`]), a broker ([`broker`]). The tests themselves lie in tests/ beside this folder.

pub mod broker;
pub mod fuzz;
pub mod live;
pub mod sound_server;
