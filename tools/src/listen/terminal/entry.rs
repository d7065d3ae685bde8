//! A label while it is typed, as in `labels.csv`: `wren;robin`, `!jay`, `!*`. Tab completes the last name from the classes that are known, and
//! gives the next one that fits each time.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use wheatear::daemon::Target;
use wheatear::learn::{LabelSet, label_text};

/// Longest label, in characters.
const LONGEST: usize = 512;

/// A label that is being typed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is about; held from the moment of the key that began it.
    pub target: Target,
    /// The same for a person.
    pub about: String,
    /// What was typed so far.
    pub text: String,
    /// Why it cannot be said.
    pub wrong: Option<String>,
    /// The beginning of a name that is completed, and how often it was.
    completed: Option<(String, usize)>,
}

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// It goes on.
    Open,
    /// It was left.
    Left,
    /// It is said.
    Said(LabelSet),
}

impl Entry {
    /// Of nothing yet.
    pub fn new(target: Target, about: String) -> Entry {
        Entry { target, about, text: String::new(), wrong: None, completed: None }
    }

    /// Takes a key; `classes` are those that are known.
    pub fn key(&mut self, key: KeyEvent, classes: &[String]) -> Typed {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code != KeyCode::Tab {
            self.completed = None;
        }
        self.wrong = None;
        match key.code {
            KeyCode::Esc => return Typed::Left,
            KeyCode::Enter => match label_text::parse(&self.text) {
                Ok(labels) => return Typed::Said(labels),
                Err(e) => self.wrong = Some(e.to_string()),
            },
            KeyCode::Tab => self.complete(classes),
            KeyCode::Backspace => drop(self.text.pop()),
            KeyCode::Char('u') if is_control => self.text.clear(),
            KeyCode::Char(c) if !is_control => self.paste(c.encode_utf8(&mut [0; 4])),
            _ => {}
        }
        Typed::Open
    }

    /// Takes a text that was pasted, but what controls a terminal.
    pub fn paste(&mut self, text: &str) {
        let room = LONGEST.saturating_sub(self.text.chars().count());
        self.text.extend(text.chars().filter(|c| !c.is_control()).take(room));
    }

    /// The known classes that the last name may become.
    pub fn fitting<'a>(&self, classes: &'a [String]) -> Vec<&'a String> {
        let begin = self.completed.as_ref().map_or_else(|| self.last_name().to_lowercase(), |(begin, _)| begin.clone());
        classes.iter().filter(|c| c.to_lowercase().starts_with(&begin)).collect()
    }

    /// How often the name was completed, if it was.
    pub fn completions(&self) -> Option<usize> {
        self.completed.as_ref().map(|(_, n)| *n)
    }

    fn last_name(&self) -> &str {
        self.text.rsplit(';').next().unwrap_or_default().trim_start().trim_start_matches(['!', '"'])
    }

    fn complete(&mut self, classes: &[String]) {
        let fitting: Vec<String> = self.fitting(classes).into_iter().cloned().collect();
        if fitting.is_empty() {
            self.wrong = Some("no known class begins like this".into());
            return;
        }
        let begin = self.completed.as_ref().map_or_else(|| self.last_name().to_lowercase(), |(begin, _)| begin.clone());
        let n = self.completed.as_ref().map_or(0, |(_, n)| n + 1);
        let last = self.text.rfind(';').map_or(0, |at| at + 1);
        let not = if self.text[last..].trim_start().starts_with('!') { "!" } else { "" };
        self.text.truncate(last);
        self.text += not;
        self.text += &label_text::quoted(&fitting[n % fitting.len()]);
        self.completed = Some((begin, n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry { text: text.into(), ..Entry::new(Target::Event(1), String::new()) }
    }

    fn classes() -> Vec<String> {
        ["robin", "song thrush", "Sparrow", "!odd", "wren"].map(str::to_owned).to_vec()
    }

    fn press(entry: &mut Entry, code: KeyCode) -> Typed {
        entry.key(KeyEvent::new(code, KeyModifiers::NONE), &classes())
    }

    #[test]
    fn a_label_is_typed_mended_and_said() {
        let mut entry = entry("");
        "wrem".chars().for_each(|c| assert_eq!(press(&mut entry, KeyCode::Char(c)), Typed::Open));
        press(&mut entry, KeyCode::Backspace);
        press(&mut entry, KeyCode::Char('n'));
        entry.paste(" ; !\u{1b}jay\n");
        assert_eq!(entry.text, "wren ; !jay");
        assert_eq!(press(&mut entry, KeyCode::Enter), Typed::Said(label_text::parse("wren;!jay").unwrap()));
        entry.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL), &[]);
        assert_eq!(press(&mut entry, KeyCode::Enter), Typed::Open);
        assert!(entry.wrong.is_some());
        assert_eq!(press(&mut entry, KeyCode::Esc), Typed::Left);
        entry.paste(&"x".repeat(5000));
        assert_eq!(entry.text.len(), LONGEST);
    }

    #[test]
    fn tab_completes_the_last_name_and_goes_round() {
        for (text, completed) in [
            ("s", ["song thrush", "Sparrow", "song thrush"]),
            ("wren; SP", ["wren;Sparrow", "wren;Sparrow", "wren;Sparrow"]),
            ("wren;!r", ["wren;!robin", "wren;!robin", "wren;!robin"]),
            ("\"!o", ["\"!odd\"", "\"!odd\"", "\"!odd\""]),
        ] {
            let mut entry = entry(text);
            for want in completed {
                press(&mut entry, KeyCode::Tab);
                // A name that needs quotes has them.
                assert!(entry.text == want || text.starts_with('"'), "{text}: {}", entry.text);
            }
        }
        let mut entry = entry("zz");
        press(&mut entry, KeyCode::Tab);
        assert!(entry.text == "zz" && entry.wrong.is_some());
    }
}
