//! Where events go: files that other programs open ([`EventFile`]), a database that can be paged through (`sqlite`), an MQTT broker, by which
//! labels come back (`mqtt`), clips of the sound (`clips`). Each is a [`crate::event::Sink`].
//!
//! Whoever tells events waits for its sinks, so what may take long stands [`Behind`] a bounded queue; the broker has one of its own. What
//! finds no room is dropped and counted: events are news, and a full disk or an absent broker must not stop a device from hearing. Disk use
//! is bounded: files by `max_mib`, the database by rows.

pub mod behind;
#[cfg(feature = "clips")]
pub mod clips;
pub mod file;
pub mod format;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod utc;

pub use behind::Behind;
#[cfg(feature = "clips")]
pub use clips::Clips;
pub use file::EventFile;
pub use format::Format;
#[cfg(feature = "mqtt")]
pub use mqtt::Mqtt;
#[cfg(feature = "sqlite")]
pub use sqlite::{Database, History};
