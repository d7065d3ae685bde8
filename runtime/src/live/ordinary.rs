//! How often a window that nobody named is learned as background.

/// A rate, and when the next may come.
#[derive(Debug, Clone)]
pub struct Ordinary {
    every_ns: u64,
    next_ns: u64,
}

impl Ordinary {
    /// So many windows an hour; 0 for none.
    pub fn new(per_hour: f64) -> Ordinary {
        let mut ordinary = Ordinary { every_ns: 0, next_ns: 0 };
        ordinary.allow(per_hour);
        ordinary
    }

    /// From the next on, so many an hour.
    pub fn allow(&mut self, per_hour: f64) {
        self.every_ns = if per_hour > 0.0 { (3.6e12 / per_hour) as u64 } else { u64::MAX };
    }

    /// Whether a window that ended then may be learned; if so, the next comes later.
    pub fn is_due(&mut self, end_ns: u64) -> bool {
        let is_due = self.every_ns < u64::MAX && end_ns >= self.next_ns;
        if is_due {
            self.next_ns = end_ns.saturating_add(self.every_ns);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: u64 = 60_000_000_000;

    #[test]
    fn no_more_than_the_rate_and_none_where_none_are_allowed() {
        let mut ordinary = Ordinary::new(6.0);
        let due = |ordinary: &mut Ordinary| (0..60).filter(|minute| ordinary.is_due(minute * MINUTE_NS)).count();
        assert_eq!(due(&mut ordinary), 6);
        assert_eq!(due(&mut Ordinary::new(0.0)), 0);
        // Another rate does not let one come at once.
        ordinary.allow(60.0);
        assert!(!ordinary.is_due(59 * MINUTE_NS) && ordinary.is_due(60 * MINUTE_NS) && ordinary.is_due(61 * MINUTE_NS));
    }
}
