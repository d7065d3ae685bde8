//! The model on the screen: where each part stands. 80 columns and 24 rows are what it is made for; 60 and 16 do.

mod heard;
mod over;
mod told;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;
use wheatear::event::Level;

use super::super::lines::clock_time;
use super::look::Look;
use super::model::{Model, Over};

/// Least size.
const COLUMNS: u16 = 60;
const ROWS: u16 = 16;
/// Most rows of microphones.
const METERS: u16 = 4;

/// Draws it.
pub fn draw(model: &Model, look: Look, frame: &mut Frame) {
    let area = frame.area();
    if area.width < COLUMNS || area.height < ROWS {
        let text = format!("{} x {} is too small: {COLUMNS} x {ROWS} or more is needed. Q ends.", area.width, area.height);
        let lines = text.split(' ').fold(vec![String::new()], |mut lines, word| {
            match lines.last_mut() {
                Some(line) if line.is_empty() || line.len() + word.len() < usize::from(area.width) => {
                    *line += if line.is_empty() { "" } else { " " };
                    *line += word;
                }
                _ => lines.push(word.to_owned()),
            }
            lines
        });
        frame.render_widget(ratatui::text::Text::from_iter(lines), area);
        return;
    }
    let meters = (model.heard.len() as u16).clamp(1, if area.height < 20 { 2 } else { METERS });
    let picture = match area.height {
        ..20 => 4,
        20..30 => 6,
        30..45 => 10,
        _ => 14,
    };
    let answer = if area.height < 20 { 1 } else { 2 };
    let rows = [1, meters, picture].map(Constraint::Length);
    let below = [answer, 1, 1, 1].map(Constraint::Length);
    let rows = rows.into_iter().chain([Constraint::Min(1)]).chain(below);
    let [title, meters, picture, told, answer, counts, notice, keys] = Layout::vertical(rows).areas(area);
    draw_title(model, look, frame, title);
    heard::meters(model, look, frame, meters);
    heard::picture_and_guesses(model, look, frame, picture);
    told::told(model, look, frame, told);
    draw_answer(model, look, frame, answer);
    draw_counts(model, look, frame, counts);
    draw_notice(model, look, frame, notice);
    draw_keys(model, look, frame, keys);
    match model.over {
        Some(Over::Help) => over::help(model, look, frame),
        Some(Over::Notices) => over::notices(model, look, frame),
        None => {}
    }
}

fn draw_title(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let served = model.counts.as_ref().map(|c| c.serving).filter(|g| *g > 0);
    let served = served.map_or("no head serves yet".to_owned(), |g| format!("generation {g} serves"));
    let clock = clock_time(&model.now);
    let right = format!(" {served}  {clock} ");
    let columns = usize::from(area.width);
    let parts = ["wheatear".to_owned()].into_iter().chain(model.title.iter().cloned());
    let parts = parts.chain((model.heard.len() > 1).then(|| format!("{} microphones", model.heard.len())));
    let left = format!(" {}", parts.collect::<Vec<_>>().join(look.either(" · ", " - ")));
    let text = look.fit(&left, columns.saturating_sub(right.width())) + &right;
    frame.render_widget(Line::styled(text, Style::new().add_modifier(Modifier::REVERSED)), area);
}

