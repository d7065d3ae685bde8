//! What a live proof has shown, in figures, beside what must hold.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::live::{CROWDED, PLANNED, STARTED, Sample, Seen, TICKS};

/// Most that resident memory may grow after start-up, in KiB: until many watch, and until they have gone.
const GROWTH_KIB: i64 = 1024;
/// Most resident memory beside the backbone, in KiB.
const BESIDE_KIB: u64 = 60 * 1024;
/// Most processor time beside the backbone, in hundredths of one core.
const BESIDE_PERCENT: f64 = 3.0;
/// Most that the sound heard may differ from the time that passed, in s: what blocks and clocks leave open.
const UNCOUNTED_S: f64 = 0.25;

/// A part of the time.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Which.
    pub name: &'static str,
    /// Processor time beside the backbone's calls, in hundredths of one core.
    pub beside_percent: f64,
    /// That of the backbone's calls.
    pub backbone_percent: f64,
    /// That of each thread; of the one that answers windows without the backbone's calls.
    pub threads_percent: BTreeMap<String, f64>,
    /// From the end of a window until it was told to one who watches, in ms: median and 99 in 100.
    pub window_ms: Option<(f64, f64)>,
    /// Windows that were told.
    pub windows: usize,
}

/// All figures.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How long it was heard, in s.
    pub time_s: f64,
    /// Windows answered, dropped, passed over.
    pub windows: [u64; 3],
    /// Frames that were lost and counted.
    pub lost: u64,
    /// Seconds that passed without being heard, after start-up.
    pub unheard_s: f64,
    /// Resident memory after start-up, before many watch, and when they have gone, in KiB.
    pub rss_kib: [u64; 3],
    /// Of that, memory of no file.
    pub anonymous_kib: [u64; 3],
    /// Before many watch, the least resident memory of the first third after start-up, and of the last: without what a head in the making
    /// holds for a while.
    pub least_kib: [u64; 2],
    /// The most that it ever was.
    pub peak_kib: u64,
    /// The most of the samples after start-up.
    pub largest_kib: u64,
    /// The most of the backbone alone, and what it took once it was loaded.
    pub backbone_kib: [u64; 2],
    /// Before many watch, while they do, afterwards, and all of it after start-up.
    pub phases: Vec<Phase>,
}

impl Report {
    /// Of what was seen.
    pub fn new(seen: &Seen) -> Report {
        let [first, begin, planned, end] = [0, STARTED, PLANNED, TICKS].map(|n| &seen.samples[n as usize]);
        let heard = count(end, "frames") - count(begin, "frames") + count(end, "frames_lost") - count(begin, "frames_lost");
        let phases = [("before", STARTED..CROWDED.start), ("crowd", CROWDED), ("after", CROWDED.end..TICKS), ("all", STARTED..TICKS)];
        Report {
            time_s: seconds(first, end),
            windows: ["windows", "windows_dropped", "windows_skipped"].map(|key| count(end, key) as u64),
            lost: count(end, "frames_lost") as u64,
            unheard_s: seconds(begin, end) - heard as f64 / seen.rate_hz,
            rss_kib: [begin, planned, end].map(|s| s.usage.rss_kib),
            anonymous_kib: [begin, planned, end].map(|s| s.usage.anonymous_kib),
            least_kib: least(seen.samples[STARTED as usize..=PLANNED as usize].iter().map(|s| s.usage.rss_kib)),
            peak_kib: end.usage.peak_kib,
            largest_kib: seen.samples[STARTED as usize..].iter().map(|s| s.usage.rss_kib).max().unwrap_or(0),
            backbone_kib: [seen.alone.peak_kib, seen.alone.rss_kib],
            phases: phases.into_iter().map(|(name, ticks)| phase(seen, name, ticks)).collect(),
        }
    }

