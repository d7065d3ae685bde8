//! The report as text.

use std::fmt::Write;

use crate::figures::Spread;
use crate::memory::Resident;
use crate::report::{Line, ModeReport, Report};

/// The whole report for a terminal.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let load = machine.load.map_or_else(|| "unknown".into(), |l| l.to_string());
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "{}, {} cores, Linux {}, pages of {} bytes, load {load} at the start",
        machine.processor, machine.cores, machine.kernel, machine.page_bytes
    ));
    line(format!("latents of {} x {} bits, {} rows held by each store", report.dim, report.bits, report.replay_rows));
    let place = &report.place;
    if let Some(counted) = &place.counted {
        line(format!("sectors counted on {}; {:.0} bytes/s arrive there while nothing runs", counted.device, counted.idle_bytes_per_s));
    }
    let timed = place.timed.as_ref().map_or_else(|| "no block device".into(), |t| t.device.clone());
    line(format!("times taken in {}, on {timed}", place.folder));
    for warning in &place.warnings {
        line(format!("warning: {warning}"));
    }
    line(String::new());
    line(cells(&report.modes));
    for mode in &report.modes {
        beside(mode, &mut line);
    }
    if let Some(r) = &report.recovery {
        line(format!(
            "open, D={}, {} rows held: {:.1} ms behind a checkpoint, {:.1} ms with {} rows in the journal (a checkpoint comes every {}); {} bytes",
            r.dim, r.replay_rows, r.after_checkpoint_ms, r.before_checkpoint_ms, r.journal_rows, r.checkpoint_every_rows, r.file_bytes
        ));
    }
    if let Some(m) = &report.memory {
        line(format!(
            "idle memory, D={}, {} rows: {} (before opening: {}); {} bytes of files",
            m.dim,
            m.rows,
            resident(m.memory.opened),
            resident(m.memory.before),
            m.file_bytes
        ));
    }
    line(String::new());
    for (name, stores) in &report.stores {
        line(format!("{name}: {stores}"));
    }
    out
}

fn resident(r: Resident) -> String {
    let mib = |kib: u64| kib as f64 / 1024.0;
    format!("{:.1} MiB resident, {:.1} anonymous and {:.1} file-backed", mib(r.rss_kib), mib(r.anonymous_kib), mib(r.file_kib()))
}

const HEAD: [&str; 10] = ["store", "mode", "dev B/row", "/latent B", "median us", "p99 us", "mean us", "x bare", "open ms *", "file bytes"];

fn cells(modes: &[ModeReport]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for mode in modes {
        rows.extend(mode.lines.iter().map(|l| row(mode.mode, l)));
    }
    let widths: Vec<usize> = (0..HEAD.len()).map(|c| rows.iter().map(|r| r[c].len()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if c < 2 { write!(out, "{cell:<width$}  ") } else { write!(out, "{cell:>width$}  ") };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out.push_str("* median to open a copy for writing, files in the page cache: after a kill / after a clean close\n");
    out
}

fn row(mode: &str, line: &Line) -> [String; 10] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    [
        line.store.into(),
        mode.into(),
        or_dash(line.device_bytes_per_row.map(|b| format!("{b:.0}"))),
        or_dash(line.device_bytes_per_latent_byte.map(|b| format!("{b:.2}"))),
        format!("{:.0}", line.commit_median_us),
        format!("{:.0}", line.commit_p99_us),
        format!("{:.0}", line.commit_mean_us),
        or_dash(line.commit_over_bare.map(|s| format!("{:.2}", s.median))),
        or_dash(line.opening.map(|o| format!("{:.1} / {:.1}", o.killed_ms, o.closed_ms))),
        line.file_bytes.to_string(),
    ]
}

fn beside(mode: &ModeReport, line: &mut impl FnMut(String)) {
    let own = mode.lines.iter().find(|l| l.store == "adapter");
    let checkpoints = own.map_or(0, |l| l.checkpoints);
    line(format!(
        "by {} (rows a commit: {}): {} rows counted, {checkpoints} checkpoints among them, {} timed",
        mode.mode, mode.rows_per_commit, mode.counted_rows, mode.timed_rows
    ));
    if let Some(share) = own.and_then(|l| l.others_share).filter(|s| *s > 0.001) {
        line(format!("  others would have written {:.1} % of what was counted for the adapter", 100.0 * share));
    }
    for other in &mode.beside {
        let written = other.times_written.map_or_else(|| "-".into(), |t| format!("{t:.2}"));
        let store = other.store;
        line(format!("  {store} writes {written} times what the adapter writes; the adapter's commit takes {}", ratio(other.commit_ratio)));
    }
    line(format!("  what the sync adds to the adapter's commit takes {} as a bare one", ratio(mode.durability_over_bare)));
    for target in &mode.targets {
        let verdict = match target.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        let reached = target.reached.map_or_else(|| "-".into(), |r| format!("{r:.2}"));
        line(format!("  target, {}: {}, reached {reached}: {verdict}", target.what, target.wanted));
    }
    line(String::new());
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".into(), |s| format!("{:.2} times as long ({:.2} to {:.2} in the rounds)", s.median, s.least, s.most))
}
