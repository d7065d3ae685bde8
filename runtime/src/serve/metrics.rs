//! Metrics in the text format of Prometheus (version 0.0.4).

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::api::{Shared, ask, refuse};
use crate::clock;
use crate::daemon::{Counts, Handle, SourceCounts};
use crate::live::facts::Facts;

pub(super) async fn metrics(State(desk): Shared) -> Response {
    match ask(&desk, Handle::counts).await {
        Ok(counts) => {
            let text = text(&counts, desk.watch.facts().as_ref(), clock::temperature_c(), desk.watch.watching());
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(e) => refuse(axum::http::StatusCode::SERVICE_UNAVAILABLE, &e),
    }
}

fn text(counts: &Counts, facts: Option<&Facts>, temperature_c: Option<f64>, watching: usize) -> String {
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // To a string, which takes everything.
            _ = writeln!(text, "# HELP wheatear_{name} {help}\n# TYPE wheatear_{name} {kind}\nwheatear_{name} {value}");
        }
    };
    let (counter, gauge) = ("counter", "gauge");
    let count = |n: u64| Some(n as f64);
    tell("windows_total", counter, "Windows that were answered.", count(counts.windows));
    tell("windows_dropped_total", counter, "Windows that were answered and found no room.", count(counts.windows_dropped));
    tell("windows_skipped_total", counter, "Windows passed over because the board was too slow.", count(counts.windows_skipped));
    tell("windows_failed_total", counter, "Windows that the backbone could not answer.", count(counts.windows_failed));
    tell("stride", gauge, "One window in so many is answered.", count(counts.stride));
    tell("frames_total", counter, "Frames that were heard.", count(counts.frames));
    tell("frames_lost_total", counter, "Frames that found no room.", count(counts.frames_lost));
    tell("components_clipped_total", counter, "Components of embeddings that were clipped.", count(counts.clipped));
    tell("signals_dropped_total", counter, "What inference had to tell and found no room for.", count(counts.signals_dropped));
    tell("serving_generation", gauge, "Generation of the head that serves.", count(counts.serving));
    let seconds = |ms: Option<(f64, f64)>, of: fn((f64, f64)) -> f64| ms.map(|ms| of(ms) * 1e-3);
    tell("event_seconds_p50", gauge, "From the end of the deciding window to its event, median.", seconds(counts.event_ms, |t| t.0));
    tell("event_seconds_p99", gauge, "The same, 99 in 100.", seconds(counts.event_ms, |t| t.1));
    tell("answer_seconds_p50", gauge, "Backbone and head for a window, median.", seconds(counts.answer_ms, |t| t.0));
    tell("answer_seconds_p99", gauge, "The same, 99 in 100.", seconds(counts.answer_ms, |t| t.1));
    tell("events_lost_total", counter, "Events, clips and messages that were lost to sinks.", count(counts.events_lost));
    tell("backbone_cpu_seconds_total", counter, "Processor time of the backbone's calls.", Some(counts.backbone_cpu_s));
    let report = facts.map(|f| &f.report);
    tell("generation", gauge, "Generation of the adapter.", facts.map(|f| f.generation as f64));
    tell("classes", gauge, "Classes with rows.", facts.map(|f| f.classes.len() as f64));
    tell("background_rows", gauge, "Rows of no class.", facts.map(|f| f.background_rows as f64));
    tell("refused", gauge, "1 while the newest head was refused.", facts.map(|f| f64::from(u8::from(f.refused.is_some()))));
    tell("labelled_windows_total", counter, "Labelled windows that were answered first.", facts.map(|f| f.answers as f64));
    tell("accuracy", gauge, "Share of these that was right, faded.", report.and_then(|r| r.accuracy));
    tell("confidence", gauge, "Mean probability of the answers, faded.", report.and_then(|r| r.confidence));
    tell("calibration_error", gauge, "Expected calibration error, faded.", report.and_then(|r| r.ece));
    tell("forgetting", gauge, "Mean of what classes lost against their best accuracy.", report.and_then(|r| r.forgetting));
    tell("drift", gauge, "Distance of new embeddings from the learned, in spreads.", report.and_then(|r| r.drift));
    tell("temperature_celsius", gauge, "Hottest zone of the board.", temperature_c);
    tell("clients", gauge, "Who watch the stream.", Some(watching as f64));
    microphones(&mut text, counts);
    text
}

/// What is counted of each microphone.
fn microphones(text: &mut String, counts: &Counts) {
    type Of = fn(&SourceCounts) -> Option<f64>;
    let all: [(&str, &str, &str, Of); 8] = [
        ("window_age_seconds", "gauge", "How long ago a window was answered.", |s| s.answered_ms_ago.map(|ms| ms as f64 * 1e-3)),
        ("frames_captured_total", "counter", "Frames that it gave.", |s| Some(s.capture?.captured_frames as f64)),
        ("frames_lost_total", "counter", "Frames of these that found no room.", |s| Some(s.capture?.lost_frames as f64)),
        ("xruns_total", "counter", "Times that the device itself lost sound.", |s| Some(s.capture?.xruns.into())),
        ("not_numbers_total", "counter", "Samples that were no numbers.", |s| Some(s.capture?.not_numbers as f64)),
        ("reopened_total", "counter", "Times that it came back after it was lost.", |s| Some(s.capture?.reopened.into())),
        ("hung_total", "counter", "Streams that hung when they were closed.", |s| Some(s.capture?.hung.into())),
        ("events_dropped_total", "counter", "What it had to tell and found no room for.", |s| Some(s.capture?.dropped_events as f64)),
    ];
    for (name, kind, help, of) in all {
        let values: Vec<_> = counts.sources.iter().filter_map(|s| Some((escaped(&s.name), of(s)?))).collect();
        if !values.is_empty() {
            _ = writeln!(text, "# HELP wheatear_microphone_{name} {help}\n# TYPE wheatear_microphone_{name} {kind}");
        }
        for (microphone, value) in values {
            _ = writeln!(text, "wheatear_microphone_{name}{{microphone=\"{microphone}\"}} {value}");
        }
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::capture::CaptureCounts;

    #[test]
    fn each_microphone_has_its_own_counts_under_a_name_that_is_escaped() {
        let capture = Some(CaptureCounts { xruns: 3, lost_frames: 7, ..CaptureCounts::default() });
        let sources = vec![
            SourceCounts { name: "a \"b\" \\ c\nd".into(), answered_ms_ago: Some(1500), capture },
            SourceCounts { name: "fed".into(), ..SourceCounts::default() },
        ];
        let text = text(&Counts { sources, ..Counts::default() }, None, None, 0);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("wheatear_microphone_")).collect();
        let label = r#"{microphone="a \"b\" \\ c\nd"}"#;
        assert_eq!(lines.len(), 8, "{text}");
        for (name, value) in [("window_age_seconds", "1.5"), ("xruns_total", "3"), ("frames_lost_total", "7")] {
            assert!(lines.contains(&format!("wheatear_microphone_{name}{label} {value}").as_str()), "{text}");
        }
    }
}
