//! Settings from a configuration.

use std::path::Path;

use crate::config::{AdapterConfig, Config};
use crate::daemon::Settings;
use crate::learn::ClassName;
use crate::live::smooth::Rule;
use crate::serve::ServeSettings;
use crate::sinks::clips;
use crate::{Error, ErrorKind, Result};

/// A token is looked for in the first so many bytes of its file.
const TOKEN_LEN_MAX: usize = 256;

/// How live sound is taken.
///
/// # Errors
/// `Config` when the probabilities do not go together.
pub(super) fn daemon(config: &Config) -> Result<Settings> {
    let (usual, listen, classify) = (Settings::default(), &config.listen, &config.classify);
    let begin = classify.min_probability.unwrap_or(usual.rule.begin);
    let rule = Rule {
        begin,
        end: listen.end_probability.unwrap_or(begin * usual.rule.end / usual.rule.begin),
        max_unknown: classify.max_unknown.unwrap_or(usual.rule.max_unknown),
        min_ms: listen.min_ms.unwrap_or(usual.rule.min_ms),
        merge_ms: listen.merge_ms.unwrap_or(usual.rule.merge_ms),
        ..usual.rule
    };
    rule.validate()?;
    Ok(Settings {
        rule,
        ask_per_hour: listen.ask_per_hour.unwrap_or(usual.ask_per_hour),
        ask_doubt: listen.ask_doubt.unwrap_or(usual.ask_doubt),
        recent_s: listen.recent_s.unwrap_or(usual.recent_s),
        background_per_hour: listen.background_per_hour.unwrap_or(usual.background_per_hour),
        nice: listen.nice.unwrap_or(usual.nice),
        ..usual
    })
}

/// What clips are saved of windows of `window_s` under `rule`; none where there is no folder for them.
///
/// # Errors
/// `Config` when the key is none.
pub(super) fn clips(config: &Config, rule: &Rule, window_s: f64) -> Result<Option<clips::Settings>> {
    let wanted = &config.clips;
    wanted.recipient.as_deref().map(clips::recipient).transpose()?;
    let Some(folder) = wanted.folder.clone() else { return Ok(None) };
    // As classes are spelled everywhere; that they are names was checked.
    let classes = wanted.classes.iter().map(|class| ClassName::new(class).map(|c| c.to_string())).collect::<Result<_>>()?;
    Ok(Some(clips::Settings {
        folder,
        budget_bytes: u64::from(wanted.max_mib.unwrap_or(1024)) << 20,
        margin_s: wanted.margin_s.unwrap_or(1.0),
        max_s: wanted.max_s.unwrap_or(15.0),
        classes,
        recipient: wanted.recipient.clone(),
        decided_s: window_s + f64::from(rule.min_ms + rule.merge_ms) * 1e-3,
    }))
}

/// How the daemon is served; none where it is not.
///
/// # Errors
/// `Missing`, `Storage` or `Config` when the token's file cannot be used.
pub(super) fn serve(config: &Config) -> Result<Option<ServeSettings>> {
    let serve = &config.serve;
    let Some(address) = serve.address else { return Ok(None) };
    let token = serve.token_file.as_deref().map(secret).transpose()?;
    Ok(Some(ServeSettings { address, hosts: serve.hosts.clone(), token, tls: serve.certificate.clone().zip(serve.key.clone()) }))
}

/// The first line of a file, of which nothing is told.
fn secret(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| Error::io("read the secret in", path, e))?;
    file.take(TOKEN_LEN_MAX as u64 + 2).read_to_end(&mut bytes).map_err(|e| Error::io("read the secret in", path, e))?;
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    let wrong = || {
        let error = Error::new(ErrorKind::Config, "the file holds no usable secret").at(path.display());
        error.expected(format!("1 to {TOKEN_LEN_MAX} characters of text on its first line"))
    };
    let text = std::str::from_utf8(line).ok().filter(|t| (1..=TOKEN_LEN_MAX).contains(&t.len()));
    text.map(str::to_owned).ok_or_else(wrong)
}

/// Tables in which `now` and `wanted` differ in something that a running daemon does not change.
pub(super) fn needs_restart(now: &Config, wanted: &Config) -> Vec<&'static str> {
    // Of listening only what finds and holds the sound waits.
    let fixed = |c: &Config| {
        let l = &c.listen;
        (l.microphones.clone(), l.rate_hz, l.channel, l.recent_s, (l.on_s, l.every_s, l.nice))
    };
    let told = |c: &Config| (c.listen.min_ms, c.listen.merge_ms);
    // Another adapter is taken at once.
    let created = |c: &Config| AdapterConfig { folder: None, ..c.adapter.clone() };
    let differ = [
        ("board", now.board != wanted.board),
        ("backbone", now.backbone != wanted.backbone),
        ("adapter", created(now) != created(wanted)),
        ("listen", fixed(now) != fixed(wanted)),
        ("serve", now.serve != wanted.serve),
        ("events", now.events != wanted.events),
        // Sound is held for as long as an event may take to be told.
        ("clips", now.clips != wanted.clips || now.clips.folder.is_some() && told(now) != told(wanted)),
        ("mqtt", now.mqtt != wanted.mqtt),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(table, _)| table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_the_configuration_and_the_end_follows_the_begin() {
        let rule = |text: &str| daemon(&Config::parse(text).unwrap()).map(|s| (s.rule.begin, s.rule.end, s.rule.max_unknown));
        assert_eq!(rule("").unwrap(), (0.5, 0.35, 0.5));
        let (begin, end, max_unknown) = rule("[classify]\nmin_probability = 0.8\nmax_unknown = 0.9\n").unwrap();
        assert!((begin, max_unknown) == (0.8, 0.9) && (end - 0.56).abs() < 1e-6, "{end}");
        let text = "[classify]\nmin_probability = 0.6\n[listen]\nend_probability = ";
        assert_eq!(rule(&format!("{text}0.1")).unwrap(), (0.6, 0.1, 0.5));
        assert_eq!(rule(&format!("{text}0.7")).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_change_that_waits_for_a_restart_is_named() {
        let config = |text: &str| Config::parse(text).unwrap();
        let now = config("[listen]\nask_per_hour = 1\nrecent_s = 60\n");
        assert!(needs_restart(&now, &config("[classify]\nmin_probability = 0.9\n[listen]\nask_per_hour = 2\nrecent_s = 60\n")).is_empty());
        assert_eq!(needs_restart(&now, &config("[serve]\naddress = \"127.0.0.1:1\"\n")), ["listen", "serve"]);
    }

    #[test]
    fn a_secret_is_the_first_line_and_no_error_tells_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (bytes, want) in [
            (&b"abc\nother\n"[..], Some("abc")),
            (b" abc \r\n", Some("abc")),
            (b"\nabc", None),
            (b"", None),
            (b"\xff\xfe", None),
            (&[b'x'; 257], None),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(secret(&path).ok().as_deref(), want, "{bytes:?}");
        }
        std::fs::write(&path, [b'q'; 300]).unwrap();
        assert!(!secret(&path).unwrap_err().to_string().contains("qqq"));
        assert_eq!(secret(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::Missing);
    }
}
