//! What waits to be published: events in order, answers before them, and the newest of each state. Bounded: the oldest event makes room.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::sync::Notify;

use super::topics::State;

/// Bytes of events that wait.
pub(super) const WAITING_MAX_BYTES: usize = 8 << 20;
/// Answers that wait.
const ANSWERS: usize = 64;

/// Something to publish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub kind: Kind,
    pub topic: String,
    pub payload: Vec<u8>,
    pub properties: Option<PublishProperties>,
}

/// What a message is, and so what becomes of it when it was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It waits for the next connection, in its place.
    Event,
    /// The same.
    Answer,
    /// It is published at each connection, and stays with the broker.
    State(State),
    /// Status and discovery: as states.
    Standing,
}

impl Kind {
    /// Whether it stays with the broker.
    pub fn is_retained(self) -> bool {
        matches!(self, Kind::State(_) | Kind::Standing)
    }
}

/// The queue between who tells and the connection.
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    room: usize,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Message>,
    events_bytes: usize,
    answers: VecDeque<Message>,
    /// Each state, and whether it has to be published.
    states: [Option<(Message, bool)>; 2],
    dropped: u64,
    is_closed: bool,
}

impl Outbox {
    pub fn new(room: usize) -> Outbox {
        Outbox { waiting: Mutex::default(), news: Notify::new(), room }
    }

    /// Adds an event; how many were dropped for it.
    pub fn event(&self, message: Message) -> u64 {
        let mut waiting = self.lock();
        waiting.events_bytes += message.payload.len();
        waiting.events.push_back(message);
        let dropped = waiting.make_room(self.room);
        drop(waiting);
        self.news.notify_one();
        dropped
    }

    /// Sets a state, in the place of the one before.
    pub fn state(&self, state: State, message: Message) {
        self.lock().states[state as usize] = Some((message, true));
        self.news.notify_one();
    }

    /// Adds an answer; the oldest makes room.
    pub fn answer(&self, message: Message) {
        let mut waiting = self.lock();
        if waiting.answers.len() == ANSWERS {
            waiting.answers.pop_front();
        }
        waiting.answers.push_back(message);
        drop(waiting);
        self.news.notify_one();
    }

    /// Takes what is to be published next.
    pub fn next(&self) -> Option<Message> {
        let mut waiting = self.lock();
        if let Some(answer) = waiting.answers.pop_front() {
            return Some(answer);
        }
        if let Some(event) = waiting.events.pop_front() {
            waiting.events_bytes -= event.payload.len();
            return Some(event);
        }
        let state = waiting.states.iter_mut().flatten().find(|(_, is_due)| *is_due)?;
        state.1 = false;
        Some(state.0.clone())
    }

    /// Takes back what the broker did not say it received, in its order; how many events were dropped for it.
    pub fn give_back(&self, messages: Vec<Message>) -> u64 {
        let mut waiting = self.lock();
        for message in messages.into_iter().rev() {
            match message.kind {
                Kind::Event => {
                    waiting.events_bytes += message.payload.len();
                    waiting.events.push_front(message);
                }
                Kind::Answer if waiting.answers.len() < ANSWERS => waiting.answers.push_front(message),
                Kind::Answer | Kind::State(_) | Kind::Standing => {}
            }
        }
        waiting.make_room(self.room)
    }

    /// All states have to be published: the broker may have forgotten them.
    pub fn renew_states(&self) {
        self.lock().states.iter_mut().flatten().for_each(|(_, is_due)| *is_due = true);
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Events that were dropped since this was asked last.
    pub fn dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Until something was added, or it was closed, since this returned last.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn make_room(&mut self, room: usize) -> u64 {
        let mut dropped = 0;
        while self.events.len() > room || self.events_bytes > WAITING_MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.events_bytes -= oldest.payload.len();
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, text: &str) -> Message {
        Message { kind, topic: "a".into(), payload: text.into(), properties: None }
    }

    fn all(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next()).map(|m| String::from_utf8(m.payload).unwrap()).collect()
    }

    #[test]
    fn answers_go_first_then_events_in_order_then_the_newest_states() {
        let outbox = Outbox::new(10);
        for text in ["1", "2"] {
            outbox.event(message(Kind::Event, text));
            outbox.state(State::Heard, message(Kind::State(State::Heard), &format!("heard {text}")));
        }
        outbox.answer(message(Kind::Answer, "yes"));
        assert_eq!(all(&outbox), ["yes", "1", "2", "heard 2"]);
        assert!(all(&outbox).is_empty());
        outbox.renew_states();
        assert_eq!(all(&outbox), ["heard 2"]);
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted_when_there_are_too_many_or_too_large() {
        let outbox = Outbox::new(3);
        let dropped: u64 = (1..=5).map(|n| outbox.event(message(Kind::Event, &n.to_string()))).sum();
        assert_eq!((dropped, outbox.dropped(), outbox.dropped(), outbox.len()), (2, 2, 0, 3));
        outbox.event(message(Kind::Event, &"x".repeat(WAITING_MAX_BYTES - 1)));
        assert_eq!(outbox.len(), 2, "3 and 4 made room for it");
        outbox.event(message(Kind::Event, "yz"));
        assert_eq!(all(&outbox), ["yz"]);
    }

    #[test]
    fn what_was_not_received_comes_back_in_its_place_and_still_is_bounded() {
        let outbox = Outbox::new(3);
        ["3", "4"].iter().for_each(|text| _ = outbox.event(message(Kind::Event, text)));
        let back = [(Kind::Event, "1"), (Kind::Standing, "online"), (Kind::Answer, "yes"), (Kind::Event, "2")];
        let dropped = outbox.give_back(back.iter().map(|(kind, text)| message(*kind, text)).collect());
        assert_eq!(dropped, 1);
        assert_eq!(all(&outbox), ["yes", "2", "3", "4"]);
    }

    #[test]
    fn answers_that_nobody_takes_are_bounded_too() {
        let outbox = Outbox::new(1);
        (0..ANSWERS + 3).for_each(|n| outbox.answer(message(Kind::Answer, &n.to_string())));
        let answers = all(&outbox);
        assert_eq!((answers.len(), answers[0].as_str()), (ANSWERS, "3"));
    }
}
