//! The pictures of an evaluation, as SVG: accuracy curves, task matrices and confusion matrices.
//!
//! Ink and grid have two colours of their own, which a style sheet maps to light and dark themes where it is heeded ([`STYLE`]); the data's colours
//! are readable on both.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wheatear::{Error, ErrorKind, Result};

use super::metrics::{Matrix, mean, spread};
use super::results::Results;

const INK: RGBColor = RGBColor(28, 33, 40);
const GRID: RGBColor = RGBColor(213, 217, 224);
const OFFLINE: RGBColor = RGBColor(134, 138, 148);

/// Maps ink and grid to a theme; the variables are set by [`THEME`].
pub const STYLE: &str = r##"svg text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
[fill="#1C2128"]{fill:var(--ink)}[stroke="#1C2128"]{stroke:var(--ink)}
[fill="#D5D9E0"]{fill:var(--grid)}[stroke="#D5D9E0"]{stroke:var(--grid)}"##;

/// Light theme, and dark where the reader prefers it.
pub const THEME: &str = ":root{--ink:#1c2128;--grid:#d5d9e0;--paper:#ffffff}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--grid:#3d434e;--paper:#14171c}}";

fn colour(head: &str) -> RGBColor {
    match head {
        "naive" => RGBColor(222, 96, 32),
        "ncm" => RGBColor(24, 160, 112),
        "slda" => RGBColor(44, 132, 219),
        "softmax" => RGBColor(196, 156, 20),
        _ => RGBColor(178, 108, 200),
    }
}

