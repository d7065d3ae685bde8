//! Topics of a device, and what is told of it to Home Assistant.

use serde_json::{Value, json};

use super::super::utc::utc;
use crate::event::{Event, What};

/// What `status` says.
pub(super) const ONLINE: &str = "online";
/// What `status` says when the device has gone, in the broker's words if need be.
pub(super) const OFFLINE: &str = "offline";

/// The topics of a device.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    prefix: String,
    pub status: String,
    pub heard: String,
    pub knows: String,
    pub label: String,
    pub undo: String,
    pub answer: String,
}

/// A state that stays with the broker: the newest of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Heard,
    Knows,
}

impl Topics {
    pub fn new(prefix: &str) -> Topics {
        let under = |name: &str| format!("{prefix}/{name}");
        Topics {
            prefix: prefix.into(),
            status: under("status"),
            heard: under("heard"),
            knows: under("knows"),
            label: under("label"),
            undo: under("undo"),
            answer: under("answer"),
        }
    }

    /// Topic of an event.
    pub fn event(&self, event: &Event) -> String {
        format!("{}/event/{}", self.prefix, event.what.kind())
    }

    pub fn state(&self, state: State) -> &str {
        match state {
            State::Heard => &self.heard,
            State::Knows => &self.knows,
        }
    }

    /// Topic and text of what Home Assistant is told under the topics `discovery`: a device with what was heard last, how many classes it
    /// knows, the generation of its adapter, and whether it is there. (Device discovery, as of Home Assistant 2024.11.)
    pub fn discovery(&self, discovery: &str, device: &str) -> (String, Value) {
        let id = |what: &str| format!("wheatear_{device}_{what}");
        let (name, version) = (format!("Wheatear {device}"), env!("CARGO_PKG_VERSION"));
        let there = json!([{"topic": self.status, "payload_available": ONLINE, "payload_not_available": OFFLINE}]);
        let diagnostic = |what: &str, name: &str| {
            json!({
                "platform": "sensor",
                "name": name,
                "unique_id": id(what),
                "state_topic": self.knows,
                "value_template": format!("{{{{ value_json.{what} }}}}"),
                "entity_category": "diagnostic",
                "availability": there,
            })
        };
        let text = json!({
            "device": {"identifiers": [format!("wheatear_{device}")], "name": name, "manufacturer": "Wheatear", "sw_version": version},
            "origin": {"name": "wheatear", "sw_version": version},
            "components": {
                "heard": {
                    "platform": "sensor",
                    "name": "Heard",
                    "icon": "mdi:ear-hearing",
                    "unique_id": id("heard"),
                    "state_topic": self.heard,
                    "value_template": "{{ value_json.class }}",
                    "json_attributes_topic": self.heard,
                    "availability": there,
                },
                "connected": {
                    "platform": "binary_sensor",
                    "name": "Connected",
                    "unique_id": id("connected"),
                    "device_class": "connectivity",
                    "entity_category": "diagnostic",
                    "state_topic": self.status,
                    "payload_on": ONLINE,
                    "payload_off": OFFLINE,
                },
                "classes": diagnostic("classes", "Classes"),
                "generation": diagnostic("generation", "Generation"),
            },
        });
        (format!("{discovery}/device/wheatear_{device}/config"), text)
    }
}

/// The state that an event changes, and its text.
pub(super) fn state_of(event: &Event) -> Option<(State, Value)> {
    let heard = |class: &str, probability: f32, begin: String, source: &str, id: Option<u64>| {
        let begin = if begin.is_empty() { Value::Null } else { begin.into() };
        let text = json!({"class": class, "probability": probability, "begin": begin, "source": source, "id": id});
        Some((State::Heard, text))
    };
    match &event.what {
        What::Began { id, source, begin, class, probability, .. } => heard(class, *probability, utc(begin), source, Some(*id)),
        What::Heard { id, source, span, class, probability, .. } => {
            heard(class, *probability, span.map_or(String::new(), |s| utc(&s.0)), source, *id)
        }
        What::Serving { classes, unnamed, .. } => {
            Some((State::Knows, json!({"generation": event.generation, "classes": classes.len() as u64 + unnamed})))
        }
        _ => None,
    }
}

/// Whether something can be published under this topic.
pub(super) fn is_valid(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= 1024 && !topic.starts_with('$') && !topic.contains(['+', '#']) && !topic.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::super::super::format::tests::heard;
    use super::*;
    use crate::units::Moment;

    #[test]
    fn what_is_told_to_home_assistant_names_topics_that_are_published() {
        let topics = Topics::new("birds/box");
        let (topic, text) = topics.discovery("homeassistant", "box");
        assert_eq!(topic, "homeassistant/device/wheatear_box/config");
        let components = text["components"].as_object().unwrap();
        let published = [&topics.status, &topics.heard, &topics.knows];
        for (name, component) in components {
            assert!(published.iter().any(|t| component["state_topic"] == **t), "{name}: {component}");
            assert_eq!(component["unique_id"], format!("wheatear_box_{name}"));
        }
        assert_eq!(components["heard"]["json_attributes_topic"], topics.heard);
        // What a template asks for is in the text of its topic.
        let serving = Event::new(
            Moment::UNKNOWN,
            7,
            What::Serving { classes: vec!["wren".into()], unnamed: 2, took_ms: 1.0, untried: false, refused: None },
        );
        assert_eq!(state_of(&serving).unwrap().1["classes"], 3);
        for (event, names) in [(heard(1, "mic", "wren"), vec!["heard"]), (serving, vec!["classes", "generation"])] {
            let (state, text) = state_of(&event).unwrap();
            for name in names {
                let asked = components[name]["value_template"].as_str().unwrap().replace("{{ value_json.", "").replace(" }}", "");
                assert!(text.get(&asked).is_some_and(|v| !v.is_null()), "{name}: {text}");
                assert_eq!(components[name]["state_topic"], topics.state(state));
            }
        }
    }

    #[test]
    fn the_last_class_heard_stands_with_when_and_by_which_microphone() {
        let (state, text) = state_of(&heard(3, "mic", "wren")).unwrap();
        assert_eq!(state, State::Heard);
        assert_eq!(text, json!({"class": "wren", "probability": 0.75, "begin": "2026-11-27T03:49:34.120Z", "source": "mic", "id": 3}));
        assert!(state_of(&Event::new(Moment::UNKNOWN, 1, What::Undone { rows: 1, by: String::new(), durable: true })).is_none());
    }

    #[test]
    fn nothing_is_published_under_a_pattern_or_a_topic_of_the_broker() {
        assert!(["a", "a/b", "/a", "a/ä b"].iter().all(|t| is_valid(t)));
        assert!(["", "a/+", "#", "$SYS/a", "a\u{0}", "a\nb"].iter().all(|t| !is_valid(t)));
    }
}
