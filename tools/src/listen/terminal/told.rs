//! What was told, newest first: events, of which the beginning and the end are one line, and questions; and the mark of the line that a key is
//! about. So many lines are kept; the oldest makes room.

use std::collections::VecDeque;

use wheatear::daemon::Target;
use wheatear::event::What;
use wheatear::units::Moment;

/// Lines that are kept.
pub const LINES: usize = 200;
/// Guesses of a question that are kept.
pub const GUESSES: usize = 3;
/// A mark that has moved of itself for less than this is not what the person saw.
const SEEN_NS: u64 = 400_000_000;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The event of this id.
    Event(u64),
    /// A question about the window of this number.
    Window(u64),
}

impl Key {
    /// The same, for a label.
    pub fn target(self) -> Target {
        match self {
            Key::Event(id) => Target::Event(id),
            Key::Window(number) => Target::Window(number),
        }
    }

    /// The line that a label was about.
    pub fn of(target: Target) -> Option<Key> {
        match target {
            Target::Event(id) => Some(Key::Event(id)),
            Target::Window(number) => Some(Key::Window(number)),
            Target::Last { .. } | Target::Span { .. } => None,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is about.
    pub key: Key,
    /// Name of the microphone.
    pub source: String,
    /// When it began.
    pub begin: Moment,
    /// How long it was, in s; none while it is heard.
    pub seconds: Option<f64>,
    /// What it may be, the surest first; of an event its class alone.
    pub guesses: Vec<(String, f32)>,
    /// Probability of being of no known class, where that is told.
    pub unknown: Option<f32>,
    /// What a person said it was.
    pub said: Option<String>,
}

/// What was told.
#[derive(Debug, Clone, Default)]
pub struct Told {
    lines: VecDeque<Line>,
    /// None while the mark follows the newest.
    chosen: Option<Key>,
    /// When the newest came.
    newest_ns: u64,
}

impl Told {
    /// Takes what is a line, or the end of one.
    pub fn take(&mut self, what: &What, now_ns: u64) {
        let line = match what {
            What::Began { id, source, begin, class, probability, unknown } => Line {
                key: Key::Event(*id),
                source: source.clone(),
                begin: *begin,
                seconds: None,
                guesses: vec![(class.clone(), *probability)],
                unknown: *unknown,
                said: None,
            },
            What::Heard { id: Some(id), source, begin_s, end_s, span, class, probability, unknown } => Line {
                key: Key::Event(*id),
                source: source.clone(),
                begin: span.map_or(Moment::UNKNOWN, |s| s.0),
                seconds: Some(end_s - begin_s),
                guesses: vec![(class.clone(), *probability)],
                unknown: *unknown,
                said: None,
            },
            What::Asked { window, source, span, guesses, unknown } => Line {
                key: Key::Window(*window),
                source: source.clone(),
                begin: span.0,
                seconds: Some(span.1.monotonic_ns.saturating_sub(span.0.monotonic_ns) as f64 * 1e-9),
                guesses: guesses.iter().take(GUESSES).cloned().collect(),
                unknown: *unknown,
                said: None,
            },
            _ => return,
        };
        if let Some(there) = self.lines.iter_mut().find(|l| l.key == line.key) {
            *there = Line { said: there.said.take(), ..line };
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_back();
        }
        self.lines.push_front(line);
        self.newest_ns = now_ns;
    }

    /// The lines, newest first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &Line> {
        self.lines.iter()
    }

    /// Number of the marked line: the newest, or the one that was chosen. What was chosen and has gone was the oldest.
    pub fn mark(&self) -> Option<usize> {
        let last = self.lines.len().checked_sub(1)?;
        Some(self.chosen.map_or(0, |key| self.lines.iter().position(|l| l.key == key).unwrap_or(last)))
    }

    /// The marked line.
    pub fn marked(&self) -> Option<&Line> {
        self.mark().map(|n| &self.lines[n])
    }

    /// Whether the mark stands where the person saw it.
    pub fn is_seen(&self, now_ns: u64) -> bool {
        self.chosen.is_some() || now_ns.saturating_sub(self.newest_ns) >= SEEN_NS
    }

    /// Moves the mark so many lines down, or up.
    pub fn step(&mut self, lines: isize) {
        let Some(mark) = self.mark() else { return };
        let to = mark.saturating_add_signed(lines).min(self.lines.len() - 1);
        self.chosen = Some(self.lines[to].key);
    }

    /// Lets the mark follow the newest.
    pub fn follow(&mut self) {
        self.chosen = None;
    }

    /// Marks the next question below that nobody has answered, or the newest.
    pub fn next_question(&mut self) -> bool {
        let after = self.marked().filter(|l| is_open(l)).and(self.mark()).map_or(0, |n| n + 1);
        let open = |lines: std::ops::Range<usize>| self.lines.range(lines).find(|l| is_open(l)).map(|l| l.key);
        let next = open(after..self.lines.len()).or_else(|| open(0..after));
        self.chosen = next.or(self.chosen);
        next.is_some()
    }

    /// Questions that nobody has answered here.
    pub fn open(&self) -> usize {
        self.lines.iter().filter(|l| is_open(l)).count()
    }

    /// Notes what a person said of a line, or that it was taken back.
    pub fn say(&mut self, key: Key, said: Option<String>) {
        self.lines.iter_mut().filter(|l| l.key == key).for_each(|l| l.said.clone_from(&said));
    }
}

fn is_open(line: &Line) -> bool {
    matches!(line.key, Key::Window(_)) && line.said.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(id: u64) -> What {
        let begin = Moment { monotonic_ns: id, ..Moment::UNKNOWN };
        What::Began { id, source: "mic".into(), begin, class: "wren".into(), probability: 0.6, unknown: None }
    }

    fn heard(id: u64) -> What {
        let (span, class) = (Some((Moment { monotonic_ns: id, ..Moment::UNKNOWN }, Moment::UNKNOWN)), "wren".to_owned());
        What::Heard { id: Some(id), source: "mic".into(), begin_s: 1.0, end_s: 2.5, span, class, probability: 0.9, unknown: Some(0.1) }
    }

    fn asked(window: u64) -> What {
        let guesses = ["a", "b", "c", "d"].map(|c| (c.to_owned(), 0.2)).to_vec();
        What::Asked { window, source: "mic".into(), span: (Moment::UNKNOWN, Moment::UNKNOWN), guesses, unknown: None }
    }

    fn keys(told: &Told) -> Vec<Key> {
        told.lines().map(|l| l.key).collect()
    }

    #[test]
    fn the_beginning_and_the_end_of_an_event_are_one_line_that_keeps_what_was_said() {
        let mut told = Told::default();
        told.take(&began(1), 0);
        told.take(&began(2), 0);
        told.say(Key::Event(1), Some("wren".into()));
        assert_eq!(told.lines().map(|l| l.seconds).collect::<Vec<_>>(), [None, None]);
        told.take(&heard(1), 0);
        assert_eq!(keys(&told), [Key::Event(2), Key::Event(1)]);
        let line = told.lines().nth(1).unwrap();
        assert_eq!((line.seconds, line.guesses[0].1, line.said.as_deref()), (Some(1.5), 0.9, Some("wren")));
    }

    #[test]
    fn the_mark_follows_the_newest_until_a_line_is_chosen_and_stays_with_that() {
        let mut told = Told::default();
        told.step(1);
        assert_eq!(told.mark(), None);
        (1..=3).for_each(|id| told.take(&began(id), id));
        assert_eq!(told.marked().unwrap().key, Key::Event(3));
        told.step(1);
        told.take(&began(4), 4);
        assert_eq!((told.mark(), told.marked().unwrap().key), (Some(2), Key::Event(2)));
        told.step(-10);
        assert_eq!(told.mark(), Some(0));
        told.take(&began(5), 5);
        assert_eq!(told.mark(), Some(1));
        told.follow();
        assert_eq!(told.mark(), Some(0));
        assert!(!told.is_seen(5 + SEEN_NS - 1) && told.is_seen(5 + SEEN_NS));
    }

    #[test]
    fn the_oldest_lines_make_room_and_a_mark_on_one_moves_to_the_oldest_that_is_kept() {
        let mut told = Told::default();
        told.take(&began(1), 0);
        told.step(0);
        (2..=LINES as u64 + 50).for_each(|id| told.take(&began(id), 0));
        assert_eq!((told.lines().len(), told.mark()), (LINES, Some(LINES - 1)));
    }

    #[test]
    fn questions_are_found_one_after_the_other_until_they_are_answered() {
        let mut told = Told::default();
        assert!(!told.next_question());
        [asked(7), began(1), asked(8), began(2)].iter().for_each(|what| told.take(what, 0));
        assert_eq!((told.open(), told.lines().nth(1).unwrap().guesses.len()), (2, GUESSES));
        for key in [Key::Window(8), Key::Window(7), Key::Window(8)] {
            assert!(told.next_question());
            assert_eq!(told.marked().unwrap().key, key);
        }
        told.say(Key::Window(8), Some("a".into()));
        assert!(told.next_question() && told.marked().unwrap().key == Key::Window(7) && told.open() == 1);
    }
}
