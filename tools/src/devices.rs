//! `wheatear devices`: the microphones there are, with what each can give.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use wheatear::audio::capture::{Input, inputs};
use wheatear::{Error, ErrorKind};

use crate::output::{bold, print_facts};

/// List the microphones, with what each can give; exit code 4 when there is none that can be used
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// As JSON, with every format
    #[arg(long)]
    json: bool,
}

/// Runs `wheatear devices`.
///
/// # Errors
/// `Missing` when no microphone gives anything.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let inputs = inputs()?;
    print_facts(args.json, &inputs, |inputs| inputs.iter().map(described).collect())?;
    if inputs.iter().any(|i| !i.formats.is_empty()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Missing, "no microphone gives sound")
        .expected("one that can be opened")
        .found(if inputs.is_empty() { "none".to_owned() } else { format!("{} that cannot", inputs.len()) })
        .cure("plug one in, or start the sound server; on Debian a user must be in the group audio")
        .into())
}

fn described(input: &Input) -> String {
    let mark = if input.is_default { "  (default)" } else { "" };
    let mut text = format!("{}{mark}\n  id       {}\n", bold(&input.name), input.id);
    match &input.refused {
        Some(why) => text += &format!("  refused  {why}\n"),
        None => text += &format!("  gives    {}\n", gives(input)),
    }
    text
}

/// The formats in short: which samples, how many channels, which rates.
fn gives(input: &Input) -> String {
    let mut by_rates: BTreeMap<(u32, u32), (Vec<String>, u16, u16)> = BTreeMap::new();
    for f in &input.formats {
        let (samples, fewest, most) = by_rates.entry((f.min_rate_hz, f.max_rate_hz)).or_insert((Vec::new(), u16::MAX, 0));
        let name = f.samples.to_string();
        if !samples.contains(&name) {
            samples.push(name);
        }
        (*fewest, *most) = ((*fewest).min(f.channels), (*most).max(f.channels));
    }
    let span = |low: u32, high: u32| if low == high { low.to_string() } else { format!("{low} to {high}") };
    let lines: Vec<String> = by_rates
        .into_iter()
        .map(|((low, high), (samples, fewest, most))| {
            let channels = if (fewest, most) == (1, 1) { "channel" } else { "channels" };
            format!("{} {channels} at {} Hz: {}", span(fewest.into(), most.into()), span(low, high), samples.join(", "))
        })
        .collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n           ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A microphone as `wheatear devices --json` would tell of it, but for its formats.
    fn input(refused: Option<&str>) -> Input {
        let (id, name) = ("alsa:hw:0".into(), "Yeti".into());
        Input { id, name, is_default: true, formats: Vec::new(), refused: refused.map(str::to_owned), is_busy: false }
    }

    #[test]
    fn a_device_that_cannot_be_asked_is_listed_with_the_reason() {
        assert_eq!(described(&input(Some("busy"))), format!("{}  (default)\n  id       alsa:hw:0\n  refused  busy\n", bold("Yeti")));
        assert!(described(&input(None)).ends_with("gives    nothing\n"));
    }
}
