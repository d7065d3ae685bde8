//! What goes before the configuration's file: single keys from the environment (`WHEATEAR_SERVE_ADDRESS`) and from the command line
//! (`--set serve.address=127.0.0.1:0`), the latter last.

use toml::{Table, Value};

use crate::{Error, ErrorKind, Result};

/// Begin of the variables.
const PREFIX: &str = "WHEATEAR_";
/// Variables that commands have always had, and what they set.
const SHORT: &[(&str, &str)] = &[("BACKBONE", "backbone.folder"), ("ADAPTER", "adapter.folder"), ("BOARD", "board")];
/// Tables of the configuration.
const TABLES: &[&str] = &["backbone", "adapter", "learn", "classify", "listen", "serve", "events", "clips", "mqtt"];

/// A key that is set from outside of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Table and key, such as `serve.address`.
    pub key: String,
    /// A TOML value, or a text as it stands.
    pub value: String,
    /// Who says so, for errors.
    pub from: String,
}

impl Override {
    /// From the command line: `table.key=value`.
    ///
    /// # Errors
    /// `Config` when it has no such form.
    pub fn parse(text: &str) -> Result<Override> {
        let wrong = || Error::new(ErrorKind::Config, "this sets no key").at("--set").expected("table.key=value").found(format!("{text:?}"));
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Override { key: key.trim().into(), value: value.trim().into(), from: format!("--set {key}") })
    }

    /// Those among the variables of the environment, by name. Others that begin with `WHEATEAR_` are of other programs.
    pub fn from_environment() -> Vec<Override> {
        // What is no text is none of them.
        Override::from_variables(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))))
    }

    fn from_variables(variables: impl Iterator<Item = (String, String)>) -> Vec<Override> {
        let of = |(name, value): (String, String)| {
            let rest = name.strip_prefix(PREFIX)?;
            let short = SHORT.iter().find(|(short, _)| *short == rest).map(|(_, key)| (*key).to_owned());
            let long = || {
                let (table, key) = rest.split_once('_')?;
                let table = table.to_ascii_lowercase();
                TABLES.contains(&table.as_str()).then(|| format!("{table}.{}", key.to_ascii_lowercase()))
            };
            Some(Override { key: short.or_else(long)?, value, from: name })
        };
        let mut all: Vec<Override> = variables.filter_map(of).collect();
        all.sort_by(|a, b| a.from.cmp(&b.from));
        all
    }

    /// Sets the key in `table`.
    ///
    /// # Errors
    /// `Config` when the key is in something that is no table.
    pub fn set(&self, table: &mut Table) -> Result<()> {
        // Alone on its line, so that it cannot be more than one value.
        let parsed = (!self.value.contains(['\n', '\r'])).then(|| format!("v = {}", self.value).parse::<Table>().ok()).flatten();
        let value = parsed.and_then(|mut t| t.remove("v")).unwrap_or_else(|| Value::String(self.value.clone()));
        let (path, last) = self.key.rsplit_once('.').map_or((None, self.key.as_str()), |(path, last)| (Some(path), last));
        let mut inner = table;
        for part in path.into_iter().flat_map(|p| p.split('.')) {
            let entry = inner.entry(part).or_insert_with(|| Value::Table(Table::new()));
            inner = entry.as_table_mut().ok_or_else(|| {
                Error::new(ErrorKind::Config, "this sets a key of something that is no table")
                    .at(&self.from)
                    .found(&self.key)
                    .cure("correct the key")
            })?;
        }
        inner.insert(last.to_owned(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_the_text_as_it_stands() {
        let mut table = Table::new();
        for (set, value) in [
            ("serve.address=127.0.0.1:0", Value::String("127.0.0.1:0".into())),
            ("listen.recent_s = 30", Value::Integer(30)),
            ("listen.ask_per_hour=0.5", Value::Float(0.5)),
            ("mqtt.device=\"30\"", Value::String("30".into())),
            ("listen.microphones=[\"a\", \"b\"]", Value::Array(vec!["a".into(), "b".into()])),
            ("adapter.folder=a = b", Value::String("a = b".into())),
            ("adapter.folder=1\nformat = 9", Value::String("1\nformat = 9".into())),
        ] {
            let set = Override::parse(set).unwrap();
            set.set(&mut table).unwrap();
            let (outer, inner) = set.key.split_once('.').unwrap();
            assert_eq!(table[outer][inner], value, "{}", set.key);
        }
        assert!(!table.contains_key("format"));
        assert_eq!(Override::parse("serve.address").unwrap_err().kind(), ErrorKind::Config);
        Override::parse("board=b.toml").unwrap().set(&mut table).unwrap();
        assert_eq!(Override::parse("board.x=1").unwrap().set(&mut table).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn every_table_of_the_configuration_can_be_set_from_outside() {
        let tables = Table::try_from(crate::config::Config::default()).unwrap();
        let missing: Vec<_> = tables.iter().filter(|(name, value)| value.is_table() && !TABLES.contains(&name.as_str())).collect();
        assert!(missing.is_empty() && TABLES.iter().all(|name| tables.contains_key(*name)), "{missing:?}");
    }

    #[test]
    fn variables_name_tables_and_keys_and_those_of_other_programs_are_left_alone() {
        let all = [
            ("WHEATEAR_SERVE_ADDRESS", "127.0.0.1:1"),
            ("WHEATEAR_ADAPTER", "a"),
            ("WHEATEAR_CONFIG", "x.toml"),
            ("WHEATEAR_LISTEN_ASK_PER_HOUR", "6"),
            ("WHEATEAR_CRASH_SEED", "1"),
            ("PATH", "/bin"),
        ];
        let found = Override::from_variables(all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let keys: Vec<&str> = found.iter().map(|o| o.key.as_str()).collect();
        assert_eq!(keys, ["adapter.folder", "listen.ask_per_hour", "serve.address"]);
    }
}