    /// What does not hold that must.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                missed.push(what);
            }
        };
        must(self.windows[1] + self.windows[2] == 0, format!("windows dropped {}, passed over {}", self.windows[1], self.windows[2]));
        must(self.unheard_s.abs() < UNCOUNTED_S, format!("{:.2} s of sound are neither heard nor counted as lost", self.unheard_s));
        for (growth, until) in grown(self.rss_kib).into_iter().zip(["many watched", "they had gone"]) {
            must(growth < GROWTH_KIB, format!("resident memory grew by {growth} KiB until {until}, less than {GROWTH_KIB}"));
        }
        // Loading takes the most, of both; what holds all the while is the rest.
        let largest = self.largest_kib.saturating_sub(self.backbone_kib[1]);
        let beside = largest.max(self.peak_kib.saturating_sub(self.backbone_kib[0]));
        must(beside <= BESIDE_KIB, format!("{beside} KiB of memory beside the backbone, at most {BESIDE_KIB}"));
        for phase in &self.phases {
            let percent = phase.beside_percent;
            must(
                percent <= BESIDE_PERCENT,
                format!("{percent:.2} % of a core beside the backbone ({}), at most {BESIDE_PERCENT}", phase.name),
            );
        }
        missed
    }
}

/// Until many watch, and until they have gone.
fn grown(kib: [u64; 3]) -> [i64; 2] {
    let [begin, planned, end] = kib.map(|kib| kib as i64);
    [planned - begin, end - begin]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [windows, dropped, skipped] = self.windows;
        writeln!(f, "  windows {windows}, dropped {dropped}, passed over {skipped}; sound neither heard nor lost {:.3} s", self.unheard_s)?;
        let ([begin, planned, end], of_no_file) = (self.rss_kib, self.anonymous_kib);
        write!(f, "  resident memory {begin} KiB after start-up, {planned} KiB before many watch, {end} KiB when they have gone")?;
        writeln!(f, "; of it of no file {of_no_file:?}")?;
        writeln!(f, "  least of its first third {} KiB, of its last {} KiB", self.least_kib[0], self.least_kib[1])?;
        let beside = self.largest_kib.saturating_sub(self.backbone_kib[1]);
        writeln!(
            f,
            "  most after start-up {} KiB, the backbone alone {} KiB: beside it {beside} KiB",
            self.largest_kib, self.backbone_kib[1]
        )?;
        for Phase { name, beside_percent, backbone_percent, threads_percent, window_ms, windows } in &self.phases {
            let (median, most) = window_ms.unwrap_or_default();
            write!(f, "  {name}: {windows} windows told {median:.1} ms after their end (99 in 100: {most:.1}); ")?;
            write!(f, "beside the backbone {beside_percent:.2} %, in it {backbone_percent:.2} %;")?;
            let mut threads: Vec<_> = threads_percent.iter().filter(|(_, percent)| **percent >= 0.01).collect();
            threads.sort_by(|a, b| b.1.total_cmp(a.1));
            writeln!(f, "{}", threads.iter().map(|(name, percent)| format!(" {name} {percent:.2}")).collect::<Vec<_>>().join(","))?;
        }
        let beside = self.phases.last().map_or(0.0, |p| p.beside_percent);
        let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
        let [growth, of_no_file] = [self.rss_kib, self.anonymous_kib].map(|kib| grown(kib)[0] * 1024 / 1000);
        write!(
            f,
            "soak: {:.0} min, lost samples {}, RSS growth {growth} kB (of no file {of_no_file} kB), peak RSS {:.1} MB (of it the backbone {:.1} MB), \
             CPU beside the backbone {beside:.2} %",
            self.time_s / 60.0,
            self.lost,
            mb(self.peak_kib),
            mb(self.backbone_kib[0]),
        )
    }
}

/// The least of the first third and of the last.
pub(super) fn least(values: impl ExactSizeIterator<Item = u64> + Clone) -> [u64; 2] {
    let third = values.len().div_ceil(3);
    let last = values.clone().skip(values.len() - third);
    [values.take(third).min(), last.min()].map(Option::unwrap_or_default)
}

fn phase(seen: &Seen, name: &'static str, ticks: Range<u32>) -> Phase {
    let (begin, end) = (&seen.samples[ticks.start as usize], &seen.samples[ticks.end as usize]);
    let time_s = seconds(begin, end);
    let percent = |cpu_s: f64| 100.0 * cpu_s / time_s;
    let backbone = backbone_s(end) - backbone_s(begin);
    let mut threads: BTreeMap<String, f64> = BTreeMap::new();
    for (name, cpu_s) in &end.usage.threads {
        let own = cpu_s - begin.usage.threads.get(name).unwrap_or(&0.0) - if name == "inference" { backbone } else { 0.0 };
        threads.insert(name.clone(), percent(own));
    }
    let windows = seen.notes.windows.iter().filter(|(at, _)| (begin.at_ns..end.at_ns).contains(at)).count();
    Phase {
        name,
        beside_percent: percent(end.usage.cpu_s - begin.usage.cpu_s - backbone),
        backbone_percent: percent(backbone),
        threads_percent: threads,
        window_ms: seen.notes.window_ms(begin.at_ns, end.at_ns),
        windows,
    }
}

