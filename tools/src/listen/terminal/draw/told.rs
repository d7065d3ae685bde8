//! The list of what was told: events and questions, newest first, the marked one seen at once, in colour or not.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::super::lines::clock_time;
use super::super::look::Look;
use super::super::model::Model;
use super::super::told::{self, Key};

/// Columns of the mark and the time, of the length, and of the probability.
const TIME: usize = 11;
const LENGTH: usize = 9;
const PERCENT: usize = 6;

/// Draws the list under its heading.
pub fn told(model: &Model, look: Look, frame: &mut Frame, area: Rect) {
    let columns = usize::from(area.width);
    let open = model.told.open();
    let asked = if open == 0 { String::new() } else { format!("   questions: {open} (q)") };
    let place = model.told.mark().map_or(String::new(), |n| format!("{} of {}", n + 1, model.told.lines().len()));
    let heading = format!("-- heard {place}{asked} ");
    let heading = look.cut(&look.either(heading.replace("--", "──"), heading.clone()), columns);
    let rule = look.either("─", "-").repeat(columns.saturating_sub(heading.chars().count()));
    frame.render_widget(Line::styled(heading + &rule, look.faint()), Rect { height: area.height.min(1), ..area });
    let rows = usize::from(area.height.saturating_sub(1));
    if model.told.lines().len() == 0 && rows > 0 {
        let text = "nothing was heard yet; a label of the last seconds (l) teaches the first class";
        frame.render_widget(Line::styled(look.cut(text, columns), look.faint()), Rect { y: area.y + 1, height: 1, ..area });
    }
    let mark = model.told.mark().unwrap_or(0);
    let first = (mark + 1).saturating_sub(rows);
    for (row, (n, line)) in model.told.lines().enumerate().skip(first).take(rows).enumerate() {
        let area = Rect { y: area.y + 1 + row as u16, height: 1, ..area };
        frame.render_widget(one(model, line, n == mark, look, columns), area);
    }
}

fn one(model: &Model, line: &told::Line, is_marked: bool, look: Look, columns: usize) -> Line<'static> {
    let head = format!("{}{}  ", if is_marked { ">" } else { " " }, clock_time(&line.begin));
    // Of several microphones it says which.
    let several = model.heard.len() > 1;
    let number = model.heard.iter().position(|h| h.name == line.source).filter(|_| several);
    let head = look.fit(&number.map_or(head.clone(), |n| format!("{}{} ", &head[..head.len() - 1], n + 1)), TIME + usize::from(several));
    let rest = columns.saturating_sub(head.len());
    let said = line.said.as_ref().map(|said| format!("= {said}"));
    let unknown = line.unknown.filter(|u| *u >= 0.5).map(|u| format!("perhaps new {:.0} %", 100.0 * u));
    let (body, tail, style) = match line.key {
        Key::Event(_) => {
            let class = line.guesses.first();
            let now_s = model.now.monotonic_ns.saturating_sub(line.begin.monotonic_ns) as f64 * 1e-9;
            let length = format!("{:>LENGTH$}", format!("{:.1} s ", line.seconds.unwrap_or(now_s)));
            let percent = format!("{:>PERCENT$}", class.map_or(String::new(), |(_, p)| format!("{:.0} % ", 100.0 * p)));
            let named = rest.saturating_sub(LENGTH + PERCENT) * 11 / 20;
            let body = look.fit(class.map_or("", |(c, _)| c), named) + &length + &percent;
            let is_heard = line.seconds.is_none();
            let tail = said.or_else(|| is_heard.then(|| "sounding".to_owned())).or(unknown).unwrap_or_default();
            (body, tail, if is_heard { look.colour(Color::Green).add_modifier(Modifier::BOLD) } else { Style::new() })
        }
        Key::Window(_) => {
            let guesses = line.guesses.iter().enumerate().map(|(n, (c, p))| format!("{} {c} {:.0} %", n + 1, 100.0 * p));
            let guesses = guesses.chain(unknown).collect::<Vec<_>>().join("  ");
            let tail = said.unwrap_or_default();
            let left = rest.saturating_sub(if tail.is_empty() { 0 } else { rest / 3 });
            (look.fit(&format!("what was that? {guesses}"), left), tail, look.colour(Color::Yellow))
        }
    };
    let width = unicode_width::UnicodeWidthStr::width(body.as_str());
    let tail = look.fit(&tail, rest.saturating_sub(width));
    let marked = if is_marked { Modifier::REVERSED } else { Modifier::empty() };
    Line::from_iter([Span::raw(head), Span::styled(body, style), Span::raw(tail)]).style(Style::new().add_modifier(marked))
}
