//! Formats of what was heard: for a person, for programs, for Raven and for Audacity.

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use wheatear::event::{Event, Level, What};
use wheatear::units::Moment;

use crate::recorded::Recorded;
use wheatear::learn::label_text::quoted;

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line a file
    Table,
    /// A line a window
    Csv,
    /// Everything
    Json,
    /// Events of the runtime, a line of JSON each
    Events,
    /// Raven selection table
    Raven,
    /// Audacity labels
    Audacity,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// Begin in seconds.
    pub begin_s: f64,
    /// End in seconds.
    pub end_s: f64,
    /// The most probable class; where `present` is told, the first of these. None when the window is silent, or none is present.
    pub class: Option<String>,
    /// Its probability: among the known classes, or where `present` is told of being present; 0 without a class.
    pub probability: f32,
    /// Classes that may be present, most probable first, each with a probability of its own; none when the adapter learned no rows of
    /// several labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<Vec<Present>>,
    /// Probability that it is of no known class; none when silent, or when the head cannot tell.
    pub unknown: Option<f32>,
}

impl Window {
    /// False when it is silent. Where no class is present, the head still tells how probably it is of none.
    pub fn sounds(&self) -> bool {
        self.class.is_some() || self.unknown.is_some()
    }
}

/// A class that may be present.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Present {
    /// Its name.
    pub class: String,
    /// Probability that the window has it; those of a window do not add up to 1.
    pub probability: f32,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heard {
    /// Path as given.
    pub file: String,
    /// Length in seconds.
    pub seconds: f64,
    /// What was lost of a damaged file.
    pub damage: Option<String>,
    /// Why its probabilities are none, where no held row can judge the head; they are numbers that nothing was measured by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<String>,
    /// When it was recorded, where something tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// Up to three classes by mean probability over the windows that are not silent, of being present where that is told.
    pub ranked: Vec<(String, f32)>,
    /// Mean probability that its windows are of no known class.
    pub unknown: Option<f32>,
    /// Its windows.
    pub windows: Vec<Window>,
}

/// How it came to be.
pub struct Made {
    /// Windows less probable than this make no stretch.
    pub min_probability: f32,
    /// Windows that are more probably of no known class make none either.
    pub max_unknown: f32,
    /// When.
    pub at: Moment,
    /// Generation of the adapter whose head it is.
    pub generation: u64,
    /// Why that of the newest does not serve, if so.
    pub refusal: Option<String>,
}

/// Consecutive windows of one class.
struct Stretch<'a> {
    begin_s: f64,
    end_s: f64,
    class: &'a str,
    probability: f32,
    unknown: Option<f32>,
    /// No window since said other classes alone.
    is_open: bool,
}

impl Format {
    /// End of the name of a file in this format.
    pub fn suffix(self) -> &'static str {
        match self {
            Format::Table => ".txt",
            Format::Csv => ".csv",
            Format::Json => ".json",
            Format::Events => ".jsonl",
            Format::Raven => ".selections.txt",
            Format::Audacity => ".labels.txt",
        }
    }

    /// The text of `heard`.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn all(self, heard: &[Heard], made: &Made) -> anyhow::Result<String> {
        Ok(match self {
            Format::Table => table(heard),
            Format::Csv => csv(heard)?,
            Format::Json => format!("{}\n", serde_json::to_string_pretty(heard)?),
            Format::Events => events(heard, made)?,
            Format::Raven => raven(heard, made),
            Format::Audacity => audacity(heard, made),
        })
    }
}

fn table(heard: &[Heard]) -> String {
    let width = heard.iter().map(|h| h.file.chars().count()).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for h in heard {
        let name: String = match h.file.char_indices().nth_back(width.saturating_sub(1)) {
            Some((at, _)) if h.file.chars().count() > width => format!("…{}", h.file[at..].chars().skip(1).collect::<String>()),
            _ => h.file.clone(),
        };
        let mut ranked = h.ranked.iter();
        let sounds = h.windows.iter().any(Window::sounds);
        let nothing = || if sounds { "(nothing known)" } else { "(silence)" }.to_owned();
        let named = |(c, p): &(String, f32)| if h.unjudged.is_some() { format!("{c} ?") } else { format!("{c} {:.0} %", p * 100.0) };
        let first = ranked.next().filter(|(_, p)| *p >= 0.005).map_or_else(nothing, named);
        let others: Vec<String> = ranked.filter(|(_, p)| *p >= 0.01).map(named).collect();
        text += format!("{name:<width$}  {:>7.1} s  {first:<28} {}", h.seconds, others.join(", ")).trim_end();
        text += &h.unknown.filter(|p| *p > 0.5).map_or(String::new(), |p| format!("  [of no known class: {:.0} %]", p * 100.0));
        text += if h.unjudged.is_some() && sounds { "  [no held row can judge this]" } else { "" };
        text += &h.damage.as_ref().map_or(String::new(), |d| format!("  [damaged: {d}]"));
        text.push('\n');
    }
    text
}

