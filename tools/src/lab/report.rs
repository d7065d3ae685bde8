//! The report: one self-contained page with pictures, table and settings. It loads nothing.

use std::fmt::Write;

use wheatear::Result;

use super::latents::Width;
use super::metrics::{Difference, spread};
use super::plot;
use super::results::Results;

const PAGE_STYLE: &str = "body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
figure{margin:1rem 0;overflow-x:auto}figure.wide svg{width:100%;min-width:36rem}svg{height:auto}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.3rem .7rem;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--grid)}th:first-child,td:first-child{text-align:left}summary{cursor:pointer;font-weight:600;
margin:.6rem 0}.small{font-size:.88rem}dt{font-weight:600}dd{margin:0 0 .5rem 1rem}";

/// The page as HTML.
///
/// # Errors
/// `Input` when a picture cannot be drawn.
pub fn page(results: &Results) -> Result<String> {
    let title = format!("Learning {} one task at a time", escape(&results.data));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\n<style>{}\n{}\n{PAGE_STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        plot::THEME,
        plot::STYLE
    );
    let s = &results.settings;
    let _ = writeln!(
        out,
        "<p>{} labelled windows of {} classes arrive once, {} new classes a task, {} rows at a time; after every task all classes \
         learned so far are tested on recordings that were never learned. {} runs with other folds and another order of classes.</p>",
        results.rows,
        results.classes.len(),
        s.classes_per_task,
        s.chunk_rows,
        s.runs
    );
    let _ = writeln!(out, "<figure class=\"wide\">{}</figure>", plot::curves(results)?);
    results_table(&mut out, results);
    differences_table(&mut out, results);
    out.push_str("<h2>What each head knows of each task</h2>\n");
    for (candidate, runs) in &results.heads {
        let matrices: Vec<_> = runs.iter().map(|o| &o.matrix).collect();
        let _ = writeln!(
            out,
            "<details open><summary>{}</summary><figure>{}</figure></details>",
            candidate.name(),
            plot::task_matrix(&matrices)?
        );
    }
    out.push_str("<h2>What is taken for what</h2>\n<p class=\"small\">After the whole stream, all runs together.</p>\n");
    let best = results.summaries().iter().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean)).map(|b| b.head);
    for (candidate, runs) in &results.heads {
        let n = results.classes.len();
        let mut total = vec![vec![0u32; n]; n];
        for o in runs {
            total.iter_mut().zip(&o.confusion).for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, b)| *a += b));
        }
        let open = if best == Some(candidate.name()) { " open" } else { "" };
        let figure = plot::confusion_matrix(&results.classes, &total)?;
        let _ = writeln!(out, "<details{open}><summary>{}</summary><figure>{figure}</figure></details>", candidate.name());
    }
    settings(&mut out, results);
    out.push_str("</body></html>\n");
    Ok(out)
}

fn results_table(out: &mut String, results: &Results) {
    out.push_str(
        "<h2>Results</h2>\n<div class=\"scroll\"><table><tr><th>head</th><th>accuracy</th><th>minus offline [95 %]</th>\
         <th>average incremental</th><th>forgetting</th><th>forgetting (max)</th><th>backward transfer</th><th>ECE</th><th>rows/s</th></tr>\n",
    );
    for h in results.summaries() {
        let offline = h.differences.first().map(interval).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{:.3} ± {:.3}</td><td>{offline}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:+.3}</td><td>{:.3}</td><td>{:.0}</td></tr>",
            h.head,
            h.accuracy.mean,
            h.accuracy.std,
            h.average_incremental,
            h.forgetting,
            h.forgetting_max,
            h.backward_transfer,
            h.ece,
            h.rows_per_s
        );
    }
    let offline = spread(&results.offline);
    let _ = writeln!(
        out,
        "<tr><td>offline</td><td>{:.3} ± {:.3}</td><td></td><td></td><td></td><td></td><td></td><td></td><td></td></tr></table></div>",
        offline.mean, offline.std
    );
    out.push_str(
        "<dl class=\"small\"><dt>accuracy</dt><dd>mean of the per-class accuracies after the whole stream; mean ± standard deviation over \
         the runs</dd><dt>offline</dt><dd>multinomial logistic regression trained on all rows at once, unquantised; its C by inner grouped \
         cross-validation</dd><dt>forgetting</dt><dd>the same head trained on the same rows mixed, minus after the stream, mean over tasks: \
         what the order of arrival cost</dd><dt>forgetting (max)</dt><dd>best earlier accuracy on a task minus the final one (Chaudhry 2018); \
         it also grows because more classes are harder to tell apart</dd><dt>backward transfer</dt><dd>final accuracy on a task minus the \
         accuracy right after it (Lopez-Paz &amp; Ranzato 2017)</dd><dt>ECE</dt><dd>expected calibration error after the stream, 15 ranges (Guo 2017)</dd><dt>rows/s</dt><dd>rows learned a second, with one solve a task</dd></dl>\n",
    );
}

