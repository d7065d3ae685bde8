//! Events, windows and the picture of the sound, as they come: server-sent events (WHATWG HTML, 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::api::{Shared, refuse};
use super::watch::Message;
use crate::{Error, ErrorKind};

/// A comment so often shows that the line is up.
const ALIVE: Duration = Duration::from_secs(15);
/// Who may watch at once; other connections are for commands.
const WATCHERS: usize = 96;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    sound: Option<String>,
}

/// What is told to one who watches.
struct Line {
    missed: VecDeque<Message>,
    told: Receiver<Message>,
    sound: Option<Receiver<Message>>,
}

pub(super) async fn stream(State(desk): Shared, wanted: Result<Query<Wanted>, QueryRejection>, headers: HeaderMap) -> Response {
    let sound = match wanted.map(|Query(wanted)| wanted.sound) {
        Ok(sound) if sound.as_deref().is_none_or(|sound| ["0", "1"].contains(&sound)) => sound,
        _ => {
            let error = Error::new(ErrorKind::Input, "the stream cannot be asked for so").expected("sound=1, sound=0, or nothing");
            return refuse(StatusCode::BAD_REQUEST, &error);
        }
    };
    if desk.watch.watching() >= WATCHERS {
        let error =
            Error::new(ErrorKind::Busy, "too many watch already").expected(format!("at most {WATCHERS}")).cure("close another page");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &error);
    }
    let after = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let (missed, told) = desk.watch.follow(after);
    let sound = sound.is_some_and(|sound| sound == "1").then(|| desk.watch.look());
    let line = Line { missed: missed.into(), told, sound };
    let events = stream::unfold(line, |mut line| async move { line.next().await.map(|event| (Ok::<_, Infallible>(event), line)) });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

impl Line {
    /// None when the daemon is gone.
    async fn next(&mut self) -> Option<Event> {
        if let Some(message) = self.missed.pop_front() {
            return Some(event(&message));
        }
        let received = match &mut self.sound {
            // Events go before pictures.
            Some(sound) => tokio::select! { biased; told = self.told.recv() => told, seen = sound.recv() => seen },
            None => self.told.recv().await,
        };
        match received {
            Ok(message) => Some(event(&message)),
            Err(RecvError::Lagged(lost)) => Some(Event::default().comment(format!("lost {lost}"))),
            Err(RecvError::Closed) => None,
        }
    }
}

fn event(message: &Message) -> Event {
    let event = Event::default().event(message.name).data(&*message.data);
    match message.number {
        Some(number) => event.id(number.to_string()),
        None => event,
    }
}