fn seconds(from: &Sample, to: &Sample) -> f64 {
    (to.at_ns - from.at_ns) as f64 * 1e-9
}

fn count(sample: &Sample, key: &str) -> i64 {
    sample.counts[key].as_i64().unwrap_or(0)
}

fn backbone_s(sample: &Sample) -> f64 {
    sample.counts["backbone_cpu_s"].as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::alone::Alone;
    use crate::soak::live::Spoken;
    use crate::soak::watchers::Notes;
    use crate::usage::Usage;
    use serde_json::json;

    /// A second a tick: `beside` hundredths of a core beside the backbone's 5.
    fn seen(beside: f64, [growth_kib, left_kib]: [u64; 2], unheard_s: f64) -> Seen {
        let sample = |n: u32| {
            let (s, is_end, is_late) = (f64::from(n), n == TICKS, n >= PLANNED);
            let cpu_s = s * (5.0 + beside) / 100.0;
            let threads = [("inference".to_owned(), s * 0.06), ("telling".to_owned(), cpu_s - s * 0.06)].into();
            let rss_kib = 70_000 + if is_late { growth_kib } else { 0 } + if is_end { left_kib } else { 0 };
            let frames = 48_000.0 * (s - if is_end { unheard_s } else { 0.0 });
            Sample {
                at_ns: u64::from(n) * 1_000_000_000,
                usage: Usage { rss_kib, anonymous_kib: rss_kib - 30_000, peak_kib: 110_000, cpu_s, threads },
                counts: json!({"windows": 2 * n, "windows_dropped": 0, "windows_skipped": 0, "frames": frames as u64, "frames_lost": 0,
                    "backbone_cpu_s": s * 0.05}),
            }
        };
        let alone = Alone { rss_kib: 50_000, peak_kib: 100_000, window_ms: 10.0, dim: 512 };
        let notes = Notes { windows: (0..TICKS).map(|n| (u64::from(n) * 1_000_000_000, 40_000_000)).collect(), ..Notes::default() };
        Seen { alone, rate_hz: 48_000.0, samples: (0..=TICKS).map(sample).collect(), notes, crowd: vec![], spoken: Spoken::default() }
    }

    #[test]
    fn what_was_seen_is_told_by_phase_and_the_backbones_share_is_taken_off() {
        let report = Report::new(&seen(2.0, [100, 200], 0.0));
        let [.., all] = &report.phases[..] else { panic!("{report:?}") };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(all.beside_percent, 2.0) && near(all.backbone_percent, 5.0), "{all:?}");
        assert!(near(all.threads_percent["inference"], 1.0) && near(all.threads_percent["telling"], 1.0), "{all:?}");
        assert_eq!((all.windows, all.window_ms), ((TICKS - STARTED) as usize, Some((40.0, 40.0))));
        assert_eq!(report.missed(), Vec::<String>::new());
        assert_eq!(least([9, 5, 7, 3, 2, 8, 6].into_iter()), [5, 2]);
        let text = report.to_string();
        let last = "soak: 4 min, lost samples 0, RSS growth 102 kB (of no file 102 kB), peak RSS 112.6 MB (of it the backbone \
                    102.4 MB), CPU beside the backbone 2.00 %";
        assert_eq!(text.lines().last(), Some(last));
    }

    #[test]
    fn what_does_not_hold_is_said() {
        for (seen, said) in [
            (seen(3.5, [0, 0], 0.0), "3.50 % of a core"),
            (seen(1.0, [1024, 0], 0.0), "grew by 1024 KiB until many watched"),
            (seen(1.0, [512, 512], 0.0), "grew by 1024 KiB until they had gone"),
            (seen(1.0, [0, 0], 0.5), "0.50 s of sound are neither"),
            (seen(1.0, [50_000, 0], 0.0), "70000 KiB of memory beside"),
        ] {
            let missed = Report::new(&seen).missed().join("; ");
            assert!(missed.contains(said), "{said}: {missed}");
        }
    }
}
