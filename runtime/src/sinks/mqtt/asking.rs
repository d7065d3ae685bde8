//! The thread that does what is asked by MQTT, one request at a time: learning may take a while, and the connection goes on meanwhile.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::json;

use super::outbox::{Kind, Message, Outbox};
use crate::Result;
use crate::live::request::{Answered, Request};

/// A request, and where its answer goes.
pub(super) struct Asked {
    pub request: Request,
    pub reply: Reply,
}

/// Where an answer goes.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub topic: String,
    /// What the one who asks knows the answer by.
    pub properties: Option<PublishProperties>,
}

/// Until nobody can ask any more.
pub(super) fn run(asked: Receiver<Asked>, ask: impl Fn(Request) -> Result<Answered>, outbox: &Arc<Outbox>) {
    for Asked { request, reply } in asked {
        let is_label = matches!(request, Request::Label { .. });
        outbox.answer(answer(reply, is_label, ask(request)));
    }
}

/// An answer as it is published.
pub(super) fn answer(reply: Reply, is_label: bool, answered: Result<Answered>) -> Message {
    let text = match answered {
        Ok(Answered { rows, generation, durable }) => {
            let what = if is_label { "learned" } else { "undone" };
            json!({"answer": what, "rows": rows, "generation": generation, "durable": durable})
        }
        Err(e) => json!({"answer": "refused", "code": e.kind().exit_code(), "text": e.to_string()}),
    };
    let Reply { topic, properties } = reply;
    Message { kind: Kind::Answer, topic, payload: text.to_string().into_bytes(), properties }
}
