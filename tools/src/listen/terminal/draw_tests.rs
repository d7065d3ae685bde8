//! What the screen shows of a model, in several sizes, in characters of every terminal or of most.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;
use wheatear::daemon::{Answered, Counts};
use wheatear::event::{Event, Level, What};
use wheatear::live::picture::{BANDS, Column};
use wheatear::{Error, ErrorKind};

use super::super::command::{Answer, Command};
use super::draw::draw;
use super::look::{Colours, Look};
use super::model::{Guesses, Input, Model};
use super::model_tests::{at, began, model, press};

const UTF8: Look = Look { is_utf8: true, colours: Colours::Many };
const ASCII: Look = Look { is_utf8: false, colours: Colours::None };

fn screen(model: &Model, look: Look, (columns, rows): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(model, look, frame)).unwrap();
    terminal
}

/// Rows of the screen as text.
fn rows(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(row).collect()
}

fn lines(model: &Model, look: Look, size: (u16, u16)) -> Vec<String> {
    rows(&screen(model, look, size))
}

fn row<'a>(rows: &'a [String], part: &str) -> &'a str {
    rows.iter().find(|r| r.contains(part)).unwrap_or_else(|| panic!("no {part:?} in\n{}", rows.join("\n")))
}

fn counted() -> Model {
    let mut model = model();
    let counts = Counts {
        windows: 1234,
        windows_dropped: 1,
        windows_skipped: 2,
        stride: 1,
        frames: 9,
        frames_lost: 480,
        clipped: 0,
        signals_dropped: 0,
        serving: 12,
        event_ms: Some((45.0, 80.0)),
        answer_ms: Some((20.0, 31.0)),
        events_lost: 0,
        backbone_cpu_s: 1.5,
        ..Counts::default()
    };
    model.update(at(14.0), Input::Answer(Command::Counts, Ok(Answer::Counts(counts))));
    model
}

#[test]
fn everything_is_on_the_screen_in_every_size_and_look() {
    for size in [(80, 24), (60, 16), (200, 50)] {
        for look in [UTF8, ASCII] {
            let rows = lines(&counted(), look, size);
            let title = &rows[0];
            assert!(title.contains("birds") && title.contains("generation 12 serves") && title.contains("00:00:14"), "{title}");
            assert!(size.0 < 80 || title.contains("aisfx"), "{title}");
            assert!(row(&rows, "1 hall").contains("-20.0 dB") && row(&rows, "2 garden").contains("no sound"));
            assert!(row(&rows, "unknown").contains("10 %") && row(&rows, "60 %").contains("robin"));
            let sounding = row(&rows, "sounding");
            assert!(sounding.contains("00:00:11") && sounding.contains("robin") && sounding.contains("2.5 s") && sounding.contains("70 %"));
            let ended = row(&rows, "87 %");
            assert!(ended.contains("00:00:09") && ended.contains("wren") && ended.contains("1.5 s") && !ended.contains("sounding"));
            assert!(row(&rows, "what was that?").contains("1 wren 45 %"));
            assert!(row(&rows, "heard 1 of 3").contains("questions: 1"));
            assert!(row(&rows, "1234 windows").contains("lost 3  frames lost 480"));
            assert!(rows.last().unwrap().contains("? help") && rows.last().unwrap().contains("Q quit"));
            assert!(look.is_utf8 || rows.iter().all(|r| r.is_ascii()), "{}", rows.join("\n"));
        }
    }
}

#[test]
fn the_marked_line_is_seen_with_colours_and_without() {
    for look in [UTF8, ASCII] {
        let mut model = counted();
        press(&mut model, "v");
        let terminal = screen(&model, look, (80, 24));
        let all = rows(&terminal);
        let y = all.iter().position(|r| r.contains("sounding")).unwrap();
        assert!(all[y].starts_with('>') && all.iter().filter(|r| r.starts_with('>') && r.contains(" %")).count() == 1);
        let reversed = |y: usize| terminal.backend().buffer()[(5, y as u16)].modifier.contains(Modifier::REVERSED);
        assert!(reversed(y) && !reversed(y + 1) && !reversed(y - 1));
    }
}

#[test]
fn a_marked_line_far_down_is_on_the_screen() {
    let mut model = counted();
    (10..150).for_each(|id| {
        _ = model.update(at(20.0), Input::Event(Box::new(Event::new(at(20.0), 5, began(id, &format!("class {id}"), 19.0)))))
    });
    (0..100).for_each(|_| _ = press(&mut model, "v"));
    for size in [(80, 24), (60, 16), (200, 50)] {
        let rows = lines(&model, UTF8, size);
        assert!(row(&rows, "class 49").starts_with('>'), "{size:?}");
        row(&rows, "heard 101 of 143");
    }
}

