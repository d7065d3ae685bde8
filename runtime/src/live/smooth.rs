//! From windows to events: a class begins to be heard when a window is surer of it than [`Rule::begin`], goes on while windows are surer
//! than [`Rule::end`] (hysteresis), and ends when none was for longer than [`Rule::merge_ms`]. What lasts for less than
//! [`Rule::min_ms`] is not told. Several classes may be heard at once.
//!
//! Time is an argument. State is one stretch for each class that is heard or may be, and a stretch longer than [`Rule::max_ms`] is ended
//! and begun again, so that what is written is never far behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// When a class counts as heard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Probability from which a class begins, 0 to 1.
    pub begin: f32,
    /// Probability from which it goes on, 0 to `begin`.
    pub end: f32,
    /// Windows that are more probably of no known class than this say nothing, 0 to 1.
    pub max_unknown: f32,
    /// Least time from the begin of its first window to the end of its last, in ms.
    pub min_ms: u32,
    /// Longest pause within an event, in ms.
    pub merge_ms: u32,
    /// Longest event, in ms.
    pub max_ms: u32,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule { begin: 0.5, end: 0.35, max_unknown: 0.5, min_ms: 0, merge_ms: 500, max_ms: 60_000 }
    }
}

impl Rule {
    /// Checks every value.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn validate(&self) -> Result<()> {
        let shares = [
            ("begin (classify.min_probability)", self.begin, 1.0),
            ("end (listen.end_probability, below classify.min_probability)", self.end, self.begin),
            ("max_unknown (classify.max_unknown)", self.max_unknown, 1.0),
        ];
        if let Some((key, found, most)) = shares.into_iter().find(|(_, p, most)| !(0.0..=*most).contains(p)) {
            let error = Error::new(ErrorKind::Config, "this is no rule for events").at(key).expected(format!("0 to {most}"));
            return Err(error.found(found).cure("correct it"));
        }
        if self.min_ms > self.max_ms {
            let error = Error::new(ErrorKind::Config, "no event is that long").at("min_ms").expected(format!("at most {}", self.max_ms));
            return Err(error.found(self.min_ms).cure("correct it"));
        }
        Ok(())
    }
}

/// A window as it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its number; numbers grow.
    pub number: u64,
    /// Begin in ns of the monotonic clock.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
    /// Classes with their probabilities; those that are not named have none.
    pub classes: &'a [(&'a ClassName, f32)],
    /// Probability that it is of no known class, where that is told.
    pub unknown: Option<f32>,
    /// Generation of the head.
    pub generation: u64,
}

/// A class that is heard for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Number of the event.
    pub id: u64,
    /// The class.
    pub class: ClassName,
    /// Begin of the first window in ns of the monotonic clock.
    pub begin_ns: u64,
    /// End of the last window that had it.
    pub end_ns: u64,
    /// First and last window that had it.
    pub windows: (u64, u64),
    /// Highest probability of a window.
    pub probability: f32,
    /// Least probability of being of no known class.
    pub unknown: Option<f32>,
    /// Generation of the head that named it last.
    pub generation: u64,
}

/// What the windows tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A class is heard, and still is; its end is that of the window that decided.
    Began(Stretch),
    /// It is over.
    Ended(Stretch),
}

struct Open {
    stretch: Stretch,
    is_told: bool,
}

/// Events of one microphone.
pub struct Smoother {
    rule: Rule,
    open: BTreeMap<ClassName, Open>,
    next_id: u64,
    /// Number of the window before.
    before: Option<u64>,
}

impl Smoother {
    /// Whose events are numbered from 1.
    pub fn new(rule: Rule) -> Smoother {
        Smoother { rule, open: BTreeMap::new(), next_id: 1, before: None }
    }

