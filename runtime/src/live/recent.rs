//! The latents of the newest windows, never their sound, so that a label that comes seconds or minutes later finds them.
//!
//! A fixed number of windows is held; the oldest makes room. A label names windows by number, or by a span of the monotonic clock.

/// What is known of a window beside its latent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Place {
    /// Number, which grows by one with each window of all microphones.
    pub number: u64,
    /// Microphone.
    pub source: u32,
    /// Begin in ns of the monotonic clock.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
    /// First sample at the backbone's rate, since the last gap in the sound.
    pub start_sample: u64,
    /// Stretch of sound without a gap, counted from 1 for each microphone.
    pub stream: u32,
    /// Whether it is too quiet to be learned.
    pub is_silent: bool,
    /// Whether a label has taken it.
    pub is_learned: bool,
    /// Whether something was heard in it, or a person was asked about it or spoke of it.
    pub is_told: bool,
}

/// The newest windows.
pub struct Recent {
    dim: usize,
    places: Vec<Place>,
    latents: Vec<i8>,
    /// Windows that were ever pushed.
    pushed: u64,
}

impl Recent {
    /// Room for `windows` latents \[D\] of D = `dim`, taken now.
    pub fn new(windows: usize, dim: usize) -> Recent {
        let windows = windows.max(1);
        // Not zeros, which the system would give only as they are written: memory would grow until all windows are held.
        Recent { dim, places: vec![Place::default(); windows], latents: vec![1; windows * dim], pushed: 0 }
    }

    /// Takes the next window, in place of the oldest where there is no room. Allocates nothing.
    ///
    /// # Panics
    /// When the latent has another dimension.
    pub fn push(&mut self, place: Place, latent: &[i8]) {
        let slot = (self.pushed % self.places.len() as u64) as usize;
        self.places[slot] = place;
        self.latents[slot * self.dim..][..self.dim].copy_from_slice(latent);
        self.pushed += 1;
    }

    /// The oldest window, which makes room for the next; none while there is room.
    pub fn leaving(&self) -> Option<(&Place, &[i8])> {
        (self.pushed >= self.places.len() as u64).then(|| self.iter().next()).flatten()
    }

    /// The newest window.
    pub fn newest_mut(&mut self) -> Option<&mut Place> {
        let slot = self.pushed.checked_sub(1)? % self.places.len() as u64;
        self.places.get_mut(slot as usize)
    }

    /// The windows that are held, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Place, &[i8])> {
        let capacity = self.places.len() as u64;
        (self.pushed.saturating_sub(capacity)..self.pushed).map(move |n| {
            let slot = (n % capacity) as usize;
            (&self.places[slot], &self.latents[slot * self.dim..][..self.dim])
        })
    }

    /// Notes of the windows with these numbers, which ascend, whether a label has taken them.
    pub fn note(&mut self, numbers: &[u64], is_learned: bool) {
        self.places.iter_mut().filter(|p| numbers.binary_search(&p.number).is_ok()).for_each(|p| {
            (p.is_learned, p.is_told) = (is_learned, true);
        });
    }

    /// Those with numbers from `first` to `last` of microphone `source`.
    pub fn numbered(&self, source: u32, first: u64, last: u64) -> impl Iterator<Item = (&Place, &[i8])> {
        self.iter().filter(move |(p, _)| p.source == source && (first..=last).contains(&p.number))
    }

    /// Those of microphone `source` of which at least half lies in the span.
    pub fn within(&self, source: u32, begin_ns: u64, end_ns: u64) -> impl Iterator<Item = (&Place, &[i8])> {
        let inside = move |p: &Place| p.end_ns.min(end_ns).saturating_sub(p.begin_ns.max(begin_ns));
        self.iter().filter(move |(p, _)| p.source == source && 2 * inside(p) >= p.end_ns - p.begin_ns && inside(p) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64, source: u32) -> Place {
        Place { number, source, begin_ns: number * 500, end_ns: number * 500 + 1000, ..Place::default() }
    }

    fn numbers<'a>(windows: impl Iterator<Item = (&'a Place, &'a [i8])>) -> Vec<u64> {
        windows.map(|(p, latent)| if latent == [p.number as i8; 3] { p.number } else { u64::MAX }).collect()
    }

    #[test]
    fn the_oldest_window_makes_room() {
        let mut recent = Recent::new(4, 3);
        assert_eq!(recent.iter().count(), 0);
        for n in 0..7 {
            recent.push(place(n, 0), &[n as i8; 3]);
            let want: Vec<u64> = (n.saturating_sub(3)..=n).collect();
            assert_eq!(numbers(recent.iter()), want);
            assert_eq!(recent.leaving().map(|w| w.0.number), n.checked_sub(3));
            assert_eq!(recent.newest_mut().map(|p| p.number), Some(n));
        }
    }

    #[test]
    fn a_window_of_which_somebody_spoke_stays_told_when_its_label_is_taken_back() {
        let mut recent = Recent::new(4, 3);
        (0..3).for_each(|n| recent.push(place(n, 0), &[n as i8; 3]));
        recent.note(&[1], true);
        recent.note(&[1], false);
        let told: Vec<_> = recent.iter().map(|(p, _)| (p.is_learned, p.is_told)).collect();
        assert_eq!(told, [(false, false), (false, true), (false, false)]);
    }

    #[test]
    fn windows_are_found_by_number_and_by_span_and_only_those_of_their_microphone() {
        let mut recent = Recent::new(10, 3);
        (0..10).for_each(|n| recent.push(place(n, (n % 5 == 4) as u32), &[n as i8; 3]));
        assert_eq!(numbers(recent.numbered(0, 2, 6)), [2, 3, 5, 6]);
        assert_eq!(numbers(recent.numbered(1, 2, 6)), [4]);
        // Windows of 1000 ns every 500 ns: the span 1000 to 2000 has half of those that begin at 500 and at 1500.
        assert_eq!(numbers(recent.within(0, 1000, 2000)), [1, 2, 3]);
        assert_eq!(numbers(recent.within(0, 1001, 1999)), [2]);
        assert_eq!(numbers(recent.within(0, 9_000_000, 9_000_001)), [0u64; 0]);
    }
}