/// What came of the last thing that was asked for, or the label that is being typed.
fn draw_answer(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let columns = usize::from(area.width);
    let Some(entry) = &model.entry else {
        let (text, is_refused) = model.last();
        let style = if is_refused { look.colour(Color::Red) } else { look.colour(Color::Green) };
        let lines = over::wrapped(&look.text(&text), columns, usize::from(area.height), look);
        frame.render_widget(ratatui::text::Text::from_iter(lines).style(style), area);
        return;
    };
    let about = format!("{} ", look.cut(&entry.about, columns / 2));
    let typed = look.end(&entry.text, columns.saturating_sub(about.width() + 1));
    let column = area.x + (about.width() + typed.width()) as u16;
    let line = Line::from_iter([Span::styled(about, Style::new().add_modifier(Modifier::BOLD)), Span::raw(typed)]);
    frame.render_widget(line, area);
    frame.set_cursor_position((column.min(area.right().saturating_sub(1)), area.y));
    if area.height > 1 {
        let fitting = entry.fitting(&model.classes);
        let chosen = entry.completions().and_then(|n| n.checked_rem(fitting.len()));
        let names = fitting.iter().enumerate().map(|(n, c)| if chosen == Some(n) { format!("[{c}]") } else { (*c).clone() });
        let text = look.cut(&names.collect::<Vec<_>>().join("  "), columns);
        frame.render_widget(Line::styled(text, look.faint()), Rect { y: area.y + 1, height: 1, ..area });
    }
}

fn draw_counts(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let Some(c) = &model.counts else {
        frame.render_widget(Line::styled("no window yet", look.faint()), area);
        return;
    };
    let ms = |t: Option<(f64, f64)>| t.map_or("-".to_owned(), |(p50, p99)| format!("{p50:.0} ms (99 %: {p99:.0})"));
    let lost = c.windows_dropped + c.windows_skipped;
    let mut parts = vec![
        format!("{} windows", c.windows),
        format!("lost {lost}"),
        format!("frames lost {}", c.frames_lost),
        format!("event {}", ms(c.event_ms)),
        format!("answer {}", ms(c.answer_ms)),
    ];
    if c.stride > 1 {
        parts.insert(1, format!("one in {} answered", c.stride));
    }
    // The last ones are missed least.
    while parts.join("  ").len() > usize::from(area.width) && parts.len() > 1 {
        parts.pop();
    }
    let style = if lost + c.frames_lost > 0 { look.colour(Color::Yellow) } else { Style::new() };
    frame.render_widget(Line::styled(parts.join("  "), style), area);
}

/// Why a label that is being typed cannot be said, or the newest notice.
fn draw_notice(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let columns = usize::from(area.width);
    if let Some(wrong) = model.entry.as_ref().and_then(|e| e.wrong.as_ref()) {
        frame.render_widget(Line::styled(look.cut(wrong, columns), look.colour(Color::Red)), area);
    } else if let Some(notice) = model.notices.shown(model.now.monotonic_ns) {
        let times = if notice.times > 1 { format!(" ({} times)", notice.times) } else { String::new() };
        let text = look.cut(&format!("{} {}{times}", clock_time(&notice.at), notice.text), columns);
        frame.render_widget(Line::styled(text, level_style(notice.level, look)), area);
    }
}

fn draw_keys(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let columns = usize::from(area.width);
    let keys: &[&str] = match (&model.entry, model.over) {
        (Some(_), _) => &["Enter says it", "Tab completes", "Esc leaves it"],
        (None, Some(_)) => &["any key goes back", "Q quit"],
        (None, None) => &["? help", "Q quit", "y right", "n nothing", "x not it", "t type", "l last 3 s", "q asked", "u undo", "m mic"],
    };
    let is_of_use = |key: &str| match key {
        "m mic" => model.heard.len() > 1,
        "q asked" => model.told.open() > 0,
        _ => true,
    };
    let mut text = String::from(" ");
    for key in keys.iter().filter(|key| is_of_use(key)) {
        // What finds no room is in the help.
        if text.len() + key.len() + 2 <= columns {
            text = format!("{text}{key}  ");
        }
    }
    let text = look.fit(&text, columns);
    frame.render_widget(Line::styled(text, Style::new().add_modifier(Modifier::REVERSED)), area);
}

fn level_style(level: Level, look: Look) -> Style {
    match level {
        Level::Info => look.faint(),
        Level::Warning => look.colour(Color::Yellow),
        Level::Error => look.colour(Color::Red),
    }
}
