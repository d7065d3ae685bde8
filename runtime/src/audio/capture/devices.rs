//! Which microphones there are, and the one that a person means: by its id, by its name, or by a part of the name that fits
//! no other.
//!
//! Limits: asking for formats opens each device for a moment, so one that another program holds is listed without formats and
//! with the reason. ALSA's `null` is left out: it gives silence as fast as it is read.

use std::fmt;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{SampleFormat, SupportedStreamConfigRange};
use serde::Serialize;

use super::convert::{Channel, is_convertible};
use crate::{Error, ErrorKind, Result};

/// Rates that a microphone may be asked for, in hertz.
pub const CAPTURE_RATES_HZ: std::ops::RangeInclusive<u32> = 8000..=384_000;

/// A device that sound can be captured from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// What the system calls it, with the sound system's name before it: stable where the system's own name is.
    pub id: String,
    /// Name for a person; several devices may have the same.
    pub name: String,
    /// Whether it is used where none is named.
    pub is_default: bool,
    /// What it can give.
    pub formats: Vec<InputFormat>,
    /// Why there are no formats, where it could not be asked.
    pub refused: Option<String>,
    /// Whether that is because a program has it open that shares it with none.
    #[serde(skip)]
    pub is_busy: bool,
}

/// One way in which a device can give samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InputFormat {
    /// `i16`, `f32` and the like.
    #[serde(serialize_with = "as_text")]
    pub samples: SampleFormat,
    /// Number of channels.
    pub channels: u16,
    /// Lowest rate in hertz.
    pub min_rate_hz: u32,
    /// Highest rate in hertz.
    pub max_rate_hz: u32,
}

fn as_text<S: serde::Serializer>(format: &SampleFormat, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(format)
}

impl From<SupportedStreamConfigRange> for InputFormat {
    fn from(c: SupportedStreamConfigRange) -> Self {
        let (min_rate_hz, max_rate_hz) = (c.min_sample_rate(), c.max_sample_rate());
        InputFormat { samples: c.sample_format(), channels: c.channels(), min_rate_hz, max_rate_hz }
    }
}

/// The devices that sound can be captured from now, the default one first.
///
/// # Errors
/// `Missing` when the system has no sound system that answers.
pub fn inputs() -> Result<Vec<Input>> {
    let found = listed()?.into_iter();
    Ok(found.map(|(input, device)| with_formats(input, &device)).collect())
}

fn with_formats(mut input: Input, device: &cpal::Device) -> Input {
    match device.supported_input_configs() {
        Ok(configs) => input.formats = configs.map(InputFormat::from).collect(),
        Err(e) => (input.refused, input.is_busy) = (Some(e.to_string()), e.kind() == cpal::ErrorKind::DeviceBusy),
    }
    input
}

/// The devices without their formats, so that none is opened.
fn listed() -> Result<Vec<(Input, cpal::Device)>> {
    let host = cpal::default_host();
    let default = host.default_input_device();
    let default_id = default.as_ref().and_then(|d| d.id().ok());
    let mut all: Vec<(Input, cpal::Device)> = Vec::new();
    for device in default.into_iter().chain(host.input_devices().map_err(|e| refused("list the microphones", "this system", e))?) {
        // A device that went while it was listed has no id any more.
        let Ok(id) = device.id() else { continue };
        let text = id.to_string();
        if id.id() == "null" || all.iter().any(|(known, _)| known.id == text) {
            continue;
        }
        let name = device.description().map_or_else(|_| text.clone(), |d| d.name().to_owned());
        let is_default = default_id.as_ref() == Some(&id);
        all.push((Input { id: text, name, is_default, formats: Vec::new(), refused: None, is_busy: false }, device));
    }
    Ok(all)
}

