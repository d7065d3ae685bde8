//! How loud the microphones are, and of one of them the picture of its sound and what it may be.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::look::Look;
use super::super::model::{Heard, Model};
use super::super::sound::Sound;

/// What is quieter leaves the meter empty, in dB.
const METER_DB: f32 = -60.0;
/// From here on it is loud, in dB.
const LOUD_DB: f32 = -6.0;

/// A row for each microphone, as far as there is room.
pub fn meters(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let rows = usize::from(area.height);
    let first = (model.microphone + 1).saturating_sub(rows);
    for (row, (n, heard)) in model.heard.iter().enumerate().skip(first).take(rows).enumerate() {
        let area = Rect { y: area.y + row as u16, height: 1, ..area };
        let is_shown = model.heard.len() > 1 && n == model.microphone;
        frame.render_widget(meter(heard, (n, is_shown), model.now.monotonic_ns, usize::from(area.width), look), area);
    }
}

fn meter(heard: &Heard, (n, is_shown): (usize, bool), now_ns: u64, columns: usize, look: Look) -> Line<'static> {
    let name = format!("{}{} {}", if is_shown { ">" } else { " " }, n + 1, heard.name);
    let name = look.fit(&name, (columns / 4).min(30));
    let Some(level) = heard.sound.level(now_ns) else {
        return Line::from_iter([Span::raw(name), Span::styled("  no sound", look.colour(Color::Red))]);
    };
    let mark = if level.is_clipped { " CLIP" } else { "     " };
    let number = format!(" {:6.1} dB ", level.peak_db);
    let length = columns.saturating_sub((columns / 4).min(30) + number.len() + mark.len() + 2);
    let share = |db: f32| ((db - METER_DB) / -METER_DB).clamp(0.0, 1.0);
    let held = ((share(level.held_db) * length as f32) as usize).min(length.saturating_sub(1));
    let bar: Vec<char> = look.bar(share(level.peak_db), length).chars().collect();
    let part = |from: usize, to: usize| bar.get(from..to).map_or(String::new(), |c| c.iter().collect());
    let colour = look.colour(if level.peak_db >= LOUD_DB { Color::Yellow } else { Color::Green });
    let hold = if bar.get(held) == Some(&' ') { look.either("│", "|").to_owned() } else { part(held, held + 1) };
    Line::from_iter([
        Span::raw(name),
        Span::raw(number),
        Span::styled(look.either("▕", "["), look.faint()),
        Span::styled(part(0, held), colour),
        Span::styled(hold, colour),
        Span::styled(part(held + 1, length), colour),
        Span::styled(look.either("▏", "]"), look.faint()),
        Span::styled(mark, look.colour(Color::Red).add_modifier(Modifier::BOLD)),
    ])
}

/// The picture on the left, the guesses on the right.
pub fn picture_and_guesses(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let Some(heard) = model.heard.get(model.microphone) else { return };
    let right = (area.width * 2 / 5).clamp(26, 60);
    let [picture, _, guesses] = Layout::horizontal([Constraint::Min(1), Constraint::Length(1), Constraint::Length(right)]).areas(area);
    draw_picture(&heard.sound, look, frame, picture);
    draw_guesses(heard, look, frame, guesses);
}

fn draw_picture(sound: &Sound, look: Look, frame: &mut Frame, area: Rect) {
    let rows = usize::from(area.height);
    let buffer = frame.buffer_mut();
    for row in 0..area.height {
        for column in 0..area.width {
            let back = usize::from(area.width - 1 - column);
            let shade = sound.shade(back, rows - 1 - usize::from(row), rows);
            if let Some(cell) = buffer.cell_mut((area.x + column, area.y + row)) {
                cell.set_symbol(look.shade(shade)).set_style(look.heat(shade));
            }
        }
    }
}

fn draw_guesses(heard: &Heard, look: Look, frame: &mut Frame, area: Rect) {
    let (rows, columns) = (usize::from(area.height), usize::from(area.width));
    let Some(guesses) = &heard.guesses else {
        frame.render_widget(Line::styled("no window yet", look.faint()), area);
        return;
    };
    let mut lines: Vec<(String, Option<f32>, Style)> = Vec::new();
    if guesses.is_silent {
        lines.push(("silence".into(), None, look.faint()));
    } else if guesses.classes.is_empty() && guesses.unknown.is_none() {
        lines.push(("no class is known yet".into(), None, look.faint()));
    } else {
        let classes = guesses.classes.iter().take(rows.saturating_sub(usize::from(guesses.unknown.is_some())));
        lines.extend(classes.map(|(class, p)| (class.clone(), Some(*p), look.colour(Color::Cyan))));
        lines.extend(guesses.unknown.map(|u| ("unknown".into(), Some(u), look.colour(Color::Magenta))));
    }
    for (row, (name, p, style)) in lines.into_iter().take(rows).enumerate() {
        let area = Rect { y: area.y + row as u16, height: 1, ..area };
        let Some(p) = p else {
            frame.render_widget(Line::styled(look.cut(&name, columns), style), area);
            continue;
        };
        let percent = format!(" {:3.0} %", 100.0 * p);
        let named = columns.saturating_sub(percent.len()) * 3 / 5;
        let bar = look.bar(p, columns.saturating_sub(percent.len() + named + 1));
        let line = [Span::raw(look.fit(&name, named)), Span::raw(" "), Span::styled(bar, style), Span::raw(percent)];
        frame.render_widget(Line::from_iter(line), area);
    }
}