fn differences_table(out: &mut String, results: &Results) {
    let summaries = results.summaries();
    out.push_str("<h2>Paired differences</h2>\n<div class=\"scroll\"><table><tr><th>row minus column</th>");
    let columns: Vec<&str> = std::iter::once("offline").chain(summaries.iter().map(|h| h.head)).collect();
    columns.iter().for_each(|c| {
        let _ = write!(out, "<th>{c}</th>");
    });
    out.push_str("</tr>\n");
    for h in &summaries {
        let _ = write!(out, "<tr><td>{}</td>", h.head);
        for c in &columns {
            let text = h.differences.iter().find(|d| d.minus == *c).map(interval).unwrap_or_default();
            let _ = write!(out, "<td>{text}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str(
        "</table></div><p class=\"small\">Mean paired difference in accuracy with a 95 % interval: corrected resampled t \
         (Nadeau &amp; Bengio 2003), because the runs share rows. It is approximate, and says nothing about other sounds.</p>\n",
    );
}

fn settings(out: &mut String, results: &Results) {
    let s = &results.settings;
    let mut rows = vec![
        ("command", s.command.clone()),
        ("embeddings", format!("{} rows, D = {}, scaled to length √D", results.rows, results.dim)),
        (
            "latents",
            match s.latent_bits {
                Width::Bits(bits) => format!("{bits} bits, scales from {}", s.scale_source),
                Width::F32 => s.latent_bits.describe(),
            },
        ),
        ("classes a task", s.classes_per_task.to_string()),
        ("rows a chunk", s.chunk_rows.to_string()),
        ("runs", s.runs.to_string()),
        ("slda", format!("shrinkage {}", wheatear::head::slda::SHRINKAGE)),
        ("ridge", format!("lambda {} of the mean diagonal, class-balanced targets", wheatear::head::ridge::LAMBDA)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if let Some(r) = s.replay {
        let text = format!("replay of {} rows a class, {} bits; one row in {} judges (0: none)", r.per_class, r.bits, r.held_out_every);
        rows.push(("softmax", text));
    }
    let tried: Vec<String> = s.naive_rates.iter().map(|(rate, a)| format!("{rate}: {a:.3}")).collect();
    match tried.len() {
        0 => {}
        1 => rows.push(("naive", format!("learning rate and accuracy {}", tried[0]))),
        _ => rows.push(("naive", format!(
                "the best of these learning rates, judged on the test rows: {} (at smaller ones it keeps the means of each class's first chunk and \
                 hardly learns)",
                tried.join(", ")
            ))),
    }
    out.push_str("<h2>Settings</h2>\n<div class=\"scroll\"><table>\n");
    for (key, value) in rows {
        let _ = writeln!(out, "<tr><td>{key}</td><td style=\"text-align:left;white-space:normal\">{}</td></tr>", escape(&value));
    }
    out.push_str("</table></div>\n");
}

fn interval(d: &Difference) -> String {
    match d.low.is_finite() {
        true => format!("{:+.3} [{:+.3}, {:+.3}]", d.mean, d.low, d.high),
        false => format!("{:+.3}", d.mean),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