fn csv(heard: &[Heard]) -> anyhow::Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    // Only where it is told: without it the columns are what they were.
    let has_present = heard.iter().flat_map(|h| &h.windows).any(|w| w.present.is_some());
    let has_time = heard.iter().any(|h| h.recorded.is_some());
    let last = has_present.then_some("present").into_iter().chain(has_time.then_some("time"));
    out.write_record(["file", "begin_s", "end_s", "class", "probability", "unknown"].into_iter().chain(last))?;
    for (h, w) in heard.iter().flat_map(|h| h.windows.iter().map(move |w| (h, w))) {
        // Empty rather than a number that nobody can answer for.
        let number = |p: f32| if h.unjudged.is_some() { String::new() } else { format!("{p:.4}") };
        let (class, p) = (w.class.as_deref().unwrap_or(""), number(w.probability));
        let unknown = w.unknown.map_or(String::new(), |p| format!("{p:.4}"));
        let present: Vec<String> =
            w.present.iter().flatten().map(|p| format!("{} {}", quoted(&p.class), number(p.probability)).trim_end().to_owned()).collect();
        let present = has_present.then(|| present.join(";"));
        let (begin, end) = (format!("{:.3}", w.begin_s), format!("{:.3}", w.end_s));
        let at = |r: &Recorded| Timestamp::from_millisecond(r.after(w.begin_s).wall_ms?).ok().map(|at| format!("{at:.3}"));
        let time = has_time.then(|| h.recorded.as_ref().and_then(at).unwrap_or_default());
        out.write_record([&h.file, &begin, &end, class, &p, &unknown].into_iter().chain(present.as_deref()).chain(time.as_deref()))?;
    }
    Ok(String::from_utf8(out.into_inner()?)?)
}

fn events(heard: &[Heard], made: &Made) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut tell = |what: What| {
        text += &serde_json::to_string(&Event::new(made.at, made.generation, what))?;
        text.push('\n');
        anyhow::Ok(())
    };
    for text in made.refusal.iter().chain(heard.iter().find_map(|h| h.unjudged.as_ref())) {
        tell(What::Notice { level: Level::Warning, source: "adapter".into(), text: text.clone() })?;
    }
    for h in heard {
        for s in stretches(h, made) {
            let (source, class) = (h.file.clone(), s.class.to_owned());
            let span = h.recorded.as_ref().map(|r| (r.after(s.begin_s), r.after(s.end_s)));
            let Stretch { begin_s, end_s, probability, unknown, .. } = s;
            tell(What::Heard { id: None, source, begin_s, end_s, span, class, probability, unknown })?;
        }
        if let Some(damage) = &h.damage {
            tell(What::Notice { level: Level::Warning, source: h.file.clone(), text: format!("damaged: {damage}") })?;
        }
    }
    Ok(text)
}

/// Windows that are probable enough, and probably known, joined while they touch and agree; the probability is the largest of them,
/// and that of being unknown the smallest. Where a window may have several classes, so do stretches: they overlap.
fn stretches<'a>(heard: &'a Heard, made: &Made) -> Vec<Stretch<'a>> {
    let mut all: Vec<Stretch<'_>> = Vec::new();
    for w in heard.windows.iter().filter(|w| w.unknown.is_none_or(|p| p <= made.max_unknown)) {
        let said: Vec<(&str, f32)> = match &w.present {
            Some(present) => present.iter().map(|p| (p.class.as_str(), p.probability)).collect(),
            None => w.class.iter().map(|class| (class.as_str(), w.probability)).collect(),
        };
        let said: Vec<(&str, f32)> = said.into_iter().filter(|(_, p)| *p >= made.min_probability).collect();
        let is_over = |s: &Stretch<'_>| !said.is_empty() && said.iter().all(|(class, _)| *class != s.class);
        all.iter_mut().filter(|s| s.is_open && (is_over(s) || w.begin_s > s.end_s + 1e-9)).for_each(|s| s.is_open = false);
        for (class, probability) in said {
            match all.iter_mut().find(|s| s.is_open && s.class == class) {
                Some(s) => {
                    s.end_s = w.end_s;
                    s.probability = s.probability.max(probability);
                    s.unknown = s.unknown.zip(w.unknown).map(|(a, b)| a.min(b));
                }
                None => {
                    all.push(Stretch { begin_s: w.begin_s, end_s: w.end_s, class, probability, unknown: w.unknown, is_open: true });
                }
            }
        }
    }
    all
}

