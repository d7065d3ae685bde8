//! What keys do, and what the model makes of events and answers.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use wheatear::daemon::{Answered, Target};
use wheatear::event::{Event, Level, What};
use wheatear::learn::label_text;
use wheatear::live::picture::{BANDS, Column};
use wheatear::units::Moment;
use wheatear::{Error, ErrorKind};

use super::super::command::{Answer, Command};
use super::model::{Guesses, Input, Model, Over};

const SECOND_NS: u64 = 1_000_000_000;

/// So many seconds after a boot at midnight.
pub fn at(s: f64) -> Moment {
    Moment { monotonic_ns: (s * 1e9) as u64, wall_ms: Some((s * 1e3) as i64), ..Moment::UNKNOWN }
}

/// A model of two microphones that has heard a wren (1), a robin that still sounds (2), and asks about window 9.
pub fn model() -> Model {
    let names = ["hall", "garden"].map(str::to_owned);
    let mut model = Model::new(vec!["birds".into(), "aisfx".into()], &names, "anna");
    let mut event = |s: f64, what: What| assert!(model.update(at(s), Input::Event(Box::new(Event::new(at(s), 5, what)))).is_none());
    event(10.0, began(1, "wren", 9.0));
    let span = Some((at(9.0), at(10.5)));
    let (source, class) = ("hall".to_owned(), "wren".to_owned());
    event(11.0, What::Heard { id: Some(1), source, begin_s: 9.0, end_s: 10.5, span, class, probability: 0.87, unknown: None });
    event(12.0, began(2, "robin", 11.5));
    let guesses = [("wren", 0.45), ("robin", 0.4), ("jay", 0.1)].map(|(c, p)| (c.to_owned(), p)).to_vec();
    event(13.0, What::Asked { window: 9, source: "garden".into(), span: (at(12.0), at(13.0)), guesses, unknown: None });
    model.update(at(13.0), Input::Classes(["jay", "robin", "wren"].map(str::to_owned).to_vec()));
    let guesses = Guesses { classes: vec![("robin".into(), 0.6), ("wren".into(), 0.3)], unknown: Some(0.1), is_silent: false };
    model.update(at(13.0), Input::Window(0, guesses));
    model.update(at(14.0), Input::Sound(0, Column { peak: 0.1, rms: 0.05, bands: [128; BANDS] }));
    model.update(at(14.0), Input::Tick);
    model
}

pub fn began(id: u64, class: &str, begin_s: f64) -> What {
    What::Began { id, source: "hall".into(), begin: at(begin_s), class: class.into(), probability: 0.7, unknown: None }
}

pub fn press(model: &mut Model, keys: &str) -> Option<Command> {
    keys.chars().fold(None, |_, c| {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            c => KeyCode::Char(c),
        };
        let now = model.now;
        model.update(now, Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    })
}

fn label(target: Target, labels: &str) -> Command {
    Command::Label(target, label_text::parse(labels).unwrap())
}

fn done(rows: u64, generation: u64) -> wheatear::Result<Answer> {
    Ok(Answer::Done(Answered { rows, generation, durable: true }))
}

#[test]
fn one_key_says_what_the_marked_line_was() {
    for (keys, command) in [
        ("y", label(Target::Window(9), "wren")),
        ("2", label(Target::Window(9), "robin")),
        ("x", label(Target::Window(9), "!wren")),
        ("n", label(Target::Window(9), "!*")),
        ("vy", label(Target::Event(2), "robin")),
        ("vvvvx", label(Target::Event(1), "!wren")),
        ("vv^n", label(Target::Event(2), "!*")),
        ("vvq3", label(Target::Window(9), "jay")),
        ("vtso\tng thrush;wr\t\n", label(Target::Event(2), "song thrush;wren")),
        ("u", Command::Undo(1)),
        ("Q", Command::Quit),
        ("?Q", Command::Quit),
    ] {
        assert_eq!(press(&mut model(), keys), Some(command), "{keys:?}");
    }
    for keys in ["v3", "?", "?y", "m", "t\u{1b}", "t\n", "z", "l"] {
        assert_eq!(press(&mut model(), keys), None, "{keys:?}");
    }
}

#[test]
fn a_label_of_the_last_seconds_is_about_those_before_its_key_of_the_microphone_that_is_shown() {
    let mut model = model();
    press(&mut model, "mlrob");
    model.update(at(60.0), Input::Tick);
    let span = |source, begin: u64| Target::Span { source: Some(source), begin_ns: begin * SECOND_NS, end_ns: 14 * SECOND_NS };
    assert_eq!(press(&mut model, "\t\n"), Some(label(span(1, 11), "robin")));
    model.now = at(14.0);
    assert_eq!(press(&mut model, "mLjay\n"), Some(label(span(0, 4), "jay")));
}

#[test]
fn keys_are_letters_while_a_label_is_typed_and_pasted_text_is_no_key() {
    let mut model = model();
    model.update(at(14.0), Input::Paste("Qyu".into()));
    assert!(model.entry.is_none());
    assert_eq!(press(&mut model, "tQuyn?"), None);
    model.update(at(14.0), Input::Paste("\u{1b}[2J".into()));
    assert_eq!(model.entry.as_ref().unwrap().text, "Quyn?[2J");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(model.update(at(14.0), Input::Key(interrupt)), Some(Command::Quit));
}

