//! Events as lines of a file, for programs and for the tools of bioacousticians.
//!
//! | format | events | a line |
//! |---|---|---|
//! | `json` | all | the event as JSON, in the schema of [`crate::event`] |
//! | `csv` | `heard` | `id,source,begin,end,class,probability,unknown,generation`, with a header |
//! | `raven` | `heard` | Raven's selection table: selection, view, channel, begin and end in s, species, confidence, source, begin in UTC |
//! | `audacity` | `heard` | Audacity's label track: begin and end in s, class and probability |
//!
//! `begin` and `end` of CSV are RFC 3339 in UTC with milliseconds, and empty where the clock was not known. Raven and Audacity have seconds
//! since the microphone's stream began (`begin_s` and `end_s` of the event): they begin anew with each start of the daemon and are those of
//! each microphone, so that a file that holds several of them has several zeros; Raven's last columns tell them apart. Raven's selections
//! are numbered from 1 in each file. Tabs and line ends in names become spaces where the format has no quotes.

use super::utc::utc;
use crate::event::{Event, What};
use crate::{Error, ErrorKind, Result};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All events, a line of JSON each.
    Json,
    /// What was heard, as comma-separated values.
    Csv,
    /// What was heard, as Raven's selection table.
    Raven,
    /// What was heard, as Audacity's label track.
    Audacity,
}

const CSV: &str = "id,source,begin,end,class,probability,unknown,generation\n";
const RAVEN: &str = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\tConfidence\tSource\tBegin (UTC)\n";
/// How every event begins.
const JSON: &str = "{\"schema\":";

impl Format {
    /// First line of a file, where there is one.
    pub(super) fn header(self) -> &'static str {
        match self {
            Format::Json | Format::Audacity => "",
            Format::Csv => CSV,
            Format::Raven => RAVEN,
        }
    }

    /// The line of an event, with its end; none where the format leaves it out. `selection` is the number of the line in its file.
    ///
    /// # Errors
    /// `Storage` when the event has no JSON.
    pub(super) fn line(self, event: &Event, selection: u64) -> Result<Option<String>> {
        if self == Format::Json {
            let failed = |e| Error::new(ErrorKind::Storage, "an event cannot be written").at(event.what.kind()).because(e);
            return Ok(Some(serde_json::to_string(event).map_err(failed)? + "\n"));
        }
        let What::Heard { id, source, begin_s, end_s, span, class, probability, unknown } = &event.what else { return Ok(None) };
        let clock = |at: Option<_>| at.as_ref().map_or(String::new(), utc);
        let begin = clock(span.map(|s| s.0));
        Ok(Some(match self {
            Format::Json | Format::Csv => {
                let (id, end) = (id.map_or(String::new(), |id| id.to_string()), clock(span.map(|s| s.1)));
                let unknown = unknown.map_or(String::new(), |p| format!("{p:.4}"));
                let (source, class) = (quoted(source), quoted(class));
                format!("{id},{source},{begin},{end},{class},{probability:.4},{unknown},{}\n", event.generation)
            }
            Format::Raven => {
                let (source, class) = (cell(source), cell(class));
                format!("{selection}\tWaveform 1\t1\t{begin_s:.3}\t{end_s:.3}\t{class}\t{probability:.4}\t{source}\t{begin}\n")
            }
            Format::Audacity => format!("{begin_s:.6}\t{end_s:.6}\t{} {probability:.2}\n", cell(class)),
        }))
    }

    /// Whether a file that begins so was written in this format; with `is_all`, the file holds no more and no line is whole.
    pub(super) fn began(self, beginning: &[u8], is_all: bool) -> bool {
        let begins = |with: &str| beginning.starts_with(with.as_bytes()) || is_all && with.as_bytes().starts_with(beginning);
        match self {
            Format::Json => begins(JSON),
            Format::Csv => begins(CSV),
            Format::Raven => begins(RAVEN),
            Format::Audacity => {
                let number = beginning.split(|b| *b == b'\t').next().unwrap_or_default();
                let has_tab = number.len() < beginning.len();
                (is_all || has_tab) && number.iter().all(|b| b.is_ascii_digit() || *b == b'.') && !(has_tab && number.is_empty())
            }
        }
    }

    /// Number of the selection in a whole line: that after which a file goes on. 0 where lines have none.
    pub(super) fn selection(self, line: &[u8]) -> Option<u64> {
        match self {
            Format::Raven if format!("{}\n", String::from_utf8_lossy(line)) == RAVEN => Some(0),
            Format::Raven => std::str::from_utf8(line).ok()?.split('\t').next()?.parse().ok(),
            _ => Some(0),
        }
    }
}

