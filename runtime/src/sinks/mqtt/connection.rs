//! The thread that speaks to the broker: it connects, publishes what waits, takes requests, and connects again.
//!
//! One connection is one session: nothing of it is kept by the broker or by the client's own state, so that neither a restarted broker nor
//! a packet that cannot be read leaves anything behind. What the broker did not say it received goes back into the queue.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, PubAckReason, Publish, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, StateError};
use tokio::time::{Instant, sleep, sleep_until};

use super::asking::{self, Asked, Reply};
use super::outbox::{Kind, Message, Outbox};
use super::settings::{Checked, RETRY_MAX_MS};
use super::topics::{OFFLINE, ONLINE};
use super::{Counts, FAREWELL, KEEP_ALIVE, WINDOW};
use crate::live::request::Request;
use crate::{Error, ErrorKind, Result, clock};

/// What the thread works with.
pub(super) struct Shared {
    pub settings: Checked,
    pub device: String,
    pub outbox: Arc<Outbox>,
    pub counts: Arc<Counts>,
    pub requests: SyncSender<Asked>,
}

/// How a connection ended.
enum End {
    /// The device left, or wanted to before it was connected.
    Left,
    Lost {
        was_connected: bool,
        why: String,
    },
}

/// Until the outbox is closed and empty, or as long as a farewell takes.
pub(super) fn run(shared: &Shared, runtime: &tokio::runtime::Runtime) {
    let (outbox, broker) = (&shared.outbox, &shared.settings.broker);
    let (mut retry_ms, mut said) = (shared.settings.retry_ms, String::new());
    while !outbox.is_closed() {
        // A packet that the library cannot read ends its connection, not the thread.
        let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(connection(shared))));
        shared.counts.connected.store(false, Relaxed);
        let (was_connected, why) = match ended {
            Ok(End::Left) => break,
            Ok(End::Lost { was_connected, why }) => (was_connected, why),
            Err(_) => (false, "a packet of the broker could not be read".to_owned()),
        };
        if was_connected {
            retry_ms = shared.settings.retry_ms;
        }
        if was_connected || why != said {
            log::warn!("no broker at {broker}: {why}; events wait, the newest {}, and it is tried again", shared.settings.waiting);
            said = why;
        }
        runtime.block_on(async {
            let until = Instant::now() + Duration::from_millis(retry_ms);
            while !outbox.is_closed() && Instant::now() < until {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = outbox.news() => {}
                }
            }
        });
        retry_ms = (2 * retry_ms).min(RETRY_MAX_MS);
    }
    let left = outbox.len();
    if left > 0 {
        log::warn!("{left} events did not reach the broker at {broker}");
    }
}

/// What is on its way.
#[derive(Default)]
struct Flight {
    /// Handed to the client, in order.
    handed: VecDeque<Message>,
    /// Sent and not received yet, by the packet's number.
    sent: BTreeMap<u16, Message>,
    /// Order in which they were sent.
    order: VecDeque<u16>,
}

impl Flight {
    fn has_room(&self) -> bool {
        self.handed.len() + self.sent.len() < WINDOW
    }

    fn is_empty(&self) -> bool {
        self.handed.is_empty() && self.sent.is_empty()
    }

    fn sent(&mut self, number: u16) {
        if let Some(message) = self.handed.pop_front() {
            self.sent.insert(number, message);
            self.order.push_back(number);
        }
    }

    fn received(&mut self, number: u16) -> Option<Message> {
        self.order.retain(|n| *n != number);
        self.sent.remove(&number)
    }

    /// All of it, the first sent first.
    fn back(mut self) -> Vec<Message> {
        let sent: Vec<Message> = self.order.iter().filter_map(|n| self.sent.remove(n)).collect();
        sent.into_iter().chain(self.handed).collect()
    }
}

/// How far leaving has come.
#[derive(PartialEq)]
enum Leaving {
    No,
    SaidOffline,
    Disconnecting,
}

