//! What goes on in the same way is told once, and then once an hour: kept events are few, and are not to be full of it.

/// Time after which it is told again, in ns.
pub const AGAIN_NS: u64 = 3_600_000_000_000;
/// What has not come for so long is over, in ns: should it come again, it is told.
pub const OVER_NS: u64 = 300_000_000_000;

/// What was told last.
#[derive(Debug, Default)]
pub struct Repeat {
    text: String,
    /// When it was told, and when it came last.
    at_ns: Option<(u64, u64)>,
    untold: u64,
}

impl Repeat {
    /// Whether `text` is to be told at `now_ns`: with how often something came untold since it was told last.
    pub fn tell(&mut self, text: &str, now_ns: u64) -> Option<u64> {
        let within = |since: u64, limit: u64| now_ns.saturating_sub(since) < limit;
        if let Some((told, came)) = &mut self.at_ns
            && self.text == text
            && within(*told, AGAIN_NS)
            && within(*came, OVER_NS)
        {
            *came = now_ns;
            self.untold += 1;
            return None;
        }
        text.clone_into(&mut self.text);
        self.at_ns = Some((now_ns, now_ns));
        Some(std::mem::take(&mut self.untold))
    }

    /// It is over.
    pub fn is_over(&mut self) {
        self.at_ns = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_an_hour_and_anything_else_at_once() {
        let mut repeat = Repeat::default();
        assert_eq!(repeat.tell("unplugged", 5), Some(0));
        assert!((0..20).all(|n| repeat.tell("unplugged", n * AGAIN_NS / 20 + 6).is_none()));
        assert_eq!(repeat.tell("unplugged", AGAIN_NS + 5), Some(20));
        assert_eq!(repeat.tell("no such rate", AGAIN_NS + 6), Some(0));
        assert_eq!(repeat.tell("unplugged", AGAIN_NS + 7), Some(0));
    }

    #[test]
    fn what_was_over_is_told_when_it_comes_again() {
        let mut repeat = Repeat::default();
        assert_eq!((repeat.tell("unplugged", 0), repeat.tell("unplugged", 1)), (Some(0), None));
        repeat.is_over();
        assert_eq!(repeat.tell("unplugged", 2), Some(1));
        assert_eq!((repeat.tell("unplugged", OVER_NS + 1), repeat.tell("unplugged", 2 * OVER_NS + 1)), (None, Some(1)));
    }
}