/// Tab-separated text has no quoting: tabs and line ends in a name would break the table.
fn cell(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// Each file with the time in seconds at which it begins when the files follow one another, which is how Raven and Audacity
/// open several at once.
fn in_sequence(heard: &[Heard]) -> impl Iterator<Item = (f64, &Heard)> {
    let begin = |begin: &mut f64, h: &Heard| std::mem::replace(begin, *begin + h.seconds);
    heard.iter().scan(0.0, move |at, h| Some((begin(at, h), h)))
}

fn raven(heard: &[Heard], made: &Made) -> String {
    let mut text = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\tConfidence\n".to_owned();
    let mut n = 0;
    for (at, h) in in_sequence(heard) {
        let file = cell(h.file.rsplit('/').next().unwrap_or(&h.file));
        for s in stretches(h, made) {
            n += 1;
            let (begin, end, class) = (at + s.begin_s, at + s.end_s, cell(s.class));
            let sure = if h.unjudged.is_some() { String::new() } else { format!("{:.4}", s.probability) };
            text += &format!("{n}\tWaveform 1\t1\t{begin:.3}\t{end:.3}\t{file}\t{:.3}\t{class}\t{sure}\n", s.begin_s);
        }
    }
    text
}

fn audacity(heard: &[Heard], made: &Made) -> String {
    let mut text = String::new();
    for (at, h) in in_sequence(heard) {
        for s in stretches(h, made) {
            let sure = if h.unjudged.is_some() { "?".to_owned() } else { format!("{:.2}", s.probability) };
            text += &format!("{:.6}\t{:.6}\t{} {sure}\n", at + s.begin_s, at + s.end_s, cell(s.class));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(min_probability: f32) -> Made {
        Made { min_probability, max_unknown: 0.5, at: Moment::UNKNOWN, generation: 7, refusal: None }
    }

    fn heard() -> Heard {
        let w = |begin_s, class: Option<&str>, probability| Window {
            begin_s,
            end_s: begin_s + 1.0,
            class: class.map(str::to_owned),
            probability,
            present: None,
            unknown: class.map(|_| 0.2),
        };
        let windows = vec![
            w(0.0, Some("wren"), 0.9),
            w(0.5, Some("wren"), 0.7),
            w(1.0, Some("robin\tx"), 0.4),
            w(1.5, None, 0.0),
            w(4.0, Some("wren"), 0.6),
        ];
        Heard {
            file: "a/みそさざい, 1.wav".into(),
            seconds: 5.0,
            damage: None,
            unjudged: None,
            recorded: None,
            ranked: vec![("wren".into(), 0.7), ("robin".into(), 0.2)],
            unknown: Some(0.2),
            windows,
        }
    }

    #[test]
    fn raven_and_audacity_join_touching_windows_of_one_class_and_drop_the_unsure() {
        let raven = Format::Raven.all(&[heard()], &made(0.5)).unwrap();
        assert_eq!(
            raven.lines().skip(1).collect::<Vec<_>>(),
            [
                "1\tWaveform 1\t1\t0.000\t1.500\tみそさざい, 1.wav\t0.000\twren\t0.9000",
                "2\tWaveform 1\t1\t4.000\t5.000\tみそさざい, 1.wav\t4.000\twren\t0.6000"
            ]
        );
        let two = Format::Raven.all(&[heard(), heard()], &made(0.5)).unwrap();
        assert_eq!(
            two.lines().last(),
            Some("4\tWaveform 1\t1\t9.000\t10.000\tみそさざい, 1.wav\t4.000\twren\t0.6000"),
            "the second file begins where the first of 5 s ends"
        );
        let audacity = Format::Audacity.all(&[heard()], &made(0.3)).unwrap();
        assert_eq!(audacity.lines().collect::<Vec<_>>()[1], "1.000000\t2.000000\trobin x 0.40");
    }

    #[test]
    fn stretches_of_classes_that_are_heard_together_overlap() {
        let mut both = heard();
        let present = |classes: &[(&str, f32)]| {
            Some(classes.iter().map(|(class, probability)| Present { class: (*class).to_owned(), probability: *probability }).collect())
        };
        both.windows[0].present = present(&[("wren", 0.9), ("robin", 0.3)]);
        both.windows[1].present = present(&[("robin", 0.8), ("a;b", 0.7), ("wren", 0.6)]);
        both.windows[2].present = present(&[("robin", 0.7)]);
        both.windows[3].present = present(&[]);
        both.windows[4].present = present(&[("robin", 0.6)]);
        let audacity = Format::Audacity.all(std::slice::from_ref(&both), &made(0.5)).unwrap();
        let all = ["0.000000\t1.500000\twren 0.90", "0.500000\t2.000000\trobin 0.80", "0.500000\t1.500000\ta;b 0.70"];
        assert_eq!(audacity.lines().take(3).collect::<Vec<_>>(), all);
        assert_eq!(audacity.lines().nth(3), Some("4.000000\t5.000000\trobin 0.60"), "it had ended at 2 s");
        let csv = Format::Csv.all(std::slice::from_ref(&both), &made(0.5)).unwrap();
        assert!(csv.lines().next().is_some_and(|l| l.ends_with(",unknown,present")), "{csv}");
        assert!(csv.contains("robin 0.8000;\"\"a;b\"\" 0.7000;wren 0.6000"), "{csv}");
        assert!(!Format::Csv.all(&[heard()], &made(0.5)).unwrap().contains("present"));
    }

    #[test]
    fn windows_that_are_probably_unknown_make_no_stretch_and_a_file_of_them_says_so() {
        let mut strange = Heard { unknown: Some(0.7), ..heard() };
        strange.windows[0].unknown = Some(0.6);
        strange.windows[1].unknown = Some(0.4);
        let raven = Format::Raven.all(std::slice::from_ref(&strange), &made(0.5)).unwrap();
        assert!(raven.lines().nth(1).is_some_and(|l| l.contains("\t0.500\t1.500\t")), "{raven}");
        assert!(Format::Table.all(&[strange], &made(0.5)).unwrap().contains("[of no known class: 70 %]"));
        assert!(!Format::Table.all(&[heard()], &made(0.5)).unwrap().contains("no known class"));
    }

    #[test]
    fn events_are_one_line_each_in_the_runtimes_schema() {
        let damaged = Heard { damage: Some("cut off at 2 s".into()), ..heard() };
        let text = Format::Events.all(&[damaged], &made(0.5)).unwrap();
        let events: Vec<Event> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(events.len(), 3);
        assert!(
            matches!(&events[0].what, What::Heard { class, end_s, .. } if class == "wren" && *end_s == 1.5) && events[0].generation == 7
        );
        assert!(matches!(&events[2].what, What::Notice { level: Level::Warning, text, .. } if text.contains("2 s")));
    }

    #[test]
    fn csv_and_json_hold_every_window_and_can_be_read_back() {
        let text = Format::Csv.all(&[heard()], &made(0.5)).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.unwrap()).collect();
        assert_eq!(rows.len(), 5);
        assert_eq!((&rows[2][0], &rows[2][3]), ("a/みそさざい, 1.wav", "robin\tx"));
        let json: serde_json::Value = serde_json::from_str(&Format::Json.all(&[heard()], &made(0.5)).unwrap()).unwrap();
        assert_eq!(json[0]["windows"].as_array().unwrap().len(), 5);
        assert!(json[0]["windows"][3]["class"].is_null());
    }

    #[test]
    fn a_file_that_sounds_like_nothing_known_is_not_called_silent() {
        let nothing = |ranked| Heard { ranked, ..heard() };
        for ranked in [vec![], vec![("wren".into(), 0.004)]] {
            let text = table(&[nothing(ranked)]);
            assert!(text.contains("(nothing known)") && !text.contains("silence") && !text.contains("wren"), "{text}");
        }
        assert!(table(&[nothing(vec![("wren".into(), 0.006)])]).contains("wren 1 %"));
    }

    #[test]
    fn what_no_row_can_judge_has_no_number_in_any_format_for_people_and_says_why_in_the_others() {
        let why = "no held row can judge the head";
        let unjudged = [Heard { unjudged: Some(why.to_owned()), ..heard() }];
        let text = |format: Format| format.all(&unjudged, &made(0.5)).unwrap();
        let table = text(Format::Table);
        assert!(table.contains("wren ? ") && table.contains("[no held row can judge this]") && !table.contains('%'), "{table}");
        assert!(text(Format::Csv).contains(",0.000,1.000,wren,,0.2000"), "{}", text(Format::Csv));
        assert!(text(Format::Raven).contains("\twren\t\n") && text(Format::Audacity).contains("\twren ?\n"));
        assert!(text(Format::Events).lines().next().is_some_and(|l| l.contains(why)) && text(Format::Json).contains(why));
        assert!(!Format::Json.all(&[heard()], &made(0.5)).unwrap().contains("unjudged"));
    }

    #[test]
    fn the_table_says_silence_and_shortens_long_names_from_the_left() {
        let silent = Heard { ranked: vec![], windows: vec![], file: format!("{}wren.wav", "x/".repeat(60)), ..heard() };
        let text = Format::Table.all(&[silent, heard()], &made(0.5)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with('…') && lines[0].contains("wren.wav") && lines[0].contains("(silence)"), "{text}");
        assert!(lines[1].contains("wren 70 %") && lines[1].ends_with("robin 20 %"), "{text}");
    }
}