async fn connection(shared: &Shared) -> End {
    let Shared { outbox, counts, settings, .. } = shared;
    let (client, mut events) = AsyncClient::new(settings.options.clone(), 2 * WINDOW);
    let (mut flight, mut is_connected, mut was_connected) = (Flight::default(), false, false);
    let (mut leaving, mut deadline) = (Leaving::No, None);
    let end = loop {
        let mut poll = pin!(events.poll());
        // Each keep-alive is an event: where none comes, the connection hangs in its own buffers.
        let mut silence = pin!(sleep(3 * KEEP_ALIVE));
        let event = loop {
            if outbox.is_closed() {
                if !is_connected {
                    break None;
                }
                deadline.get_or_insert(Instant::now() + FAREWELL);
                leave(shared, &client, &mut flight, &mut leaving);
            }
            tokio::select! {
                event = &mut poll => break Some(event),
                () = outbox.news() => {
                    if is_connected {
                        fill(shared, &client, &mut flight);
                    }
                }
                () = &mut silence => break Some(Err(ConnectionError::Io(std::io::ErrorKind::TimedOut.into()))),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break None,
            }
        };
        match event {
            None => break End::Left,
            Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                (is_connected, was_connected) = (true, true);
                counts.connected.store(true, Relaxed);
                connected(shared, &client, &mut flight);
            }
            Some(Ok(Event::Incoming(Packet::Publish(publish)))) => take(shared, &publish),
            Some(Ok(Event::Incoming(Packet::PubAck(ack)))) => {
                let message = flight.received(ack.pkid);
                let is_taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                match message {
                    Some(message) if !is_taken => refused(counts, &message, &format!("{:?}", ack.reason)),
                    Some(Message { kind: Kind::Event, .. }) => _ = counts.sent.fetch_add(1, Relaxed),
                    _ => {}
                }
            }
            Some(Ok(Event::Incoming(Packet::SubAck(ack)))) => {
                if ack.return_codes.iter().any(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
                    log::error!("the broker lets this device take no labels ({:?}); look at its access list", ack.return_codes);
                }
            }
            Some(Ok(Event::Outgoing(Outgoing::Publish(number)))) => flight.sent(number),
            Some(Ok(Event::Outgoing(Outgoing::Disconnect))) if leaving == Leaving::Disconnecting => break End::Left,
            // The library takes its leave of a broker that breaks the protocol.
            Some(Ok(Event::Outgoing(Outgoing::Disconnect))) => {
                break End::Lost { was_connected, why: "the broker broke the protocol".into() };
            }
            Some(Ok(_)) => {}
            Some(Err(e)) => {
                if is_too_large(&e)
                    && let Some(message) = flight.handed.pop_front()
                {
                    refused(counts, &message, &e.to_string());
                }
                break End::Lost { was_connected, why: e.to_string() };
            }
        }
        if is_connected {
            fill(shared, &client, &mut flight);
        }
    };
    let dropped = outbox.give_back(flight.back());
    counts.dropped.fetch_add(dropped, Relaxed);
    end
}

/// What is said first on each connection.
fn connected(shared: &Shared, client: &AsyncClient, flight: &mut Flight) {
    let Shared { settings, outbox, device, .. } = shared;
    let topics = &settings.topics;
    // That one is kept is said of those that come now, too.
    let kept = |t: &String| Filter { preserve_retain: true, ..Filter::new(t.clone(), QoS::AtLeastOnce) };
    let filters = [&topics.label, &topics.undo].map(kept);
    if client.try_subscribe_many(filters).is_err() {
        log::error!("labels cannot be taken from {} and {}", topics.label, topics.undo);
    }
    let standing = |topic: &str, payload: Vec<u8>| Message { kind: Kind::Standing, topic: topic.into(), payload, properties: None };
    publish(client, flight, standing(&topics.status, ONLINE.into()));
    if !settings.discovery.is_empty() {
        let (topic, text) = topics.discovery(&settings.discovery, device);
        publish(client, flight, standing(&topic, text.to_string().into_bytes()));
    }
    outbox.renew_states();
    log::info!("connected to the broker at {} as {}", settings.broker, topics.status);
    let dropped = outbox.dropped();
    if dropped > 0 {
        log::warn!("the broker was away for so long that {dropped} events were dropped, the oldest");
    }
}

/// Hands over as much as may be on its way at once.
fn fill(shared: &Shared, client: &AsyncClient, flight: &mut Flight) {
    while flight.has_room() {
        let Some(message) = shared.outbox.next() else { return };
        publish(client, flight, message);
    }
}

fn publish(client: &AsyncClient, flight: &mut Flight, message: Message) {
    let Message { kind, topic, payload, properties } = message.clone();
    let properties = properties.unwrap_or_default();
    // There is room for a whole window, and the topics were checked.
    match client.try_publish_with_properties(topic, QoS::AtLeastOnce, kind.is_retained(), payload, properties) {
        Ok(()) => flight.handed.push_back(message),
        Err(e) => log::error!("{} cannot be published: {e}", message.topic),
    }
}

