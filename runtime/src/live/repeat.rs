//! What goes on in the same way is told once, and then once an hour: kept events are few, and are not to be full of it.

/// Time after which it is told again, in ns.
pub const AGAIN_NS: u64 = 3_600_000_000_000;

/// What was told last.
#[derive(Debug, Default)]
pub struct Repeat {
    text: String,
    told_ns: Option<u64>,
    untold: u64,
}

impl Repeat {
    /// Whether `text` is to be told at `now_ns`: with how often it came untold since it was told last.
    pub fn tell(&mut self, text: &str, now_ns: u64) -> Option<u64> {
        let is_known = self.text == text && self.told_ns.is_some_and(|told| now_ns.saturating_sub(told) < AGAIN_NS);
        if is_known {
            self.untold += 1;
            return None;
        }
        text.clone_into(&mut self.text);
        self.told_ns = Some(now_ns);
        Some(std::mem::take(&mut self.untold))
    }

    /// It is over: should it come again, it is told.
    pub fn is_over(&mut self) {
        (self.told_ns, self.untold) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_an_hour_and_anything_else_at_once() {
        let mut repeat = Repeat::default();
        assert_eq!(repeat.tell("unplugged", 5), Some(0));
        assert!((0..9).all(|n| repeat.tell("unplugged", n * AGAIN_NS / 10).is_none()));
        assert_eq!(repeat.tell("unplugged", AGAIN_NS + 5), Some(9));
        assert_eq!(repeat.tell("no such rate", AGAIN_NS + 6), Some(0));
        assert_eq!(repeat.tell("unplugged", AGAIN_NS + 7), Some(0));
        repeat.is_over();
        assert_eq!(repeat.tell("unplugged", AGAIN_NS + 8), Some(0));
    }
}