/// The place in `inputs` of the device that `wanted` means: an exact id, else an exact name, else a part of the name of one
/// only, in any case. The default one where nothing is named.
///
/// # Errors
/// `Missing` when none is meant, `Input` when several are; both name the devices there are.
pub fn choose(inputs: &[Input], wanted: Option<&str>) -> Result<usize> {
    let Some(wanted) = wanted else {
        return inputs.iter().position(|i| i.is_default).ok_or_else(|| none_such("the default microphone", inputs));
    };
    if let Some(exact) = inputs.iter().position(|i| i.id == wanted) {
        return Ok(exact);
    }
    let places = |fits: &dyn Fn(&Input) -> bool| -> Vec<usize> { (0..inputs.len()).filter(|i| fits(&inputs[*i])).collect() };
    let lower = wanted.to_lowercase();
    let mut meant = places(&|i| i.name == wanted);
    if meant.is_empty() && !lower.is_empty() {
        meant = places(&|i| i.name.to_lowercase().contains(&lower));
    }
    match meant[..] {
        [one] => Ok(one),
        [] => Err(none_such(&format!("{wanted:?}"), inputs)),
        _ => {
            let several: Vec<&Input> = meant.iter().map(|i| &inputs[*i]).collect();
            Err(Error::new(ErrorKind::Input, "several microphones are meant")
                .at(format!("{wanted:?}"))
                .expected("an id, or a part of one name only")
                .found(names(&several))
                .cure("name one by its id: wheatear devices lists them"))
        }
    }
}

fn none_such(wanted: &str, inputs: &[Input]) -> Error {
    let all: Vec<&Input> = inputs.iter().collect();
    let found = if all.is_empty() { "this system has none".to_owned() } else { names(&all) };
    Error::new(ErrorKind::Missing, "there is no such microphone")
        .at(wanted)
        .expected("the id, the name or a part of the name of one there is")
        .found(found)
        .cure("wheatear devices lists them; plug it in, or start the sound server that offers it")
}

/// At most this many devices are named in an error.
const NAMED: usize = 8;

fn names(inputs: &[&Input]) -> String {
    let named: Vec<String> = inputs.iter().take(NAMED).map(|i| format!("{} ({})", i.id, i.name)).collect();
    let more = inputs.len().saturating_sub(NAMED);
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

/// Finds the device that `wanted` means, as [`choose`] does, without opening any.
///
/// # Errors
/// As [`inputs`] and [`choose`].
pub fn find(wanted: Option<&str>) -> Result<Input> {
    device(wanted).map(|(input, _)| input)
}

/// As [`find`], and asks it what it can give, for which it is opened for a moment.
///
/// # Errors
/// As [`find`]. That the device refuses is no error: [`Input::refused`] says so.
pub fn find_and_ask(wanted: Option<&str>) -> Result<Input> {
    device(wanted).map(|(input, device)| with_formats(input, &device))
}

pub(super) fn device(wanted: Option<&str>) -> Result<(Input, cpal::Device)> {
    let mut all = listed()?;
    let inputs: Vec<Input> = all.iter().map(|(input, _)| input.clone()).collect();
    let meant = choose(&inputs, wanted)?;
    Ok(all.swap_remove(meant))
}

/// How a device is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub samples: SampleFormat,
    pub channels: u16,
    pub rate_hz: u32,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} channel{}, {} Hz", self.samples, self.channels, if self.channels == 1 { "" } else { "s" }, self.rate_hz)
    }
}

