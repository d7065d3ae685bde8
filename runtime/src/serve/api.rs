//! The routes, and what each answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BODY_LEN_BYTES, Desk, metrics, page, stream};
use crate::daemon::{Handle, SourceCounts};
use crate::event::Event;
use crate::live::request;
use crate::{Error, ErrorKind, Result, clock};

/// The contract.
pub const OPENAPI: &str = include_str!("openapi.json");
/// How long the body of a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events that are given at most.
const EVENTS_MAX: u32 = 500;
/// The page may use what comes from here alone, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) type Shared = State<Arc<Desk>>;

/// Everything that is served.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    let api = Router::new()
        .route("/status", get(status))
        .route("/stream", get(stream::stream))
        .route("/events", get(events))
        .route("/questions", get(questions))
        .route("/updates", get(updates))
        .route("/labels", post(label))
        .route("/undo", post(undo))
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) }));
    let mut router = Router::new().nest("/api/v1", api).route("/metrics", get(metrics::metrics)).route("/healthz", get(health));
    for (path, kind, text) in page::FILES.iter().copied() {
        router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    router
        .fallback(|| async {
            refuse(StatusCode::NOT_FOUND, &Error::new(ErrorKind::Missing, "there is nothing here").cure("see /api/v1/openapi.json"))
        })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, &Error::new(ErrorKind::Input, "not this way").cure("see /api/v1/openapi.json"))
        })
        .layer(DefaultBodyLimit::max(BODY_LEN_BYTES))
        .layer(middleware::from_fn_with_state(desk.clone(), admit))
        .with_state(desk)
}

/// Lets in who may ask, and says to browsers what the answer is not for.
async fn admit(State(desk): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_open = path == "/healthz" || page::FILES.iter().any(|(file, ..)| *file == path);
    let mut response = match desk.guard.admit(request.method(), request.headers(), is_open) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => refuse(status, &Error::new(ErrorKind::Input, why)),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An error as an answer.
pub(super) fn refuse(status: StatusCode, error: &Error) -> Response {
    let kind = format!("{:?}", error.kind()).to_lowercase();
    let body = json!({"error": {"text": error.to_string(), "kind": kind, "code": error.kind().exit_code()}});
    let json = [(header::CONTENT_TYPE, "application/json")];
    match status {
        StatusCode::UNAUTHORIZED => (status, [(header::WWW_AUTHENTICATE, "Bearer")], json, body.to_string()).into_response(),
        _ => (status, json, body.to_string()).into_response(),
    }
}

/// An answer, or the error in its stead.
fn answer<T: Serialize>(result: Result<T>) -> Response {
    let encoded = result.and_then(|value| {
        serde_json::to_string(&value).map_err(|e| Error::new(ErrorKind::Storage, "the answer cannot be encoded").because(e))
    });
    match encoded {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refuse(status_of(error.kind()), &error),
    }
}

fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Input | ErrorKind::Config => StatusCode::BAD_REQUEST,
        ErrorKind::Missing => StatusCode::NOT_FOUND,
        ErrorKind::Mismatch | ErrorKind::Limit | ErrorKind::Learn => StatusCode::CONFLICT,
        ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Storage | ErrorKind::Corrupt | ErrorKind::Backbone => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Asks the daemon, on a thread that may wait.
pub(super) async fn ask<T: Send + 'static>(desk: &Arc<Desk>, question: impl FnOnce(&Handle) -> Result<T> + Send + 'static) -> Result<T> {
    let busy = || Error::new(ErrorKind::Busy, "too many requests wait for the daemon").cure("try again in a moment");
    // Held until the daemon has answered, also where nobody waits for it any more.
    let turn = desk.commands.clone().try_acquire_owned().map_err(|_| busy())?;
    let handle = desk.handle.clone();
    let work = move || {
        let answer = question(&handle);
        drop(turn);
        answer
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(busy()))
}

