//! ADWIN against the definition: every cut of a plain window of single values.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn coins(seed: u64, n: usize, p: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|i| f64::from(u8::from((rng.next_u32() as f64) < p(i) * 4_294_967_296.0))).collect()
}

/// Is there a cut among `cuts` (sizes of the old part) whose parts differ? Written from the paper, without this file's sums.
fn cut_exists(window: &[f64], delta: f64, cuts: impl Iterator<Item = usize>) -> bool {
    let n = window.len() as f64;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let all = mean(window);
    let variance = window.iter().map(|v| (v - all) * (v - all)).sum::<f64>() / n;
    let log = (2.0 / (delta / n.ln())).ln();
    cuts.filter(|cut| *cut >= 5 && window.len() >= cut + 5).any(|cut| {
        let (old, new) = window.split_at(cut);
        let m = 1.0 / (1.0 / old.len() as f64 + 1.0 / new.len() as f64);
        (mean(old) - mean(new)).abs() > (2.0 / m * variance * log).sqrt() + 2.0 / (3.0 * m) * log
    })
}

#[test]
fn it_cuts_where_the_definition_does_and_never_where_no_cut_of_single_values_would() {
    for seed in 0..20 {
        let (mut adwin, mut window) = (Adwin::new(0.05).unwrap(), Vec::new());
        for v in coins(seed, 600, |i| if i % 300 < 150 { 0.8 } else { 0.3 }) {
            window.push(v);
            let mut grown = adwin.clone();
            grown.insert(Bucket { sum: v, squares: v * v });
            let mut at = 0;
            let cuts: Vec<usize> = grown
                .oldest_first()
                .map(|(n, _)| {
                    at += n as usize;
                    at
                })
                .collect();
            let expected = cut_exists(&window, 0.05, cuts.into_iter());
            let change = adwin.push(v);
            assert_eq!(change.is_some(), expected, "seed {seed}, {} values", window.len());
            if let Some(change) = change {
                assert!(cut_exists(&window, 0.05, 1..window.len()));
                let gone = window.len() - change.left as usize;
                let before = window.drain(..gone).sum::<f64>() / gone as f64;
                assert!((before - change.before).abs() < 1e-9);
            }
            assert!((adwin.mean() - window.iter().sum::<f64>() / window.len() as f64).abs() < 1e-9);
        }
    }
}

#[test]
fn a_stationary_stream_rarely_alarms() {
    for (delta, most) in [(0.05, 0.05), (0.002, 0.01)] {
        for p in [0.2, 0.5, 0.9] {
            let alarms = |seed: u64| {
                let mut adwin = Adwin::new(delta).unwrap();
                coins(seed, 1000, |_| p).into_iter().filter(|v| adwin.push(*v).is_some()).count()
            };
            let streams = (0..200).filter(|seed| alarms(*seed) > 0).count();
            println!("delta {delta}, p {p}: {streams} of 200 streams alarm");
            assert!(streams as f64 <= most * 200.0, "delta {delta}, p {p}: {streams} of 200");
        }
    }
}

#[test]
fn a_step_is_told_soon_with_its_way_and_the_bucket_cuts_cost_little() {
    for (from, to, most) in [(0.9, 0.5, 60), (0.5, 0.9, 60), (0.9, 0.7, 200)] {
        let (mut delays, mut exact) = (Vec::new(), Vec::new());
        for seed in 0..50 {
            let values = coins(seed, 1200, |i| if i < 500 { from } else { to });
            let mut adwin = Adwin::new(0.05).unwrap();
            let mut found = None;
            for (i, v) in values.iter().enumerate() {
                if let (Some(change), None, true) = (adwin.push(*v), found, i >= 500) {
                    assert_eq!(change.fell(), to < from);
                    found = Some(i - 500);
                }
            }
            delays.push(found.unwrap());
            let sharp = (500..1200).find(|i| cut_exists(&values[..=*i], 0.05, 1..*i)).unwrap();
            exact.push(sharp - 500);
        }
        delays.sort_unstable();
        exact.sort_unstable();
        println!("{from} to {to}: median delay {} values, cut anywhere {}", delays[25], exact[25]);
        assert!(delays[25] <= most, "{from} to {to}: {}", delays[25]);
    }
}

#[test]
fn memory_stays_within_its_bound_and_state_survives_its_bytes() {
    let mut adwin = Adwin::new(0.01).unwrap();
    for i in 0..2 * WINDOW_MAX {
        adwin.insert(Bucket { sum: (i % 2) as f64, squares: (i % 2) as f64 });
        debug_assert!(adwin.levels.len() <= LEVELS);
    }
    assert!(adwin.width() <= WINDOW_MAX && adwin.levels.iter().all(|l| l.len() <= PER_LEVEL));
    let bytes = postcard::to_stdvec(&adwin).unwrap();
    assert!(bytes.len() < 1400, "{}", bytes.len());
    assert_eq!(postcard::from_bytes::<Adwin>(&bytes).unwrap(), adwin);
}

#[test]
fn bytes_that_no_window_has_are_refused() {
    let mut adwin = Adwin::new(0.01).unwrap();
    adwin.push(1.0);
    adwin.levels[0][0].sum = 2.0;
    assert!(postcard::from_bytes::<Adwin>(&postcard::to_stdvec(&adwin).unwrap()).is_err());
    adwin.levels[0][0].sum = f64::NAN;
    assert!(postcard::from_bytes::<Adwin>(&postcard::to_stdvec(&adwin).unwrap()).is_err());
    adwin.levels[0] = vec![Bucket::default(); PER_LEVEL + 1].into();
    assert!(postcard::from_bytes::<Adwin>(&postcard::to_stdvec(&adwin).unwrap()).is_err());
    for delta in [0.0, 1.0, f64::NAN] {
        assert!(Adwin::new(delta).is_err());
    }
}