/// The best of `formats` that has `channel`: one with `rate_hz` where it is asked for and there is one; then two channels,
/// one, or the fewest; then the finest samples. Without a rate asked for (or had), 48000, 44100 or the highest.
///
/// # Errors
/// `Input` when none will do.
pub(super) fn opening(formats: &[InputFormat], channel: Channel, rate_hz: Option<u32>) -> Result<Opening> {
    let has = |f: &InputFormat, rate: u32| (f.min_rate_hz..=f.max_rate_hz).contains(&rate);
    let usual = |f: &InputFormat| [48_000, 44_100].into_iter().find(|rate| has(f, *rate));
    let rank = |f: &InputFormat| {
        let asked = rate_hz.is_some_and(|rate| has(f, rate));
        let channels = match f.channels {
            2 => u16::MAX,
            1 => u16::MAX - 1,
            n => u16::MAX - n,
        };
        (asked, channels, fineness(f.samples), usual(f), f.max_rate_hz)
    };
    let fits = |f: &&InputFormat| {
        is_convertible(f.samples)
            && channel.is_of(f.channels)
            && f.max_rate_hz >= *CAPTURE_RATES_HZ.start()
            && f.min_rate_hz <= *CAPTURE_RATES_HZ.end()
    };
    let Some(best) = formats.iter().filter(fits).max_by_key(|f| rank(f)) else {
        return Err(none_fits(formats, channel));
    };
    let asked = rate_hz.filter(|rate| has(best, *rate));
    let rate_hz = asked.or(usual(best)).unwrap_or(best.max_rate_hz.min(*CAPTURE_RATES_HZ.end()));
    Ok(Opening { samples: best.samples, channels: best.channels, rate_hz })
}

fn fineness(format: SampleFormat) -> u8 {
    match format {
        SampleFormat::F32 => 6,
        SampleFormat::I32 => 5,
        SampleFormat::I24 => 4,
        SampleFormat::I16 => 3,
        SampleFormat::F64 => 2,
        SampleFormat::U16 => 1,
        _ => 0,
    }
}

fn none_fits(formats: &[InputFormat], channel: Channel) -> Error {
    let expected = match channel {
        Channel::Mean => "i8, i16, i24, i32, u8, u16, f32 or f64 samples at 8000 to 384000 Hz".to_owned(),
        Channel::One(n) => {
            format!("at least {} channels of i8, i16, i24, i32, u8, u16, f32 or f64 samples at 8000 to 384000 Hz", u32::from(n) + 1)
        }
    };
    let mut found: Vec<String> = Vec::new();
    for f in formats {
        let text = format!("{} x {}", f.channels, f.samples);
        if !found.contains(&text) && found.len() < NAMED {
            found.push(text);
        }
    }
    let found = if found.is_empty() { "no format".to_owned() } else { found.join(", ") };
    let error = Error::new(ErrorKind::Input, "the microphone gives nothing that can be used").expected(expected).found(found);
    error.cure("choose another channel, or another device: wheatear devices lists them with their formats")
}