#[test]
fn a_label_is_shown_while_it_is_typed_with_the_cursor_behind_it_and_why_it_cannot_be_said() {
    for size in [(80, 24), (60, 16)] {
        let mut model = counted();
        press(&mut model, "vtwr");
        let mut terminal = screen(&model, UTF8, size);
        let all = rows(&terminal);
        let y = all.iter().position(|r| r.starts_with("event 2 is wr")).unwrap();
        let cursor = terminal.get_cursor_position().unwrap();
        assert_eq!((cursor.x, usize::from(cursor.y)), ("event 2 is wr".len() as u16, y));
        assert!(size.1 < 20 || all[y + 1].starts_with("wren"));
        row(&all, "Tab completes");
        press(&mut model, ";\n");
        row(&lines(&model, UTF8, size), "a label has no usable class name");
    }
}

#[test]
fn the_answer_and_the_newest_notice_are_shown_and_all_notices_over_the_screen() {
    let mut model = counted();
    let command = press(&mut model, "y").unwrap();
    let done = Answered { rows: 6, generation: 13, durable: true };
    model.update(at(15.0), Input::Answer(command, Ok(Answer::Done(done))));
    let text = "480 frames were lost, because this board is slower than its microphone gives them, and that is a long notice".to_owned();
    let what = What::Notice { level: Level::Warning, source: "hall".into(), text };
    model.update(at(15.0), Input::Event(Box::new(Event::new(at(15.0), 0, what))));
    let all = lines(&model, UTF8, (80, 24));
    row(&all, "learned wren: 6 windows, durable");
    row(&all, "00:00:15 hall: 480 frames were lost");
    assert!(row(&all, "what was that?").contains("= wren"));
    let refused =
        Error::new(ErrorKind::Input, "what the label is about is silent").cure("label it sooner, or something else than this silence");
    model.update(at(15.0), Input::Answer(Command::Undo(1), Err(refused)));
    row(&lines(&model, UTF8, (80, 24)), "than this silence");
    press(&mut model, "N");
    let all = lines(&model, ASCII, (60, 16));
    row(&all, "long notice");
    row(&all, "than this silence");
    press(&mut model, " ?");
    row(&lines(&model, ASCII, (60, 16)), "Q, ctrl-c");
}

#[test]
fn the_picture_has_low_sounds_below_and_the_newest_on_the_right() {
    let mut model = counted();
    let mut bands = [0; BANDS];
    bands[..44].fill(230);
    (0..3).for_each(|_| _ = model.update(at(14.0), Input::Sound(0, Column { peak: 1.0, rms: 0.5, bands })));
    (0..8).for_each(|_| _ = model.update(at(14.0), Input::Sound(0, Column { peak: 1.0, rms: 0.5, bands })));
    let all = lines(&model, ASCII, (80, 24));
    assert!(row(&all, "1 hall").contains("CLIP"));
    // Six rows below the title and two microphones; the picture ends before the guesses.
    let ends: Vec<&str> = (3..9).map(|y| &all[y][44..47]).collect();
    assert_eq!(ends, ["   ", "###", "###", "###", "###", "###"], "{}", all.join("\n"));
}

#[test]
fn names_from_outside_are_shown_and_do_nothing() {
    let mut model = counted();
    let class =
        "みそさざい\u{1b}[31m\u{202e} and a name that is longer than any column on any screen there is, by far, as one can see here";
    model.update(at(20.0), Input::Event(Box::new(Event::new(at(20.0), 5, began(9, class, 19.0)))));
    model.update(at(20.0), Input::Classes(vec![class.into()]));
    model.update(at(20.0), Input::Window(0, Guesses { classes: vec![(class.into(), f32::NAN)], unknown: Some(7.0), is_silent: false }));
    press(&mut model, "tみ");
    for look in [UTF8, ASCII] {
        for size in [(80, 24), (60, 16), (200, 50)] {
            let all = lines(&model, look, size);
            assert!(all.iter().all(|r| !r.contains(['\u{1b}', '\u{202e}'])));
            // Cells behind a wide character are empty.
            assert!(!look.is_utf8 || row(&all, "sounding").contains("み"));
        }
    }
}

#[test]
fn no_size_is_too_small_to_say_so() {
    let mut model = counted();
    for keys in ["", "t", "\u{1b}?", "N"] {
        press(&mut model, keys);
        for columns in 1..=20 {
            for rows in 1..=10 {
                lines(&model, UTF8, (columns, rows));
            }
        }
        for size in [(59, 16), (60, 15), (300, 16), (60, 100), (61, 17), (79, 19), (81, 31)] {
            lines(&model, ASCII, size);
        }
    }
    assert!(lines(&model, UTF8, (50, 10)).join(" ").contains("50 x 10 is too small: 60 x 16"));
    let all = lines(&Model::new(vec![], &["mic".into()], ""), UTF8, (80, 24));
    assert!(all.join("\n").contains("no window yet") && all.join("\n").contains("nothing was heard yet"));
    lines(&Model::new(vec![], &[], ""), UTF8, (80, 24));
}