    /// Goes by another rule from the next window on.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// Takes the next window, and appends what it tells to `told`.
    pub fn push(&mut self, window: Answered<'_>, told: &mut Vec<Told>) {
        let Rule { begin, end, max_unknown, .. } = self.rule;
        let speaks = window.unknown.is_none_or(|u| u <= max_unknown);
        for (class, p) in window.classes.iter().filter(|(_, p)| speaks && *p >= end) {
            match self.open.get_mut(*class) {
                // Neighbours touch, however far apart they are: a slow board answers few windows.
                Some(open)
                    if self.before == Some(open.stretch.windows.1) || window.begin_ns <= open.stretch.end_ns + ns(self.rule.merge_ms) =>
                {
                    extend(&mut open.stretch, &window, *p)
                }
                Some(_) => {
                    self.finish(class, told);
                    self.begin(class, &window, *p, begin);
                }
                None => self.begin(class, &window, *p, begin),
            }
        }
        let over: Vec<ClassName> =
            self.open.values().filter(|o| self.is_over(&o.stretch, &window)).map(|o| o.stretch.class.clone()).collect();
        over.iter().for_each(|class| self.finish(class, told));
        let min_ns = ns(self.rule.min_ms);
        for open in self.open.values_mut().filter(|o| !o.is_told && o.stretch.end_ns - o.stretch.begin_ns >= min_ns) {
            open.is_told = true;
            told.push(Told::Began(open.stretch.clone()));
        }
        let long: Vec<ClassName> = self.open.values().filter(|o| self.is_long(&o.stretch)).map(|o| o.stretch.class.clone()).collect();
        long.iter().for_each(|class| self.finish(class, told));
        self.before = Some(window.number);
    }

    /// First and last window of the event `id` so far; none when it is over.
    pub fn windows(&self, id: u64) -> Option<(u64, u64)> {
        self.open.values().find(|o| o.stretch.id == id).map(|o| o.stretch.windows)
    }

    /// Ends all that is heard: the sound stops here.
    pub fn stop(&mut self, told: &mut Vec<Told>) {
        let all: Vec<ClassName> = self.open.keys().cloned().collect();
        all.iter().for_each(|class| self.finish(class, told));
        self.before = None;
    }

    fn begin(&mut self, class: &ClassName, window: &Answered<'_>, p: f32, least: f32) {
        if p < least {
            return;
        }
        let stretch = Stretch {
            id: self.next_id,
            class: class.clone(),
            begin_ns: window.begin_ns,
            end_ns: window.end_ns,
            windows: (window.number, window.number),
            probability: p,
            unknown: window.unknown,
            generation: window.generation,
        };
        self.next_id += 1;
        self.open.insert(class.clone(), Open { stretch, is_told: false });
    }

    fn finish(&mut self, class: &ClassName, told: &mut Vec<Told>) {
        if let Some(open) = self.open.remove(class).filter(|o| o.is_told) {
            told.push(Told::Ended(open.stretch));
        }
    }

    fn is_over(&self, stretch: &Stretch, window: &Answered<'_>) -> bool {
        stretch.windows.1 != window.number && window.begin_ns >= stretch.end_ns + ns(self.rule.merge_ms)
    }

    fn is_long(&self, stretch: &Stretch) -> bool {
        stretch.end_ns - stretch.begin_ns >= ns(self.rule.max_ms)
    }
}

fn extend(stretch: &mut Stretch, window: &Answered<'_>, p: f32) {
    stretch.end_ns = stretch.end_ns.max(window.end_ns);
    stretch.windows.1 = window.number;
    stretch.probability = stretch.probability.max(p);
    stretch.unknown = stretch.unknown.zip(window.unknown).map(|(a, b)| a.min(b)).or(window.unknown);
    stretch.generation = window.generation;
}

