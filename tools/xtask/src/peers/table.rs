//! The figures of one set as a table, with ratios to the head that the others are compared with.

use super::programs::{Figures, base};
use std::fmt::Write;

/// Accuracy with its difference in points, speed with how many times faster ours is, memory as a multiple of ours.
pub fn table(all: &[Figures]) -> String {
    let ours = base().name();
    let base = all.iter().find(|f| f.peer == ours);
    let mut out = format!("points, faster (by rows/cpu-s) and memory are against {ours}\n\n");
    let heads = ["accuracy", "points", "rows/s", "rows/cpu-s", "faster", "peak MiB", "memory"];
    let [accuracy, points, rows, rows_cpu, faster, mib, memory] = heads;
    let _ = writeln!(out, "{:<19} {accuracy:>15} {points:>8} {rows:>9} {rows_cpu:>10} {faster:>9} {mib:>9} {memory:>9}", "program");
    for f in all {
        let _ = write!(out, "{:<19} {:>6.3} +- {:.3} ", f.peer, f.accuracy, f.accuracy_std);
        let mib = f.peak_rss_bytes as f64 / f64::from(1 << 20);
        let ratios = base.filter(|b| b.peer != f.peer).map(|b| {
            let points = format!("{:+.1}", 100.0 * (f.accuracy - b.accuracy));
            (points, times(b.rows_per_cpu_s / f.rows_per_cpu_s), times(f.peak_rss_bytes as f64 / b.peak_rss_bytes as f64))
        });
        let (points, faster, memory) = ratios.unwrap_or_default();
        let _ = writeln!(out, " {points:>8} {:>9.0} {:>10.0} {faster:>9} {mib:>9.1} {memory:>9}", f.rows_per_s, f.rows_per_cpu_s);
    }
    for f in all {
        let _ = write!(out, "\n{}: {}; {:.0} rows/cpu-s without heads", f.peer, f.note, f.update_rows_per_cpu_s);
        if let Some(predicted) = f.predict_rows_per_cpu_s {
            let _ = write!(out, ", {predicted:.0} predictions/cpu-s");
        }
    }
    out.push('\n');
    out
}

/// A ratio with two or three figures.
fn times(ratio: f64) -> String {
    match ratio {
        r if r >= 10.0 => format!("x {r:.0}"),
        r if r >= 1.0 => format!("x {r:.1}"),
        r => format!("x {r:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_our_head_in_the_direction_that_the_heading_says() {
        let figures = |peer: &str, accuracy, rows_per_cpu_s, peak_rss_bytes| Figures {
            peer: peer.into(),
            data: "d".into(),
            accuracy,
            rows_per_s: 1.0,
            rows_per_cpu_s,
            peak_rss_bytes,
            accuracy_std: 0.01,
            runs: vec![accuracy],
            ..Figures::default()
        };
        let table = table(&[figures("wheatear-slda", 0.9, 2000.0, 10 << 20), figures("other", 0.85, 100.0, 25 << 20)]);
        assert!(
            table.contains("other                0.850 +- 0.010      -5.0         1        100      x 20      25.0     x 2.5\n"),
            "{table}"
        );
        assert!(
            table.contains("wheatear-slda        0.900 +- 0.010                   1       2000                10.0          \n"),
            "{table}"
        );
    }
}
