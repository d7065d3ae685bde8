//! What lies over the screen until a key is pressed: the keys, and the notices in full.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Clear};
use unicode_width::UnicodeWidthStr;

use super::super::super::lines::clock_time;
use super::super::look::Look;
use super::super::model::Model;
use super::super::sound::Sound;

/// The keys.
const KEYS: [(&str, &str); 11] = [
    ("up, down", "mark another line; Home: the mark follows the newest again"),
    ("y", "the marked line is right"),
    ("x", "it is not that class"),
    ("n", "it was nothing: no class (!*)"),
    ("t", "type what it was: wren  wren;robin  !jay  !*  (Tab completes)"),
    ("q, 1-3", "mark the next question; answer it by its number"),
    ("l, space", "label the last 3 s; L: the last 10 s, until the key was pressed"),
    ("u", "take the last label back"),
    ("m", "the next microphone"),
    ("N", "the notices"),
    ("Q, ctrl-c", "quit; what was learned is kept"),
];

/// The keys.
pub fn help(model: &Model, look: Look, frame: &mut Frame) {
    let area = over(frame, "keys", look);
    let name = |key: &str| format!("{key:<10}");
    let mut lines: Vec<Line> = Vec::new();
    for (key, what) in KEYS {
        lines.push(Line::raw(look.cut(&format!("{}{what}", name(key)), usize::from(area.width))));
    }
    let seconds = f64::from(Sound::cell_ms()) / 1000.0;
    let about = format!("The picture shows {seconds} s a column, low sounds below; {} classes are known.", model.classes.len());
    lines.push(Line::styled(look.cut(&about, usize::from(area.width)), look.faint()));
    frame.render_widget(Text::from(lines), area);
}

/// The notices, as far as there is room.
pub fn notices(model: &Model, look: Look, frame: &mut Frame) {
    let area = over(frame, "notices", look);
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let mut lines: Vec<Line> = Vec::new();
    let (last, is_refused) = model.last();
    if is_refused {
        lines.extend(
            wrapped(&look.text(&last), columns, rows, look)
                .into_iter()
                .map(|l| Line::styled(l, super::level_style(wheatear::event::Level::Error, look))),
        );
    }
    for notice in model.notices.all() {
        let times = if notice.times > 1 { format!(" ({} times)", notice.times) } else { String::new() };
        let text = look.text(&format!("{} {}{times}", clock_time(&notice.at), notice.text));
        let style = super::level_style(notice.level, look);
        lines.extend(wrapped(&text, columns, rows, look).into_iter().map(|line| Line::styled(line, style)));
    }
    if lines.is_empty() {
        lines.push(Line::raw("there are none"));
    }
    lines.truncate(rows);
    frame.render_widget(Text::from(lines), area);
}

/// A frame over all but the first and the last row, cleared.
fn over(frame: &mut Frame, title: &str, look: Look) -> Rect {
    let all = frame.area();
    let area = Rect { y: all.y + 1, height: all.height.saturating_sub(2), ..all };
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(format!(" {title} ")).title_style(Style::new().add_modifier(Modifier::BOLD));
    let block = if look.is_utf8 { block } else { block.border_set(ASCII) };
    let inside = block.inner(area);
    frame.render_widget(block, area);
    Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside }
}

const ASCII: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// The text in at most `rows` lines of `columns`, broken between words; the last line shows that there is more.
pub fn wrapped(text: &str, columns: usize, rows: usize, look: Look) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), text.trim_end());
    while lines.len() + 1 < rows && rest.width() > columns {
        let fits = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| rest[..*end].width() <= columns).last();
        let Some(fits) = fits else { break };
        let end = rest[..fits].rfind(' ').filter(|at| *at > 0).unwrap_or(fits);
        lines.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    lines.push(look.cut(rest, columns));
    lines
}