#[test]
fn a_line_that_has_just_come_is_not_labelled_by_a_key_meant_for_the_one_before() {
    let mut model = model();
    model.update(at(14.0), Input::Event(Box::new(Event::new(at(14.0), 5, began(3, "jay", 13.5)))));
    model.update(at(14.2), Input::Tick);
    assert_eq!(press(&mut model, "y"), None);
    assert!(model.last().0.contains("press again"));
    model.update(at(14.5), Input::Tick);
    assert_eq!(press(&mut model, "y"), Some(label(Target::Event(3), "jay")));
}

#[test]
fn an_answer_says_what_was_learned_and_when_a_head_knows_it_and_undo_takes_the_word_back() {
    let mut model = model();
    let command = press(&mut model, "y").unwrap();
    assert_eq!(model.last().0, "wren is being learned");
    let serving = |untried, refused: Option<&str>| {
        let what = What::Serving { classes: vec![], unnamed: 0, took_ms: 120.4, untried, refused: refused.map(str::to_owned) };
        Input::Event(Box::new(Event::new(at(15.0), 6, what)))
    };
    // The event may come before the answer.
    model.update(at(15.0), serving(false, None));
    model.update(at(15.0), Input::Answer(command, done(6, 6)));
    assert_eq!(model.last(), ("learned wren: 6 windows, durable; knows it after 120 ms".into(), false));
    assert_eq!(model.told.marked().unwrap().said.as_deref(), Some("wren"));
    model.update(at(15.0), serving(false, Some("old classes suffer")));
    assert!(model.last().0.ends_with("the new head was refused, the one before serves on (N)"));
    assert!(model.notices.shown(at(15.0).monotonic_ns).unwrap().text.ends_with("old classes suffer"));
    let serving = What::Serving { classes: vec![], unnamed: 0, took_ms: 90.0, untried: false, refused: None };
    model.update(at(16.0), Input::Answer(Command::Undo(1), done(6, 7)));
    assert_eq!(model.last(), ("took 6 windows back, durable".into(), false));
    assert_eq!(model.told.marked().unwrap().said, None);
    model.update(at(16.0), Input::Event(Box::new(Event::new(at(16.0), 7, serving))));
    assert!(model.last().0.ends_with("durable; the head without it serves after 90 ms"), "{}", model.last().0);
}

#[test]
fn a_label_that_somebody_else_gave_is_told_and_its_undo_takes_no_word_of_ours_back() {
    let mut model = model();
    let command = press(&mut model, "y").unwrap();
    model.update(at(15.0), Input::Answer(command, done(6, 6)));
    let learned = What::Learned {
        source: "hall".into(),
        id: None,
        span: None,
        classes: vec!["jay".into()],
        rows: 2,
        by: "phone".into(),
        durable: true,
    };
    model.update(at(15.0), Input::Event(Box::new(Event::new(at(15.0), 7, learned))));
    assert_eq!(model.notices.shown(at(15.0).monotonic_ns).unwrap().text, "phone said jay: 2 windows");
    // What nobody has named is no label that an undo takes back.
    let ordinary = What::Learned {
        source: "hall".into(),
        id: None,
        span: None,
        classes: vec![],
        rows: 1,
        by: wheatear::store::ORDINARY.into(),
        durable: true,
    };
    model.update(at(15.5), Input::Event(Box::new(Event::new(at(15.5), 7, ordinary))));
    model.update(at(16.0), Input::Answer(Command::Undo(1), done(2, 8)));
    assert_eq!(model.told.marked().unwrap().said.as_deref(), Some("wren"));
    // Whoever takes it back.
    let undone = What::Undone { rows: 6, by: "phone".into(), durable: true };
    model.update(at(17.0), Input::Event(Box::new(Event::new(at(17.0), 9, undone))));
    assert_eq!(model.told.marked().unwrap().said, None);
}

#[test]
fn a_refusal_and_a_line_of_the_log_are_shown() {
    let mut model = model();
    let command = press(&mut model, "n").unwrap();
    let refused = Error::new(ErrorKind::Input, "what the label is about is silent").cure("label it sooner");
    model.update(at(15.0), Input::Answer(command, Err(refused)));
    assert_eq!(model.last(), ("refused: what the label is about is silent; label it sooner".into(), true));
    model.update(at(15.0), Input::Log("[ERROR] the disk is full".into()));
    assert_eq!(model.notices.shown(at(16.0).monotonic_ns).unwrap().level, Level::Error);
    press(&mut model, "N");
    assert_eq!(model.over, Some(Over::Notices));
    press(&mut model, "z");
    assert_eq!(model.over, None);
}

#[test]
fn a_microphone_that_nobody_knows_changes_nothing() {
    let mut model = model();
    model.update(at(15.0), Input::Window(7, Guesses::default()));
    model.update(at(15.0), Input::Sound(7, Column { peak: 0.1, rms: 0.1, bands: [0; BANDS] }));
    assert_eq!(model.heard.len(), 2);
}