async fn health(State(desk): Shared) -> Response {
    match desk.ill() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn status(State(desk): Shared) -> Response {
    let counts = match ask(&desk, Handle::counts).await {
        Ok(counts) => counts,
        Err(e) => return answer::<()>(Err(e)),
    };
    let (facts, about) = (desk.watch.facts(), &desk.about);
    let report = facts.as_ref().map(|f| &f.report);
    #[derive(Serialize)]
    struct Numbered<'a> {
        number: usize,
        #[serde(flatten)]
        counts: &'a SourceCounts,
    }
    let microphones: Vec<_> = counts.sources.iter().enumerate().map(|(n, counts)| Numbered { number: n + 1, counts }).collect();
    answer(Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": desk.begun.elapsed().as_secs_f64(),
        "backbone": about.backbone,
        "adapter": {
            "generation": facts.as_ref().map_or(0, |f| f.generation),
            "rows": facts.as_ref().map_or(0, |f| f.rows),
            "max_classes": facts.as_ref().map_or(0, |f| f.max_classes),
            "classes": facts.as_ref().map_or(&[][..], |f| &f.classes),
            "background_rows": facts.as_ref().map_or(0, |f| f.background_rows),
            "refused": facts.as_ref().and_then(|f| f.refused.as_ref()),
        },
        "microphones": microphones,
        "counts": counts,
        "statistics": {
            "windows": facts.as_ref().map_or(0, |f| f.answers),
            "accuracy": report.and_then(|r| r.accuracy),
            "confidence": report.and_then(|r| r.confidence),
            "calibration": report.and_then(|r| r.ece),
            "forgetting": report.and_then(|r| r.forgetting),
            "drift": report.and_then(|r| r.drift),
        },
        "temperature_c": clock::temperature_c(),
        "clients": desk.watch.watching(),
    })))
}

async fn questions(State(desk): Shared) -> Response {
    answer(ask(&desk, Handle::questions).await)
}

async fn updates(State(desk): Shared) -> Response {
    answer(Ok(desk.watch.updates()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    before: Option<u64>,
    limit: Option<u32>,
    kind: Option<String>,
    class: Option<String>,
}

#[derive(Serialize)]
struct Numbered {
    number: u64,
    event: Event,
}

fn numbered(all: Vec<(u64, Event)>) -> Vec<Numbered> {
    all.into_iter().map(|(number, event)| Numbered { number, event }).collect()
}

async fn events(State(desk): Shared, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(e) => return answer::<()>(Err(Error::new(ErrorKind::Input, "these events cannot be asked for").found(e.body_text()))),
    };
    let limit = wanted.limit.unwrap_or(100);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return answer::<()>(Err(Error::new(ErrorKind::Input, "so many events are not given")
            .at("limit")
            .expected(format!("1 to {EVENTS_MAX}"))
            .found(limit)));
    }
    if desk.history.is_some() {
        let from = desk.clone();
        let page = ask(&desk, move |_| match &from.history {
            Some(history) => history(wanted.before, limit, wanted.kind.as_deref(), wanted.class.as_deref()),
            None => Ok(Vec::new()),
        });
        return answer(page.await.map(numbered));
    }
    let is_wanted = |number: u64, event: &Event| {
        wanted.before.is_none_or(|before| number < before)
            && wanted.kind.as_deref().is_none_or(|kind| kind == event.what.kind())
            && wanted.class.as_deref().is_none_or(|class| event.what.classes().contains(&class))
    };
    answer(Ok(numbered(desk.watch.events(limit as usize, is_wanted))))
}

async fn label(State(desk): Shared, request: Request) -> Response {
    done(&desk, read(request).await.and_then(|body| Ok(request::Request::label(&body)?.heard_until(clock::since_boot_ns())))).await
}

async fn undo(State(desk): Shared, request: Request) -> Response {
    done(&desk, read(request).await.and_then(|body| Ok(request::Request::undo(&body)?))).await
}

async fn done(desk: &Arc<Desk>, asked: Result<request::Request, NotDone>) -> Response {
    match asked {
        Ok(asked) => answer(ask(desk, move |daemon| daemon.answer(asked, "page")).await),
        Err(NotDone(response)) => *response,
    }
}

/// A request that is not done, as its answer.
struct NotDone(Box<Response>);

impl From<Error> for NotDone {
    fn from(error: Error) -> NotDone {
        NotDone(Box::new(answer::<()>(Err(error))))
    }
}

/// The body of a request.
async fn read(request: Request) -> Result<Bytes, NotDone> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let slow = |_| {
        let error = Error::new(ErrorKind::Input, "the body did not come in time").expected(format!("within {} s", PATIENCE.as_secs()));
        NotDone(Box::new(refuse(StatusCode::REQUEST_TIMEOUT, &error)))
    };
    let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, &())).await.map_err(slow)?.map_err(|e| {
        let error = Error::new(ErrorKind::Input, "the body cannot be taken")
            .expected(format!("at most {BODY_LEN_BYTES} bytes"))
            .found(e.body_text());
        NotDone(Box::new(refuse(e.status(), &error)))
    })?;
    // What a form of another site can send is refused.
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let error = Error::new(ErrorKind::Input, "the body is of another kind").expected("application/json").found(format!("{kind:?}"));
        return Err(NotDone(Box::new(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error))));
    }
    Ok(body)
}
