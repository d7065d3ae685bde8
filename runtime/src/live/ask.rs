//! Asking for labels (active learning): of the windows about which the head is unsure, as many are put to a person as they allow.
//!
//! Unsure is how near the two most probable answers are, no known class being one of them (margin sampling; Scheffer et al. 2001).
//! A fixed number of questions waits; a new one that is more unsure takes the place of the least unsure. A person's rate is a bucket
//! that fills by time, so that an eventful hour does not ask for a day's labels.

use serde::{Deserialize, Serialize};

/// A window that a person is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The window.
    pub window: u64,
    /// Microphone.
    pub source: u32,
    /// Begin and end in ns of the monotonic clock.
    pub span_ns: (u64, u64),
    /// How near the two most probable answers are, 0 (sure) to 1.
    pub doubt: f32,
}

/// The questions that wait.
#[derive(Debug, Clone)]
pub struct Queue {
    per_hour: f64,
    /// Least doubt that is asked about.
    least: f32,
    room: usize,
    waiting: Vec<Question>,
    /// Questions that may be asked now.
    allowed: f64,
    filled_ns: Option<u64>,
}

impl Queue {
    /// Which asks at most `per_hour`, about windows of at least that `least` doubt, and holds `room` questions.
    pub fn new(per_hour: f64, least: f32, room: usize) -> Queue {
        Queue { per_hour: per_hour.max(0.0), least, room, waiting: Vec::with_capacity(room), allowed: 1.0, filled_ns: None }
    }

    /// Asks so many an hour, and about windows of so much doubt, from now on.
    pub fn allow(&mut self, per_hour: f64, least: f32) {
        self.per_hour = per_hour.max(0.0);
        self.least = least;
        self.allowed = self.allowed.min(self.per_hour.max(1.0));
    }

    /// Takes a window at the time `now_ns`; true when a person is to be asked about it now. A window next to one that waits is the same
    /// question.
    pub fn offer(&mut self, question: Question, now_ns: u64) -> bool {
        let hours = now_ns.saturating_sub(self.filled_ns.unwrap_or(now_ns)) as f64 / 3.6e12;
        // Microphones do not come in the order of time.
        self.filled_ns = Some(now_ns.max(self.filled_ns.unwrap_or(0)));
        // At most an hour's worth is saved up.
        self.allowed = (self.allowed + hours * self.per_hour).min(self.per_hour.max(1.0));
        let touches = |q: &Question| q.source == question.source && q.span_ns.1 >= question.span_ns.0 && question.span_ns.1 >= q.span_ns.0;
        if self.per_hour == 0.0 || question.doubt < self.least || self.waiting.iter().any(touches) || self.allowed < 1.0 {
            return false;
        }
        if self.waiting.len() == self.room {
            let surest = (0..self.waiting.len()).min_by(|a, b| self.waiting[*a].doubt.total_cmp(&self.waiting[*b].doubt));
            let Some(surest) = surest.filter(|i| self.waiting[*i].doubt < question.doubt) else { return false };
            self.waiting.remove(surest);
        }
        self.allowed -= 1.0;
        self.waiting.push(question);
        true
    }

    /// The questions, the most unsure first.
    pub fn waiting(&self) -> Vec<Question> {
        let mut all = self.waiting.clone();
        all.sort_by(|a, b| b.doubt.total_cmp(&a.doubt));
        all
    }

    /// Takes back the questions that a label for this span has answered, or that cannot be answered any more.
    pub fn answered(&mut self, source: u32, span_ns: (u64, u64)) {
        self.waiting.retain(|q| q.source != source || q.span_ns.1 <= span_ns.0 || q.span_ns.0 >= span_ns.1);
    }

    /// Takes back the questions about windows before `window`, which are held no more.
    pub fn forget_before(&mut self, window: u64) {
        self.waiting.retain(|q| q.window >= window);
    }
}

/// How near the two most probable answers are, 0 to 1: those of `p`, which are of a window of a known class, and `unknown`.
pub fn doubt(p: &[f32], unknown: Option<f32>) -> f32 {
    let unknown = unknown.unwrap_or(0.0);
    let (mut first, mut second) = (unknown, 0f32);
    for p in p.iter().map(|p| p * (1.0 - unknown)) {
        (first, second) = if p > first { (p, first) } else { (first, second.max(p)) };
    }
    (1.0 - (first - second)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn question(n: u64, doubt: f32) -> Question {
        Question { window: n, source: 0, span_ns: (2 * n * SECOND_NS, (2 * n + 1) * SECOND_NS), doubt }
    }

    #[test]
    fn doubt_is_how_near_two_answers_are_and_unknown_is_an_answer() {
        for (p, unknown, want) in [
            (&[1.0, 0.0][..], None, 0.0),
            (&[0.5, 0.5], None, 1.0),
            (&[0.7, 0.3], Some(0.0), 0.6),
            (&[1.0], Some(0.5), 1.0),
            (&[0.5, 0.5], Some(1.0), 0.0),
            (&[], None, 1.0),
        ] {
            assert!((doubt(p, unknown) - want).abs() < 1e-6, "{p:?} {unknown:?}: {}", doubt(p, unknown));
        }
    }

    #[test]
    fn no_more_is_asked_in_an_hour_than_was_allowed() {
        let mut queue = Queue::new(6.0, 0.3, 1000);
        let asked = (0..3600 * 5).filter(|n| queue.offer(question(*n, 0.9), n * SECOND_NS)).count();
        assert!((29..=31).contains(&asked), "{asked} in five hours");
        let mut never = Queue::new(0.0, 0.3, 1000);
        assert!((0..100).all(|n| !never.offer(question(n, 0.9), n * SECOND_NS)));
    }

    #[test]
    fn a_full_queue_keeps_the_most_unsure() {
        let mut queue = Queue::new(3600.0, 0.3, 3);
        let doubts = [0.5, 0.4, 0.2, 0.9, 0.35, 0.8];
        let asked: Vec<bool> =
            doubts.iter().enumerate().map(|(n, d)| queue.offer(question(n as u64, *d), n as u64 * 10 * SECOND_NS)).collect();
        assert_eq!(asked, [true, true, false, true, false, true]);
        assert_eq!(queue.waiting().iter().map(|q| q.window).collect::<Vec<_>>(), [3, 5, 0]);
    }

    #[test]
    fn a_label_answers_the_questions_of_its_span_and_a_window_beside_one_that_waits_is_no_new_question() {
        let mut queue = Queue::new(3600.0, 0.3, 10);
        assert!(queue.offer(question(1, 0.9), 0));
        let beside = Question { window: 2, span_ns: (5 * SECOND_NS / 2, 7 * SECOND_NS / 2), ..question(1, 0.9) };
        assert!(!queue.offer(beside, 10 * SECOND_NS));
        assert!(queue.offer(Question { source: 1, ..beside }, 20 * SECOND_NS));
        queue.answered(0, (2 * SECOND_NS, 3 * SECOND_NS));
        assert_eq!(queue.waiting().iter().map(|q| q.source).collect::<Vec<_>>(), [1]);
        queue.forget_before(3);
        assert!(queue.waiting().is_empty());
    }
}