/// Goes on to leave: first all that waits, then the status, then the connection.
fn leave(shared: &Shared, client: &AsyncClient, flight: &mut Flight, leaving: &mut Leaving) {
    fill(shared, client, flight);
    if !flight.is_empty() {
        return;
    }
    match leaving {
        Leaving::No => {
            let topic = shared.settings.topics.status.clone();
            publish(client, flight, Message { kind: Kind::Standing, topic, payload: OFFLINE.into(), properties: None });
            *leaving = Leaving::SaidOffline;
        }
        Leaving::SaidOffline if client.try_disconnect().is_ok() => *leaving = Leaving::Disconnecting,
        Leaving::SaidOffline | Leaving::Disconnecting => {}
    }
}

/// Takes a request, or says why not.
fn take(shared: &Shared, publish: &Publish) {
    let topics = &shared.settings.topics;
    // One that was kept is sent without a text when it is deleted.
    if publish.payload.is_empty() {
        return;
    }
    let is_label = publish.topic == topics.label.as_bytes();
    let reply = Reply::of(publish.properties.as_ref(), &topics.answer);
    let request = if publish.retain {
        let topic = String::from_utf8_lossy(&publish.topic);
        log::warn!("a retained request under {topic} is ignored: it would be done again at each start; publish it without retain");
        let error = Error::new(ErrorKind::Input, "a retained request is ignored: it would be done again at each start");
        Err(error.at(topic).cure("publish it without retain, and delete the one that is kept"))
    } else if is_label {
        Request::label(&publish.payload).map(|r| r.heard_until(clock::since_boot_ns()))
    } else {
        Request::undo(&publish.payload)
    };
    let refusal = match request {
        Ok(request) => match shared.requests.try_send(Asked { request, reply }) {
            Ok(()) => return,
            Err(TrySendError::Full(asked) | TrySendError::Disconnected(asked)) => {
                let busy = Error::new(ErrorKind::Busy, "too many requests wait").cure("try again in a moment");
                asking::answer(asked.reply, is_label, Err(busy))
            }
        },
        Err(e) => asking::answer(reply, is_label, Err(e)),
    };
    shared.outbox.answer(refusal);
}

fn refused(counts: &Counts, message: &Message, why: &str) {
    if matches!(message.kind, Kind::Event) {
        counts.refused.fetch_add(1, Relaxed);
    }
    log::warn!("the broker takes nothing under {}: {why}; look at its access list and limits", message.topic);
}

fn is_too_large(e: &ConnectionError) -> bool {
    let too_large = |e: &StateError| {
        matches!(e, StateError::OutgoingPacketTooLarge { .. } | StateError::Deserialization(PacketError::OutgoingPacketTooLarge { .. }))
    };
    matches!(e, ConnectionError::MqttState(e) if too_large(e))
}

/// A runtime for one thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let failed = |e| Error::new(ErrorKind::Storage, "the system gives no events of sockets").because(e).cure("end other programs");
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)
}

impl Reply {
    /// Where the one who asks wants the answer, by MQTT 5, or else `topic`. A topic that cannot be one is passed over.
    fn of(properties: Option<&PublishProperties>, topic: &str) -> Reply {
        let wanted = properties.and_then(|p| p.response_topic.as_deref()).filter(|t| super::topics::is_valid(t));
        let correlation_data = properties.and_then(|p| p.correlation_data.clone());
        let properties = correlation_data.map(|data| PublishProperties { correlation_data: Some(data), ..Default::default() });
        Reply { topic: wanted.unwrap_or(topic).to_owned(), properties }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message { kind: Kind::Event, topic: "a".into(), payload: text.into(), properties: None }
    }

    #[test]
    fn what_was_not_received_comes_back_in_the_order_in_which_it_was_sent() {
        let mut flight = Flight::default();
        ["1", "2", "3", "4", "5"].iter().for_each(|text| flight.handed.push_back(message(text)));
        // Numbers begin anew where they are free again.
        [15, 16, 1, 2].into_iter().for_each(|n| flight.sent(n));
        assert_eq!(flight.received(16), Some(message("2")));
        assert_eq!(flight.received(16), None, "received twice");
        assert_eq!(flight.back(), ["1", "3", "4", "5"].map(message));
    }

    #[test]
    fn an_answer_goes_where_it_is_wanted_unless_that_is_no_topic() {
        let wants = |topic: &str| PublishProperties { response_topic: Some(topic.into()), ..Default::default() };
        assert_eq!(Reply::of(Some(&wants("me/answers")), "box/answer").topic, "me/answers");
        for topic in ["", "a/#", "$SYS/x"] {
            assert_eq!(Reply::of(Some(&wants(topic)), "box/answer").topic, "box/answer");
        }
        assert_eq!(Reply::of(None, "box/answer"), Reply { topic: "box/answer".into(), properties: None });
    }
}