/// What the sound system said when it was to do something with a device.
pub(super) fn refused(doing: &str, at: &str, e: cpal::Error) -> Error {
    use cpal::ErrorKind as Cpal;
    let (kind, cure) = match e.kind() {
        Cpal::DeviceBusy => (ErrorKind::Busy, "end the program that holds it, or put a sound server between them"),
        Cpal::DeviceNotAvailable => (ErrorKind::Missing, "plug it in, or start the sound server; wheatear devices lists what there is"),
        Cpal::HostUnavailable => (ErrorKind::Missing, "install the sound system's library (libasound2 on Debian), or start its server"),
        Cpal::PermissionDenied => (ErrorKind::Missing, "let this user use it: on Debian, adduser USER audio, then log in again"),
        Cpal::UnsupportedConfig | Cpal::UnsupportedOperation | Cpal::InvalidInput => {
            (ErrorKind::Input, "ask for another rate or channel: wheatear devices lists what it has")
        }
        Cpal::ResourceExhausted => (ErrorKind::Limit, "free memory or threads"),
        _ => (ErrorKind::Missing, "plug it in again, or restart the sound server"),
    };
    Error::new(kind, format!("cannot {doing}")).at(at).found(e.to_string()).cure(cure).because(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(id: &str, name: &str) -> Input {
        Input { id: id.into(), name: name.into(), is_default: id == "alsa:default", formats: Vec::new(), refused: None, is_busy: false }
    }

    fn some() -> Vec<Input> {
        vec![
            input("alsa:hw:0", "USB Audio"),
            input("alsa:default", "Default Audio Device"),
            input("alsa:hw:1", "Blue Yeti"),
            input("alsa:hw:2", "USB Audio Two"),
            input("alsa:hw:3", "Blue Yeti"),
        ]
    }

    #[test]
    fn a_device_is_meant_by_its_id_its_name_or_a_part_of_one_name_only() {
        let table = [
            (None, Ok(1)),
            (Some("alsa:hw:3"), Ok(4)),
            (Some("USB Audio"), Ok(0)),
            (Some("audio two"), Ok(3)),
            (Some("DEFAULT"), Ok(1)),
            (Some("usb audio"), Err(ErrorKind::Input)),
            (Some("Blue Yeti"), Err(ErrorKind::Input)),
            (Some("hw:3"), Err(ErrorKind::Missing)),
            (Some(""), Err(ErrorKind::Missing)),
        ];
        for (wanted, want) in table {
            assert_eq!(choose(&some(), wanted).map_err(|e| e.kind()), want, "{wanted:?}");
        }
    }

    #[test]
    fn who_names_no_device_is_told_which_there_are_and_what_lists_them() {
        let none = choose(&some(), Some("wren")).unwrap_err().to_string();
        assert!(none.contains("\"wren\"") && none.contains("alsa:hw:2 (USB Audio Two)") && none.contains("wheatear devices"), "{none}");
        let several = choose(&some(), Some("yeti")).unwrap_err().to_string();
        assert!(several.contains("alsa:hw:1") && several.contains("alsa:hw:3") && !several.contains("alsa:hw:0"), "{several}");
        let nothing = choose(&[], None).unwrap_err().to_string();
        assert!(nothing.contains("this system has none"), "{nothing}");
        let many: Vec<Input> = (0..20).map(|i| input(&i.to_string(), "x")).collect();
        let short = choose(&many, Some("wren")).unwrap_err().to_string();
        assert!(short.contains("7 (x) and 12 more"), "{short}");
    }

    fn format(samples: SampleFormat, channels: u16, rates: (u32, u32)) -> InputFormat {
        InputFormat { samples, channels, min_rate_hz: rates.0, max_rate_hz: rates.1 }
    }

    #[test]
    fn the_rate_asked_for_goes_before_channels_and_channels_before_fineness() {
        use SampleFormat::{DsdU8, F32, I16, I32, U8};
        let all = [
            format(DsdU8, 2, (8000, 384_000)),
            format(I16, 1, (8000, 96_000)),
            format(U8, 2, (44_100, 48_000)),
            format(I32, 2, (44_100, 44_100)),
            format(I16, 2, (44_100, 48_000)),
            format(F32, 6, (16_000, 16_000)),
        ];
        let table = [
            (Channel::Mean, None, (I32, 2, 44_100)),
            (Channel::Mean, Some(48_000), (I16, 2, 48_000)),
            (Channel::Mean, Some(96_000), (I16, 1, 96_000)),
            (Channel::Mean, Some(11_111), (I16, 1, 11_111)),
            (Channel::Mean, Some(192_000), (I32, 2, 44_100)),
            (Channel::One(4), Some(48_000), (F32, 6, 16_000)),
        ];
        for (channel, rate_hz, (samples, channels, rate)) in table {
            assert_eq!(opening(&all, channel, rate_hz).unwrap(), Opening { samples, channels, rate_hz: rate }, "{channel:?} {rate_hz:?}");
        }
    }

    #[test]
    fn a_device_without_the_channel_or_a_format_that_is_taken_is_refused_with_what_it_has() {
        let stereo = [format(SampleFormat::I16, 2, (8000, 48_000))];
        let e = opening(&stereo, Channel::One(2), None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Input);
        assert!(e.to_string().contains("at least 3 channels") && e.to_string().contains("2 x i16"), "{e}");
        let one_bit = [format(SampleFormat::DsdU8, 2, (8000, 48_000)), format(SampleFormat::I16, 2, (1000, 4000))];
        assert!(opening(&one_bit, Channel::Mean, None).is_err());
        assert!(opening(&[], Channel::Mean, None).unwrap_err().to_string().contains("no format"));
    }
}
