//! Events by MQTT 5, to a broker and through it to Home Assistant and others; labels come back.
//!
//! ```text
//! PREFIX/event/KIND    each event as JSON, as it comes
//! PREFIX/heard         retained: {"class", "probability", "begin", "source", "id"} of what began last
//! PREFIX/knows         retained: {"generation", "classes"}: how many classes the head that serves knows
//! PREFIX/status        retained: "online", or "offline" (also the last will: said by the broker when the device has gone)
//! PREFIX/label         taken: {"target": {"last_ms": 3000}, "labels": "wren;robin", "by": "anna"}, see [`crate::live::request`]
//! PREFIX/undo          taken: {"labels": 1}
//! PREFIX/answer        {"answer": "learned" | "undone", "rows", "generation", "durable"} or {"answer": "refused", "code", "text"}
//! homeassistant/device/wheatear_DEVICE/config    retained: discovery of a device with sensors of these topics
//! ```
//!
//! The prefix is `wheatear/DEVICE` where the settings name none. Everything is published at least once (QoS 1). An answer goes to the
//! response topic that the request names, with its correlation data, and else to `answer`.
//!
//! A **retained** request is ignored, answered as refused, and logged: the broker would send it again at each start, and it would be learned
//! each time. Requests of more than 4 KiB are refused unread; of more than 16 KiB the broker drops them, which it was asked to. There is no
//! session: what is asked while the device is away is lost, as "the last three seconds" would be others by then.
//!
//! **Bounded**: while there is no broker, `waiting` events wait, and 8 MiB at most; the oldest are dropped and counted, which
//! [`Mqtt::take`] says, and the log once the broker is back. Events are not written to disk here. It is tried again after 1 s, 2 s, and so on
//! up to a minute. At the end what waits may take [`FAREWELL`].
//!
//! Who asks and the daemon are brought together by a closure, since a daemon is started with its sinks: a cell is filled with the daemon's
//! handle afterwards, as `service` does.

mod asking;
mod connection;
mod outbox;
mod settings;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use self::connection::Shared;
use self::outbox::{Kind, Message, Outbox};
use self::topics::Topics;
use crate::event::{Event, Sink, What};
use crate::live::request::{Answered, Request};
use crate::{Error, ErrorKind, Result};

pub use settings::{RETRY_MAX_MS, Settings, WAITING_MAX};

/// How long what waits may take at the end.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Longest event as JSON, in bytes.
pub const EVENT_MAX_BYTES: usize = 256 << 10;
/// Time without a word after which the other side is asked whether it is there. The broker gives up after one and a half of it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Messages on their way at once.
const WINDOW: usize = 16;
/// Longest packet that the broker may send.
const PACKET_MAX_BYTES: u32 = 16 << 10;
/// Requests that wait.
const REQUESTS: usize = 8;

/// A broker that events are published to.
pub struct Mqtt {
    topics: Topics,
    broker: String,
    outbox: Arc<Outbox>,
    counts: Arc<Counts>,
    /// The event that began last.
    newest: Option<u64>,
    /// Breaks when the thread has ended.
    ended: Receiver<()>,
}

/// What became of the events.
#[derive(Debug, Default)]
pub struct Counts {
    connected: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Whether there is a broker now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Events that the broker said it received.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Events that found no room while there was none, or were too long.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Events that the broker would not take.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl Mqtt {
    /// Begins to connect, and goes on until it is dropped. `ask` does what is asked, on a thread of its own, one request at a time.
    ///
    /// # Errors
    /// `Config` when a setting cannot be one; `Missing`, `Input` or `Storage` when a file that they name cannot be read, or the system gives
    /// no thread. A broker that cannot be reached is no error: it is tried again.
    pub fn start(settings: &Settings, ask: impl Fn(Request) -> Result<Answered> + Send + 'static) -> Result<Mqtt> {
        let checked = settings.check()?;
        let (topics, broker) = (checked.topics.clone(), checked.broker.clone());
        let (outbox, counts) = (Arc::new(Outbox::new(checked.waiting)), Arc::<Counts>::default());
        let ((requests, asked), (ending, ended)) = (sync_channel(REQUESTS), sync_channel(0));
        let runtime = connection::runtime()?;
        let answers = outbox.clone();
        // It may hang in what it does, so nobody waits for it; it ends when nobody can ask.
        spawn("mqtt-asking", move || asking::run(asked, ask, &answers))?;
        let device = settings.device.clone();
        let shared = Shared { settings: checked, device, outbox: outbox.clone(), counts: counts.clone(), requests };
        spawn("mqtt", move || {
            connection::run(&shared, &runtime);
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            drop::<SyncSender<()>>(ending);
        })?;
        Ok(Mqtt { topics, broker, outbox, counts, newest: None, ended })
    }

    /// What became of the events; stays readable when the sink has been given away.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

impl Sink for Mqtt {
    fn take(&mut self, event: &Event) -> Result<()> {
        let unclear = |e| Error::new(ErrorKind::Storage, "an event cannot be written").at(event.what.kind()).because(e);
        let payload = serde_json::to_vec(event).map_err(unclear)?;
        if payload.len() > EVENT_MAX_BYTES {
            self.counts.dropped.fetch_add(1, Relaxed);
            return Err(Error::new(ErrorKind::Limit, "an event is too long to be published")
                .at(event.what.kind())
                .expected(format!("at most {EVENT_MAX_BYTES} bytes"))
                .found(format!("{} bytes", payload.len())));
        }
        // What ends after another began is not what was heard last.
        let is_past = match event.what {
            What::Began { id, .. } => {
                self.newest = Some(id);
                false
            }
            What::Heard { id: Some(id), .. } => self.newest.is_some_and(|newest| newest != id),
            _ => false,
        };
        if let Some((state, text)) = topics::state_of(event).filter(|_| !is_past) {
            let (topic, payload) = (self.topics.state(state).to_owned(), text.to_string().into_bytes());
            self.outbox.state(state, Message { kind: Kind::State(state), topic, payload, properties: None });
        }
        let dropped = self.outbox.event(Message { kind: Kind::Event, topic: self.topics.event(event), payload, properties: None });
        self.counts.dropped.fetch_add(dropped, Relaxed);
        if dropped > 0 {
            return Err(Error::new(ErrorKind::Limit, "more events wait for the broker than may; the oldest are dropped")
                .at(&self.broker)
                .cure("look whether the broker runs and can be reached"));
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.counts.dropped() + self.counts.refused()
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.outbox.close();
        // It keeps to the time itself, unless the system hangs.
        if self.ended.recv_timeout(FAREWELL + Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            log::error!("the connection to the broker at {} does not end; {} events are lost", self.broker, self.outbox.len());
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let failed = |e| Error::new(ErrorKind::Storage, "the system gives no thread").at(name).because(e).cure("end other programs");
    std::thread::Builder::new().name(name.into()).spawn(work).map(drop).map_err(failed)
}
