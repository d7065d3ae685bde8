//! The long proofs of live sound: [`live`] hears through a sound server in real time, [`hour`] as fast as the machine allows. Both play
//! every clip that the set-up has made, and need what it makes.

pub mod alone;
pub mod clips;
pub mod gate;
pub mod hour;
pub mod live;
pub mod process;
pub mod report;
pub mod speech;
pub mod tape;
pub mod watchers;
