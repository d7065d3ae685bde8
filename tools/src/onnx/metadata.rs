//! The essentials of a backbone inside the ONNX file itself: `wheatear.*` entries of `metadata_props`.
//!
//! A file that lost its manifest still says what it is, and exporting it again starts from these values. The digest of
//! the file is not among them: the entries are part of what is digested.

use wheatear::backbone::manifest::{AudioSpec, EmbeddingSpec, FrontEndSpec, Normalise, QuantiserSpec};

use super::proto::{ModelProto, StringStringEntryProto};

const PREFIX: &str = "wheatear.";

/// What the entries say; a value that is absent or unreadable is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Essentials {
    /// Short name of the backbone.
    pub name: Option<String>,
    /// Licence of the weights.
    pub licence: Option<String>,
    /// Where the weights come from.
    pub source: Option<String>,
    /// Windowing.
    pub audio: Option<AudioSpec>,
    /// Scaling of samples.
    pub normalise: Option<Normalise>,
    /// Front end.
    pub front_end: Option<FrontEndSpec>,
    /// Embedding tensor.
    pub embedding: Option<EmbeddingSpec>,
    /// Latent quantiser.
    pub quantiser: Option<QuantiserSpec>,
}

impl Essentials {
    /// Reads the entries of `model`; a value that cannot be read is passed over with a warning.
    pub fn read(model: &ModelProto) -> Essentials {
        fn parse<T: serde::de::DeserializeOwned>(model: &ModelProto, key: &str) -> Option<T> {
            let text = get(model, key)?;
            serde_json::from_str(text).map_err(|e| log::warn!("metadata {PREFIX}{key} of the model is passed over: {e}")).ok()
        }
        let text = |key| get(model, key).filter(|v| !v.is_empty()).map(str::to_string);
        Essentials {
            name: text("name"),
            licence: text("licence"),
            source: text("source"),
            audio: parse(model, "audio"),
            normalise: parse(model, "normalise"),
            front_end: parse(model, "front_end"),
            embedding: parse(model, "embedding"),
            quantiser: parse(model, "quantiser"),
        }
    }

    /// Replaces the `wheatear.*` entries of `model` by these values; all other entries stay.
    pub fn write(&self, model: &mut ModelProto) {
        fn json<T: serde::Serialize>(value: &Option<T>) -> Option<String> {
            value.as_ref().and_then(|v| serde_json::to_string(v).ok())
        }
        model.metadata_props.retain(|e| !e.key.as_deref().unwrap_or("").starts_with(PREFIX));
        let format = wheatear::backbone::manifest::MANIFEST_FORMAT.to_string();
        let entries = [
            ("format", Some(format)),
            ("name", self.name.clone()),
            ("licence", self.licence.clone()),
            ("source", self.source.clone()),
            ("audio", json(&self.audio)),
            ("normalise", json(&self.normalise)),
            ("front_end", json(&self.front_end)),
            ("embedding", json(&self.embedding)),
            ("quantiser", json(&self.quantiser)),
        ];
        model.metadata_props.extend(entries.into_iter().filter_map(|(key, value)| {
            Some(StringStringEntryProto { key: Some(format!("{PREFIX}{key}")), value: Some(value.filter(|v| !v.is_empty())?) })
        }));
    }
}

fn get<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|e| e.key.as_deref().and_then(|k| k.strip_prefix(PREFIX)) == Some(key))?.value.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essentials_come_back_and_foreign_entries_stay() {
        let mut model = ModelProto::default();
        model.metadata_props.push(StringStringEntryProto { key: Some("author".into()), value: Some("someone".into()) });
        let essentials = Essentials {
            name: Some("wren".into()),
            audio: Some(AudioSpec { rate_hz: 16000, window_samples: 16000, hop_samples: 8000 }),
            normalise: Some(Normalise::Peak { floor: 0.001 }),
            quantiser: Some(QuantiserSpec { bits: 8, calibrated_on: "rain".into(), scale: vec![0.1, 0.2] }),
            ..Essentials::default()
        };
        essentials.write(&mut model);
        essentials.write(&mut model);
        assert_eq!(Essentials::read(&model), essentials);
        assert_eq!(model.metadata_props.len(), 1 + 1 + 4);
        assert_eq!(model.metadata_props[0].value.as_deref(), Some("someone"));
    }

    #[test]
    fn unreadable_values_are_passed_over() {
        let mut model = ModelProto::default();
        model.metadata_props.push(StringStringEntryProto { key: Some("wheatear.audio".into()), value: Some("{\"rate_hz\":-1}".into()) });
        assert_eq!(Essentials::read(&model), Essentials::default());
    }
}
