//! What a person should know and what was refused: the newest on a line of the screen for a while, so many to be read through.

use std::collections::VecDeque;

use wheatear::event::Level;
use wheatear::units::Moment;

/// Notices that are kept.
pub const NOTICES: usize = 50;
/// How long one stands on the screen, and one that is only good to know.
const SHOWN_NS: u64 = 30_000_000_000;
const INFO_SHOWN_NS: u64 = 8_000_000_000;

/// One notice.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// When it came.
    pub at: Moment,
    /// How bad it is.
    pub level: Level,
    /// What happened.
    pub text: String,
    /// How often in a row.
    pub times: u32,
}

/// The notices, newest first.
#[derive(Debug, Clone, Default)]
pub struct Notices(VecDeque<Notice>);

impl Notices {
    /// Takes one.
    pub fn push(&mut self, at: Moment, level: Level, text: String) {
        if let Some(same) = self.0.front_mut().filter(|n| n.text == text) {
            (same.at, same.times) = (at, same.times.saturating_add(1));
            return;
        }
        if self.0.len() == NOTICES {
            self.0.pop_back();
        }
        self.0.push_front(Notice { at, level, text, times: 1 });
    }

    /// All of them.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Notice> {
        self.0.iter()
    }

    /// The one that stands on the screen now.
    pub fn shown(&self, now_ns: u64) -> Option<&Notice> {
        let time = |n: &Notice| if n.level == Level::Info { INFO_SHOWN_NS } else { SHOWN_NS };
        self.0.iter().find(|n| now_ns.saturating_sub(n.at.monotonic_ns) < time(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Moment {
        Moment { monotonic_ns: s * 1_000_000_000, ..Moment::UNKNOWN }
    }

    #[test]
    fn a_notice_stands_for_a_while_and_the_same_again_is_counted() {
        let mut notices = Notices::default();
        notices.push(at(0), Level::Warning, "frames were lost".into());
        notices.push(at(5), Level::Warning, "frames were lost".into());
        notices.push(at(6), Level::Info, "hears mic".into());
        let shown = |s: u64| notices.shown(at(s).monotonic_ns).map(|n| (n.text.as_str(), n.times));
        assert_eq!(shown(7), Some(("hears mic", 1)));
        assert_eq!(shown(20), Some(("frames were lost", 2)));
        assert_eq!(shown(35), None);
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let mut notices = Notices::default();
        (0..200).for_each(|n| notices.push(at(n), Level::Info, n.to_string()));
        assert_eq!((notices.all().len(), notices.all().next().unwrap().text.as_str()), (NOTICES, "199"));
    }
}