fn ns(ms: u32) -> u64 {
    u64::from(ms) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP_NS: u64 = 500_000_000;

    /// Windows of 1 s every 500 ms with the probability of a wren, and of being unknown; what was told, in short.
    fn told(rule: Rule, windows: &[(f32, f32)]) -> Vec<String> {
        let (wren, mut smoother, mut told) = (ClassName::new("wren").unwrap(), Smoother::new(rule), Vec::new());
        for (n, (p, unknown)) in windows.iter().enumerate() {
            let begin_ns = n as u64 * HOP_NS;
            let classes = [(&wren, *p)];
            let (number, end_ns) = (n as u64, begin_ns + 2 * HOP_NS);
            smoother.push(Answered { number, begin_ns, end_ns, classes: &classes, unknown: Some(*unknown), generation: 7 }, &mut told);
        }
        smoother.stop(&mut told);
        let text = |t: &Told| match t {
            Told::Began(s) => format!("{} began {}-{}", s.id, s.begin_ns / HOP_NS, s.end_ns / HOP_NS),
            Told::Ended(s) => format!("{} ended {}-{} {:.1}", s.id, s.begin_ns / HOP_NS, s.end_ns / HOP_NS, s.probability),
        };
        told.iter().map(text).collect()
    }

    const QUIET: (f32, f32) = (0.1, 0.1);

    #[test]
    fn an_event_begins_at_one_probability_and_goes_on_at_a_lower_one() {
        let windows = [QUIET, (0.45, 0.1), (0.6, 0.1), (0.4, 0.1), (0.9, 0.1), (0.3, 0.1), QUIET, QUIET, QUIET];
        let merge_none = Rule { merge_ms: 0, ..Rule::default() };
        assert_eq!(told(merge_none, &windows), ["1 began 2-4", "1 ended 2-6 0.9"]);
        assert_eq!(told(Rule { begin: 0.7, ..merge_none }, &windows), ["1 began 4-6", "1 ended 4-6 0.9"]);
    }

    #[test]
    fn a_short_pause_is_bridged_and_a_long_one_is_not() {
        let windows = [(0.9, 0.1), QUIET, QUIET, QUIET, (0.9, 0.1), QUIET, QUIET, QUIET, QUIET, QUIET];
        let rule = |merge_ms| Rule { merge_ms, ..Rule::default() };
        assert_eq!(told(rule(1000), &windows), ["1 began 0-2", "1 ended 0-6 0.9"]);
        assert_eq!(told(rule(499), &windows), ["1 began 0-2", "1 ended 0-2 0.9", "2 began 4-6", "2 ended 4-6 0.9"]);
    }

    #[test]
    fn windows_that_follow_one_another_are_one_event_though_a_slow_board_leaves_time_between_them() {
        let (wren, mut smoother, mut told) = (ClassName::new("wren").unwrap(), Smoother::new(Rule::default()), Vec::new());
        for n in 0..4u64 {
            let (begin_ns, classes) = (n * 8 * HOP_NS, [(&wren, 0.9)]);
            let end_ns = begin_ns + 2 * HOP_NS;
            smoother.push(Answered { number: n, begin_ns, end_ns, classes: &classes, unknown: None, generation: 7 }, &mut told);
        }
        assert_eq!((told.len(), smoother.windows(1)), (1, Some((0, 3))));
    }

    #[test]
    fn what_is_shorter_than_the_least_is_never_told() {
        let rule = Rule { min_ms: 1500, merge_ms: 0, ..Rule::default() };
        assert_eq!(told(rule, &[(0.9, 0.1), QUIET, QUIET, QUIET]), [""; 0]);
        assert_eq!(told(rule, &[(0.9, 0.1), (0.9, 0.1), QUIET, QUIET]), ["1 began 0-3", "1 ended 0-3 0.9"]);
    }

    #[test]
    fn a_window_of_no_known_class_says_nothing() {
        let rule = Rule { merge_ms: 0, ..Rule::default() };
        assert_eq!(told(rule, &[(0.9, 0.6), (0.9, 0.6)]), [""; 0]);
        assert_eq!(told(rule, &[(0.9, 0.5), (0.9, 0.6), (0.9, 0.6), (0.9, 0.6)]), ["1 began 0-2", "1 ended 0-2 0.9"]);
    }

    #[test]
    fn an_endless_sound_is_told_in_parts() {
        let rule = Rule { max_ms: 2000, ..Rule::default() };
        let parts = told(rule, &[(0.9, 0.1); 7]);
        assert_eq!(parts, ["1 began 0-2", "1 ended 0-4 0.9", "2 began 3-5", "2 ended 3-7 0.9", "3 began 6-8", "3 ended 6-8 0.9"]);
    }

    #[test]
    fn two_classes_may_be_heard_at_once() {
        let (wren, robin) = (ClassName::new("wren").unwrap(), ClassName::new("robin").unwrap());
        let (mut smoother, mut told) = (Smoother::new(Rule::default()), Vec::new());
        let classes = [(&wren, 0.8), (&robin, 0.7)];
        smoother.push(Answered { number: 0, begin_ns: 0, end_ns: 1, classes: &classes, unknown: None, generation: 1 }, &mut told);
        let ids: Vec<u64> = told
            .iter()
            .map(|t| match t {
                Told::Began(s) | Told::Ended(s) => s.id,
            })
            .collect();
        assert_eq!(ids.len(), 2);
        assert!(ids.contains(&1) && ids.contains(&2), "{ids:?}");
    }
}