/// A picture that stands alone: with its background, and literal colours for a dark theme, since not every viewer knows
/// style variables.
pub fn standalone(svg: &str) -> String {
    let style = r##"@media(prefers-color-scheme:dark){.paper{fill:#14171c}[fill="#1C2128"]{fill:#e4e7ec}
[stroke="#1C2128"]{stroke:#e4e7ec}[fill="#D5D9E0"]{fill:#3d434e}[stroke="#D5D9E0"]{stroke:#3d434e}}"##;
    let inside = format!("<style>{style}</style><rect class=\"paper\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
    match svg.find("<svg").and_then(|start| svg[start..].find('>').map(|end| start + end + 1)) {
        Some(at) => format!("{}\n{inside}{}", &svg[..at], &svg[at..]),
        None => svg.to_owned(),
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(width: u32, height: u32, paint: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    let painted = paint(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    painted.map_err(|e| Error::new(ErrorKind::Input, "the picture cannot be drawn").found(e.to_string()))?;
    Ok(svg)
}

fn label(size: u32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    // plotters writes the size divided by 1.24.
    TextStyle { font: ("sans-serif", f64::from(size) * 1.24).into_font(), color: colour.to_backend_color(), pos: Pos::new(h, v) }
}

/// Accuracy over classes learned, one line a head with the spread over the runs as a band, and offline training.
///
/// # Errors
/// `Input` when the picture cannot be drawn.
pub fn curves(results: &Results) -> Result<String> {
    let (width, height) = (760, 440);
    let (left, right, top, bottom) = (64, width - 150, 64, height - 56);
    let per_task = results.settings.classes_per_task as usize;
    let tasks = results.heads.iter().flat_map(|(_, runs)| runs.iter().map(|o| o.curve.len())).max().unwrap_or(1);
    let learned = |t: usize| ((t + 1) * per_task).min(results.classes.len());
    let x = |t: usize| left + if tasks > 1 { (right - left) * t as i32 / (tasks as i32 - 1) } else { (right - left) / 2 };
    let y = |a: f64| bottom - (f64::from(bottom - top) * a.clamp(0.0, 1.0)).round() as i32;
    draw(width as u32, height as u32, |area| {
        area.draw(&Text::new(
            format!("Accuracy while classes keep arriving: {}", results.data),
            (left, 16),
            label(16, INK, HPos::Left, VPos::Top),
        ))?;
        for step in 0..=5 {
            let a = f64::from(step) / 5.0;
            area.draw(&PathElement::new([(left, y(a)), (right, y(a))], GRID.stroke_width(1)))?;
            area.draw(&Text::new(format!("{} %", step * 20), (left - 8, y(a)), label(13, INK, HPos::Right, VPos::Center)))?;
        }
        // As many tick labels as fit.
        let every = tasks.div_ceil(12).max(1);
        for t in (0..tasks).filter(|t| t % every == 0 || t + 1 == tasks) {
            area.draw(&PathElement::new([(x(t), bottom), (x(t), bottom + 5)], INK.stroke_width(1)))?;
            area.draw(&Text::new(learned(t).to_string(), (x(t), bottom + 10), label(13, INK, HPos::Center, VPos::Top)))?;
        }
        let middle = (left + right) / 2;
        area.draw(&Text::new("classes learned so far", (middle, height - 24), label(13, INK, HPos::Center, VPos::Top)))?;
        area.draw(&Text::new(
            format!("mean per-class accuracy on all classes learned so far; band: ± 1 sd over {} runs", results.settings.runs),
            (left, 36),
            label(12, INK, HPos::Left, VPos::Top),
        ))?;

        let offline = spread(&results.offline);
        let mut ends = vec![(y(offline.mean), format!("offline {:.1} %", 100.0 * offline.mean), OFFLINE)];
        let dashes = (right - left) / 12;
        for i in 0..dashes {
            area.draw(&PathElement::new(
                [(left + 12 * i, y(offline.mean)), (left + 12 * i + 7, y(offline.mean))],
                OFFLINE.stroke_width(2),
            ))?;
        }
        for (candidate, runs) in &results.heads {
            let colour = colour(candidate.name());
            let points: Vec<(usize, f64, f64)> = (0..tasks)
                .filter_map(|t| {
                    let values: Vec<f64> = runs.iter().filter_map(|o| o.curve.get(t).copied()).filter(|v| v.is_finite()).collect();
                    (!values.is_empty()).then(|| spread(&values)).map(|s| (t, s.mean, s.std))
                })
                .collect();
            let mut band: Vec<(i32, i32)> = points.iter().map(|(t, m, s)| (x(*t), y(m + s))).collect();
            band.extend(points.iter().rev().map(|(t, m, s)| (x(*t), y(m - s))));
            area.draw(&Polygon::new(band, colour.mix(0.13).filled()))?;
            area.draw(&PathElement::new(points.iter().map(|(t, m, _)| (x(*t), y(*m))).collect::<Vec<_>>(), colour.stroke_width(3)))?;
            for (t, m, _) in &points {
                area.draw(&Circle::new((x(*t), y(*m)), 3, colour.filled()))?;
            }
            if let Some((_, m, _)) = points.last() {
                ends.push((y(*m), format!("{} {:.1} %", candidate.name(), 100.0 * m), colour));
            }
        }
        // Names at the ends of the lines, pushed apart so that none covers another.
        ends.sort_by_key(|e| e.0);
        let gap = 18;
        for i in 1..ends.len() {
            ends[i].0 = ends[i].0.max(ends[i - 1].0 + gap);
        }
        let over = ends.last().map_or(0, |e| (e.0 - bottom).max(0));
        ends.iter_mut().for_each(|e| e.0 -= over);
        for i in (1..ends.len()).rev() {
            ends[i - 1].0 = ends[i - 1].0.min(ends[i].0 - gap);
        }
        for (at, text, colour) in ends {
            area.draw(&Text::new(text, (right + 14, at), label(14, colour, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    })
}

/// Accuracy on each task (columns) after each task (rows), averaged over the runs.
///
/// # Errors
/// `Input` when the picture cannot be drawn.
pub fn task_matrix(matrices: &[&Matrix]) -> Result<String> {
    let tasks = matrices.iter().map(|m| m.len()).max().unwrap_or(0);
    let names: Vec<String> = (1..=tasks).map(|t| t.to_string()).collect();
    let cell = |t: usize, j: usize| mean(matrices.iter().filter_map(|m| *m.get(t)?.get(j)?));
    heat_map(&names, "accuracy on task", "after task", &cell)
}

/// Share of the test rows of each class (rows) that were given each class (columns).
///
/// # Errors
/// `Input` when the picture cannot be drawn.
pub fn confusion_matrix(classes: &[String], counts: &[Vec<u32>]) -> Result<String> {
    let cell = |t: usize, j: usize| {
        let total: u32 = counts[t].iter().sum();
        (total > 0).then(|| f64::from(counts[t][j]) / f64::from(total))
    };
    heat_map(classes, "predicted", "true class", &cell)
}

fn heat_map(names: &[String], across: &str, down: &str, cell: &dyn Fn(usize, usize) -> Option<f64>) -> Result<String> {
    let shown: Vec<String> = names.iter().map(|n| shorten(n, 20)).collect();
    let longest = shown.iter().map(|n| n.chars().count()).max().unwrap_or(1) as i32;
    let side = (420 / names.len().max(1) as i32).clamp(22, 48);
    let room = 14 + 7 * longest;
    let (left, top) = (room + 24, 34);
    let size = side * names.len() as i32;
    let turned = longest > 3;
    let below = if turned { room } else { 24 };
    let (width, height) = (left + size + 10, top + size + below + 6);
    draw(width.max(300) as u32, height as u32, |area| {
        area.draw(&Text::new(format!("{down} (down), {across} (across), in %"), (4, 10), label(13, INK, HPos::Left, VPos::Top)))?;
        for (t, name) in shown.iter().enumerate() {
            let at = side * t as i32 + side / 2;
            area.draw(&Text::new(name.clone(), (left - 8, top + at), label(12, INK, HPos::Right, VPos::Center)))?;
            let style = label(12, INK, if turned { HPos::Right } else { HPos::Center }, if turned { VPos::Center } else { VPos::Top });
            let style = if turned { style.transform(FontTransform::Rotate270) } else { style };
            area.draw(&Text::new(name.clone(), (left + at, top + size + 8), style))?;
        }
        for t in 0..names.len() {
            for j in 0..names.len() {
                let Some(v) = cell(t, j) else { continue };
                let (x, y) = (left + side * j as i32, top + side * t as i32);
                area.draw(&Rectangle::new([(x, y), (x + side - 1, y + side - 1)], shade(v).filled()))?;
                let percent = (100.0 * v).round();
                if percent >= 1.0 {
                    let ink = if v > 0.45 { RGBColor(255, 255, 255) } else { RGBColor(20, 30, 45) };
                    let style = label(if side < 28 { 10 } else { 12 }, ink, HPos::Center, VPos::Center);
                    area.draw(&Text::new(format!("{percent}"), (x + side / 2, y + side / 2), style))?;
                }
            }
        }
        Ok(())
    })
}

/// Pale to deep blue.
fn shade(v: f64) -> RGBColor {
    let mix = |a: f64, b: f64| (a + (b - a) * v.clamp(0.0, 1.0)).round() as u8;
    RGBColor(mix(232.0, 10.0), mix(240.0, 62.0), mix(250.0, 130.0))
}

fn shorten(name: &str, limit: usize) -> String {
    match name.chars().count() <= limit {
        true => name.to_owned(),
        false => name.chars().take(limit - 1).chain(['…']).collect(),
    }
}
