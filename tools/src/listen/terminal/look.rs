//! What a terminal can show: characters beyond ASCII, colours; and text that fits into so many columns of it.
//!
//! Names of classes and microphones come from outside: control characters, and marks that turn the direction of writing, become `?`. Widths are those
//! that a terminal shows: a wide character takes two columns.

use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// Characters of a text that are looked at; nothing on the screen is longer.
const LOOKED_AT: usize = 1024;
/// Shades of a picture, from nothing.
pub const SHADES: usize = 5;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Characters beyond ASCII.
    pub is_utf8: bool,
    /// Colours.
    pub colours: Colours,
}

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// None.
    None,
    /// The sixteen of every terminal.
    Few,
    /// 256.
    Many,
}

impl Look {
    /// As the environment says: the locale, `NO_COLOR`, `TERM`, `COLORTERM`.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Look {
        let said = |name: &str| variable(name).filter(|v| !v.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said).unwrap_or_default().to_ascii_lowercase();
        let many = said("COLORTERM").is_some() || said("TERM").is_some_and(|t| t.contains("256color"));
        let colours = match (said("NO_COLOR"), many) {
            (Some(_), _) => Colours::None,
            (None, false) => Colours::Few,
            (None, true) => Colours::Many,
        };
        Look { is_utf8: locale.contains("utf-8") || locale.contains("utf8"), colours }
    }

    /// The one of two that this terminal shows.
    pub fn either<T>(self, utf8: T, ascii: T) -> T {
        if self.is_utf8 { utf8 } else { ascii }
    }

    /// A text that does nothing to the terminal.
    pub fn text(self, text: &str) -> String {
        let seen = |c: char| match c {
            '\t' | '\n' => ' ',
            c if c.is_control() || is_direction(c) || !self.is_utf8 && !c.is_ascii() => '?',
            c => c,
        };
        text.chars().take(LOOKED_AT).map(seen).collect()
    }

    /// The text in at most `columns`; where it is longer, that is shown.
    pub fn cut(self, text: &str, columns: usize) -> String {
        let text = self.text(text);
        if text.width() <= columns {
            return text;
        }
        let mut end = 0;
        for (at, c) in text.char_indices() {
            if text[..at + c.len_utf8()].width() >= columns {
                break;
            }
            end = at + c.len_utf8();
        }
        let more = if columns == 0 { "" } else { self.either("…", "~") };
        format!("{}{more}", &text[..end])
    }

    /// The text in exactly `columns`.
    pub fn fit(self, text: &str, columns: usize) -> String {
        let mut text = self.cut(text, columns);
        let missing = columns.saturating_sub(text.width());
        text.extend(std::iter::repeat_n(' ', missing));
        text
    }

    /// The end of a text in at most `columns`, for one that is being written.
    pub fn end(self, text: &str, columns: usize) -> String {
        let text = self.text(text);
        let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        starts.map(|at| &text[at..]).find(|end| end.width() <= columns).unwrap_or_default().to_owned()
    }

    /// A bar that fills this share of `columns`.
    pub fn bar(self, share: f32, columns: usize) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        // What is no number fills nothing.
        let eighths = (share.clamp(0.0, 1.0) * columns as f32 * 8.0).round() as usize;
        let bar = match self.is_utf8 {
            true => "█".repeat(eighths / 8) + PARTS[eighths % 8],
            false => "#".repeat((eighths + 4) / 8),
        };
        self.fit(&bar, columns)
    }

    /// A shade, 0 for nothing.
    pub fn shade(self, shade: usize) -> &'static str {
        self.either([" ", "░", "▒", "▓", "█"], [" ", ".", ":", "*", "#"])[shade.min(SHADES - 1)]
    }

    /// The colour of a shade.
    pub fn heat(self, shade: usize) -> Style {
        let shade = shade.min(SHADES - 1);
        match self.colours {
            Colours::None => Style::new(),
            Colours::Few => Style::new().fg([Color::Reset, Color::Blue, Color::Magenta, Color::Yellow, Color::Yellow][shade]),
            Colours::Many => Style::new().fg(Color::Indexed([0, 61, 133, 209, 228][shade])),
        }
    }

    /// A colour, where there are any.
    pub fn colour(self, colour: Color) -> Style {
        if self.colours == Colours::None { Style::new() } else { Style::new().fg(colour) }
    }

    /// What stands back.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// Marks that change the direction of what stands around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTF8: Look = Look { is_utf8: true, colours: Colours::Many };
    const ASCII: Look = Look { is_utf8: false, colours: Colours::None };

    #[test]
    fn the_environment_says_what_is_shown() {
        let of = |set: &[(&str, &str)]| Look::of(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        assert_eq!(of(&[]), Look { is_utf8: false, colours: Colours::Few });
        assert_eq!(of(&[("LANG", "de_DE.UTF-8"), ("TERM", "xterm-256color")]), UTF8);
        assert_eq!(of(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C"), ("COLORTERM", "truecolor"), ("NO_COLOR", "1")]), ASCII);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("NO_COLOR", "")]), Look { is_utf8: true, colours: Colours::Few });
    }

    #[test]
    fn a_name_from_outside_does_nothing_to_the_terminal_and_takes_no_more_columns_than_it_may() {
        assert_eq!(UTF8.text("a\u{1b}[2J\u{202e}b\u{7}\nc"), "a?[2J?b? c");
        assert_eq!(ASCII.text("Zaunkönig"), "Zaunk?nig");
        assert_eq!((UTF8.cut("song thrush", 11), UTF8.cut("song thrush", 8)), ("song thrush".into(), "song th…".into()));
        // Each of these takes two columns.
        assert_eq!((UTF8.cut("みそさざい", 6), UTF8.fit("みそ", 6)), ("みそ…".into(), "みそ  ".into()));
        for columns in 0..14 {
            for text in ["", "wren", "みそさざい", "e\u{301}e\u{301}e\u{301}", "👩‍👩‍👧‍👦 family", &"x".repeat(5000)] {
                for look in [UTF8, ASCII] {
                    assert_eq!(look.fit(text, columns).width(), columns, "{text:?}");
                    assert!(look.end(text, columns).width() <= columns, "{text:?}");
                }
            }
        }
        assert_eq!(UTF8.end("song thrush", 6), "thrush");
    }

    #[test]
    fn a_bar_fills_its_share_and_a_shade_has_a_character_without_colours() {
        assert_eq!((UTF8.bar(0.5, 3), ASCII.bar(0.5, 4)), ("█▌ ".into(), "##  ".into()));
        assert_eq!((UTF8.bar(2.0, 2), UTF8.bar(f32::NAN, 2), ASCII.bar(-1.0, 2)), ("██".into(), "  ".into(), "  ".into()));
        assert_eq!((UTF8.shade(4), ASCII.shade(9), ASCII.heat(3)), ("█", "#", Style::new()));
    }
}