/// A field of CSV, in quotes where it needs them (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Tab-separated text has no quoting: tabs and line ends in a name would break the table.
fn cell(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Moment;

    /// Something heard from 1.5 s to 3 s, in generation 7.
    pub(in crate::sinks) fn heard(id: u64, source: &str, class: &str) -> Event {
        let at = |ms: i64| Moment { wall_ms: Some(1_795_751_374_120 + ms), monotonic_ns: id * 1_000_000_000, ..Moment::UNKNOWN };
        let what = What::Heard {
            id: Some(id),
            source: source.into(),
            begin_s: 1.5,
            end_s: 3.0,
            span: Some((at(0), at(1500))),
            class: class.into(),
            probability: 0.75,
            unknown: Some(0.125),
        };
        Event::new(at(1600), 7, what)
    }

    #[test]
    fn what_was_heard_has_a_line_in_each_format() {
        let event = heard(12, "mic, left", "wren\tx");
        let line = |format: Format| format.line(&event, 3).unwrap().unwrap();
        let csv = "12,\"mic, left\",2026-11-27T03:49:34.120Z,2026-11-27T03:49:35.620Z,wren\tx,0.7500,0.1250,7\n";
        assert_eq!(line(Format::Csv), csv);
        let raven = "3\tWaveform 1\t1\t1.500\t3.000\twren x\t0.7500\tmic, left\t2026-11-27T03:49:34.120Z\n";
        assert_eq!(line(Format::Raven), raven);
        assert_eq!(line(Format::Audacity), "1.500000\t3.000000\twren x 0.75\n");
        assert_eq!(serde_json::from_str::<Event>(&line(Format::Json)).unwrap(), event);
        assert_eq!((CSV.matches(',').count(), RAVEN.matches('\t').count()), (7, raven.matches('\t').count()));
    }

    #[test]
    fn other_events_have_a_line_of_json_alone() {
        let event = Event::new(Moment::UNKNOWN, 1, What::Undone { rows: 1, by: "a\nb".into(), durable: true });
        assert!([Format::Csv, Format::Raven, Format::Audacity].iter().all(|f| f.line(&event, 1).unwrap().is_none()));
        let line = Format::Json.line(&event, 1).unwrap().unwrap();
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
    }

    #[test]
    fn a_clock_that_was_not_known_leaves_its_columns_empty() {
        let mut event = heard(1, "mic", "wren");
        let What::Heard { span, id, unknown, .. } = &mut event.what else { unreachable!() };
        (*span, *id, *unknown) = (None, None, None);
        assert_eq!(Format::Csv.line(&event, 1).unwrap().unwrap(), ",mic,,,wren,0.7500,,7\n");
        assert!(Format::Raven.line(&event, 1).unwrap().unwrap().ends_with("\tmic\t\n"));
    }

    #[test]
    fn a_file_is_known_by_how_it_begins() {
        for format in [Format::Json, Format::Csv, Format::Raven, Format::Audacity] {
            let whole = format.header().to_owned() + &format.line(&heard(1, "mic", "wren"), 1).unwrap().unwrap();
            assert!(format.began(whole.as_bytes(), false), "{format:?}");
            (0..whole.len()).for_each(|n| assert!(format.began(&whole.as_bytes()[..n], true), "{format:?} torn after {n}"));
            for other in ["", "# notes\n", "id;source\n", "\t1\twren\n", "[]\n"] {
                assert!(!format.began(other.as_bytes(), false), "{format:?}: {other:?}");
            }
            assert!(!format.began(b"# notes", true), "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn csv_is_read_back_by_another_program_whatever_the_names_are(source in "\\PC*|[,\"\n\r a]*", class in "\\PC*|[,\"\n\r a]*") {
            let text = CSV.to_owned() + &Format::Csv.line(&heard(1, &source, &class), 1).unwrap().unwrap();
            let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(text.as_bytes()).records().map(|r| r.unwrap()).collect();
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!((&rows[0][1], &rows[0][4]), (source.as_str(), class.as_str()));
        }

        #[test]
        fn a_name_breaks_no_table_without_quotes(class in "[\t\n\r ab]*") {
            let line = Format::Raven.line(&heard(1, &class, &class), 1).unwrap().unwrap();
            prop_assert_eq!((line.matches('\t').count(), line.matches(['\n', '\r']).count()), (8, 1));
        }
    }
}
