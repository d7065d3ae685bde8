//! From samples to embeddings: resample, cut into windows, normalise, front end, backbone, scale.
//!
//! Streaming equals batch: the windows and their embeddings depend on the samples alone, not on the pieces they come
//! in. Window i starts at sample `i hop` of the resampled sound. When the sound ends, one more window padded with zeros
//! is made if there was none yet, or if at least half a hop of samples is not covered by the last one.
//!
//! Between construction and the backbone's own call nothing allocates; the buffers hold one window.

use std::path::Path;

use crate::audio::check_finite;
use crate::audio::decode::SoundFile;
use crate::audio::resample::Resampler;
use crate::backbone::Backbone;
use crate::backbone::manifest::{EmbeddingScale, Manifest, Modality};
use crate::backbone::session::{OrtBackbone, SessionOptions};
use crate::clock::thread_cpu_ns;
use crate::features::{FrontEnd, peak};
use crate::latent::scale_embedding;
use crate::{Error, ErrorKind, Result};

/// One window and its embedding.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Number of the window, from 0.
    pub index: u64,
    /// Its first sample, counted at the backbone's rate.
    pub start: u64,
    /// Samples of sound in it; fewer than a window's when the end was padded with zeros.
    pub len: usize,
    /// Largest absolute sample, before normalisation; full scale is 1.
    pub peak: f32,
    /// Root mean square of the `len` samples, before normalisation.
    pub rms: f32,
    /// Embedding \[D\], scaled as the manifest says.
    pub embedding: &'a [f32],
}

/// Turns sound at any rate into embeddings.
pub struct Embedder {
    manifest: Manifest,
    resampler: Resampler,
    windows: Windows,
    consumed: u64,
}

/// What [`Embedder::embed_file`] found in a file.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a damaged file gives fewer windows than it should"]
pub struct FileSummary {
    /// Windows that were handed out.
    pub windows: u64,
    /// Length of the sound in seconds.
    pub seconds: f64,
    /// Rate of the file in hertz.
    pub rate_hz: u32,
    /// Channels of the file.
    pub channels: usize,
    /// What was lost of a damaged file.
    pub damage: Option<String>,
}

impl Embedder {
    /// An embedder for sound at `source_rate_hz`, which [`Embedder::reset`] can change.
    ///
    /// # Errors
    /// `Input` for a rate no sound has; `Config` when the manifest lacks the front end the backbone needs, or when the
    /// backbone's sizes are not the manifest's.
    pub fn new(manifest: Manifest, backbone: Box<dyn Backbone>, source_rate_hz: u32) -> Result<Embedder> {
        if manifest.modality != Modality::Audio {
            return Err(Error::new(ErrorKind::Config, "the backbone does not take sound")
                .at(&manifest.name)
                .expected("modality = \"audio\"")
                .found(format!("{:?}", manifest.modality).to_lowercase())
                .cure("use a backbone for audio"));
        }
        let front_end = FrontEnd::new(&manifest, backbone.input())?;
        let (dim, window) = (manifest.embedding.dim as usize, manifest.audio.window_samples as usize);
        if (front_end.input_len(), dim) != (backbone.input_len(), backbone.dim()) {
            return Err(Error::new(ErrorKind::Config, "the backbone and its manifest have different sizes")
                .at(&manifest.name)
                .expected(format!("{} values in, {dim} out", front_end.input_len()))
                .found(format!("{} in, {} out", backbone.input_len(), backbone.dim()))
                .cure("correct the manifest"));
        }
        let windows = Windows {
            hop: manifest.audio.hop_samples as usize,
            scale: manifest.embedding.scale,
            samples: vec![0.0; window],
            filled: 0,
            index: 0,
            stride: 1,
            input: vec![0.0; front_end.input_len()],
            embedding: vec![0.0; dim],
            backbone_ns: 0,
            front_end,
            backbone,
        };
        let resampler = Resampler::new(source_rate_hz, manifest.audio.rate_hz)?;
        Ok(Embedder { manifest, resampler, windows, consumed: 0 })
    }

    /// Opens a backbone's folder and makes an embedder for sound at its own rate.
    ///
    /// # Errors
    /// As [`Manifest::load`] and [`OrtBackbone::load`].
    pub fn open(backbone: &Path, variant: Option<&str>, options: &SessionOptions) -> Result<Embedder> {
        let (manifest, folder) = Manifest::load(backbone)?;
        let session = OrtBackbone::load(&manifest, &folder, variant, options)?;
        let rate_hz = manifest.audio.rate_hz;
        Embedder::new(manifest, Box::new(session), rate_hz)
    }

    /// The manifest of the backbone.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Rate of the samples that [`Embedder::push`] takes, in hertz.
    pub fn source_rate_hz(&self) -> u32 {
        self.resampler.in_rate_hz()
    }

    /// Processor time that the backbone's calls took so far, in ns: of the thread that called, whatever others ONNX Runtime has.
    pub fn backbone_ns(&self) -> u64 {
        self.windows.backbone_ns
    }

    /// Takes the next samples at the source's rate, of any number, and hands each window that is complete to `sink`.
    ///
    /// # Errors
    /// `Input` when a sample is not finite, and then none of this piece was used; `Backbone` when the graph fails or
    /// returns what is not a number; those of `sink`. After the last two the sound is to be [`reset`](Embedder::reset).
    pub fn push(&mut self, samples: &[f32], sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<()> {
        check_finite(samples, self.consumed)?;
        self.consumed += samples.len() as u64;
        let windows = &mut self.windows;
        self.resampler.push(samples, &mut |x| windows.push(x, sink))
    }

    /// Ends the sound: hands out what the resampler still holds and the padded last window, then gets ready for another
    /// sound at the same rate. Returns the number of windows of the sound.
    ///
    /// # Errors
    /// As [`Embedder::push`]; the embedder is ready for another sound all the same.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<u64> {
        let windows = &mut self.windows;
        let result = self.resampler.finish(&mut |x| windows.push(x, sink)).and_then(|()| windows.pad_last(sink));
        let count = self.windows.index;
        self.clear();
        result.map(|()| count)
    }

    /// Forgets the sound so far and takes the next one at `source_rate_hz`.
    ///
    /// # Errors
    /// `Input` for a rate no sound has; the embedder then keeps its rate.
    pub fn reset(&mut self, source_rate_hz: u32) -> Result<()> {
        if source_rate_hz != self.resampler.in_rate_hz() {
            self.resampler = Resampler::new(source_rate_hz, self.manifest.audio.rate_hz)?;
        }
        self.clear();
        Ok(())
    }

    /// Embeds a whole sound file, whatever its rate and channels.
    ///
    /// A damaged file gives the windows of what could be decoded; the summary and a line in the log say what was lost.
    ///
    /// # Errors
    /// As [`SoundFile::open`], [`SoundFile::next_block`] and [`Embedder::push`].
    pub fn embed_file(&mut self, path: &Path, sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<FileSummary> {
        let mut sound = SoundFile::open(path)?;
        self.reset(sound.rate_hz())?;
        while let Some(block) = sound.next_block()? {
            self.push(block, sink)?;
        }
        let windows = self.finish(sink)?;
        if let Some(damage) = sound.damage() {
            log::warn!("{}: {damage}", path.display());
        }
        Ok(FileSummary {
            windows,
            seconds: sound.position() as f64 / f64::from(sound.rate_hz()),
            rate_hz: sound.rate_hz(),
            channels: sound.channels(),
            damage: sound.damage().map(str::to_string),
        })
    }

    /// From now on only windows whose number is a multiple of `stride` are embedded, from 1 on: what a board can do that is slower than its
    /// sound. The others are passed over, and keep their numbers.
    pub fn set_stride(&mut self, stride: u32) {
        self.windows.stride = u64::from(stride.max(1));
    }

    fn clear(&mut self) {
        self.resampler.reset();
        self.consumed = 0;
        (self.windows.filled, self.windows.index) = (0, 0);
    }
}

/// Cuts samples at the backbone's rate into windows and embeds them.
struct Windows {
    hop: usize,
    scale: EmbeddingScale,
    front_end: FrontEnd,
    backbone: Box<dyn Backbone>,
    /// The window being filled; `filled` samples of it are there.
    samples: Vec<f32>,
    filled: usize,
    /// Number of the window being filled.
    index: u64,
    /// One window in so many is embedded.
    stride: u64,
    input: Vec<f32>,
    embedding: Vec<f32>,
    /// Processor time in the backbone's calls.
    backbone_ns: u64,
}

impl Windows {
    fn push(&mut self, mut samples: &[f32], sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<()> {
        while !samples.is_empty() {
            let n = samples.len().min(self.samples.len() - self.filled);
            let (now, later) = samples.split_at(n);
            self.samples[self.filled..self.filled + n].copy_from_slice(now);
            self.filled += n;
            samples = later;
            if self.filled == self.samples.len() {
                if self.index.is_multiple_of(self.stride) { self.emit(sink)? } else { self.advance() }
            }
        }
        Ok(())
    }

    /// The zero-padded last window, where the rule of the module asks for one.
    fn pad_last(&mut self, sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<()> {
        let covered = if self.index == 0 { 0 } else { self.samples.len() - self.hop };
        let uncovered = self.filled.saturating_sub(covered);
        if uncovered == 0 || (self.index > 0 && 2 * uncovered < self.hop) {
            return Ok(());
        }
        self.samples[self.filled..].fill(0.0);
        self.emit(sink)
    }

    /// Embeds the window in `samples`, of which `filled` are sound, and moves on by one hop.
    fn emit(&mut self, sink: &mut dyn FnMut(Window<'_>) -> Result<()>) -> Result<()> {
        self.front_end.compute(&self.samples, &mut self.input);
        let before_ns = thread_cpu_ns();
        let embedded = self.backbone.embed(&self.input, &mut self.embedding);
        self.backbone_ns += thread_cpu_ns().saturating_sub(before_ns);
        embedded?;
        let start = self.index * self.hop as u64;
        scale_embedding(self.scale, &mut self.embedding).map_err(|e| {
            let at = format!("window {} at sample {start}, {}", self.index, e.place().unwrap_or_default());
            e.at(at)
        })?;
        let sound = &self.samples[..self.filled];
        let energy: f64 = sound.chunks(1024).map(|c| f64::from(c.iter().map(|x| x * x).sum::<f32>())).sum();
        let window = Window {
            index: self.index,
            start,
            len: sound.len(),
            peak: peak(sound),
            rms: (energy / sound.len().max(1) as f64).sqrt() as f32,
            embedding: &self.embedding,
        };
        let result = sink(window);
        self.advance();
        result
    }

    fn advance(&mut self) {
        self.index += 1;
        self.samples.copy_within(self.hop.., 0);
        self.filled = self.filled.saturating_sub(self.hop);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backbone::manifest::GraphInput;

    /// Sums of the input, weighted so that each value and its place count.
    struct Sums;

    impl Backbone for Sums {
        fn input(&self) -> GraphInput {
            GraphInput::Waveform
        }
        fn input_len(&self) -> usize {
            1000
        }
        fn dim(&self) -> usize {
            3
        }
        fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
            for (j, y) in embedding.iter_mut().enumerate() {
                *y = input.iter().enumerate().map(|(i, x)| x * ((i * (j + 3)) % 17) as f32).sum();
            }
            Ok(())
        }
    }

    fn manifest() -> Manifest {
        let text = r#"
            format = 1
            name = "sums"
            modality = "audio"
            licence = "MIT"
            audio = { rate_hz = 16000, window_samples = 1000, hop_samples = 400 }
            normalise = { kind = "peak", floor = 0.01 }
            front_end = { kind = "none" }
            embedding = { dim = 3, scale = "none" }
            [[variant]]
            name = "f32"
            file = "sums.onnx"
            sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
            precision = "f32"
            input = "waveform"
            input_name = "x"
            input_shape = [1, 1000]
            output_name = "y"
        "#;
        Manifest::parse(text).unwrap()
    }

    fn embedder(rate_hz: u32) -> Embedder {
        Embedder::new(manifest(), Box::new(Sums), rate_hz).unwrap()
    }

    type Row = (u64, u64, usize, f32, f32, Vec<f32>);

    fn run(e: &mut Embedder, samples: &[f32], pieces: &[usize]) -> Vec<Row> {
        let (rows, count) = counted(e, samples, pieces);
        assert_eq!(count, rows.len() as u64);
        rows
    }

    /// The windows that were handed out, and how many the sound has.
    fn counted(e: &mut Embedder, samples: &[f32], pieces: &[usize]) -> (Vec<Row>, u64) {
        let mut rows = Vec::new();
        let mut keep = |w: Window<'_>| {
            rows.push((w.index, w.start, w.len, w.peak, w.rms, w.embedding.to_vec()));
            Ok(())
        };
        let mut rest = samples;
        for n in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*n).clamp(1, rest.len()));
            e.push(now, &mut keep).unwrap();
            rest = later;
        }
        let count = e.finish(&mut keep).unwrap();
        (rows, count)
    }

    fn noise(n: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn the_last_window_is_padded_only_where_half_a_hop_is_uncovered() {
        // Samples at the backbone's rate, and the lengths of the windows: a window is 1000, a hop 400.
        let table: [(usize, &[usize]); 8] = [
            (0, &[]),
            (1, &[1]),
            (999, &[999]),
            (1000, &[1000]),
            (1199, &[1000]),
            (1200, &[1000, 800]),
            (1400, &[1000, 1000]),
            (1601, &[1000, 1000, 801]),
        ];
        for (n, lens) in table {
            let got: Vec<usize> = run(&mut embedder(16000), &noise(n), &[333]).iter().map(|r| r.2).collect();
            assert_eq!(got, lens, "{n} samples");
        }
    }

    #[test]
    fn windows_start_at_multiples_of_the_hop() {
        let rows = run(&mut embedder(16000), &noise(3000), &[100]);
        assert!(rows.iter().enumerate().all(|(i, r)| (r.0, r.1) == (i as u64, 400 * i as u64)), "{rows:?}");
    }

    #[test]
    fn with_a_stride_some_windows_are_passed_over_and_the_others_are_as_before() {
        let (mut e, x) = (embedder(16000), noise(5000));
        let all = run(&mut e, &x, &[700]);
        e.set_stride(3);
        let (some, count) = counted(&mut e, &x, &[700]);
        assert_eq!(some, all.iter().filter(|r| r.0 % 3 == 0).cloned().collect::<Vec<_>>());
        assert_eq!((some.len(), count), (4, 11));
    }

    #[test]
    fn peak_and_rms_are_of_the_sound_and_not_of_the_padding() {
        let rows = run(&mut embedder(16000), &[0.5; 500], &[500]);
        assert_eq!((rows[0].3, rows[0].4), (0.5, 0.5));
    }

    #[test]
    fn a_sample_that_is_not_a_number_is_refused_and_the_sound_goes_on_without_the_piece() {
        let mut e = embedder(16000);
        let x = noise(1000);
        let mut first = Vec::new();
        let mut keep = |w: Window<'_>| {
            first = w.embedding.to_vec();
            Ok(())
        };
        e.push(&x[..600], &mut keep).unwrap();
        let refused = e.push(&[0.0, f32::NAN], &mut keep).unwrap_err();
        assert!(refused.to_string().contains("sample 601"), "{refused}");
        e.push(&x[600..], &mut keep).unwrap();
        assert_eq!(first, run(&mut embedder(16000), &x, &[1000])[0].5);
    }

    #[test]
    fn a_failing_sink_leaves_the_embedder_ready_for_the_next_sound() {
        let mut e = embedder(48000);
        let x = noise(9000);
        let stop = e.push(&x, &mut |_| Err(Error::new(ErrorKind::Limit, "stop"))).unwrap_err();
        assert_eq!(stop.kind(), ErrorKind::Limit);
        e.reset(48000).unwrap();
        assert_eq!(run(&mut e, &x, &[9000]), run(&mut embedder(48000), &x, &[9000]));
    }

    #[test]
    fn a_file_gives_the_windows_of_its_samples_and_reports_what_was_lost() {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds/tone.flac");
        let bytes = std::fs::read(&whole).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cut = folder.path().join("cut.flac");
        std::fs::write(&cut, &bytes[..bytes.len() * 9 / 10]).unwrap();
        for (path, damaged) in [(&whole, false), (&cut, true)] {
            let (samples, rate_hz, _) = crate::audio::decode::read_file(path).unwrap();
            let want = run(&mut embedder(rate_hz), &samples, &[samples.len()]);
            let mut got = Vec::new();
            let mut keep = |w: Window<'_>| {
                got.push((w.index, w.start, w.len, w.peak, w.rms, w.embedding.to_vec()));
                Ok(())
            };
            let summary = embedder(8000).embed_file(path, &mut keep).unwrap();
            assert_eq!(got, want);
            assert_eq!((summary.windows, summary.rate_hz, summary.channels), (want.len() as u64, 22050, 2));
            assert_eq!(summary.seconds, samples.len() as f64 / 22050.0);
            assert_eq!(summary.damage.is_some(), damaged, "{summary:?}");
        }
    }

    #[test]
    fn a_backbone_of_another_size_than_its_manifest_is_refused() {
        let mut wide = manifest();
        wide.audio.window_samples = 2000;
        assert_eq!(Embedder::new(wide, Box::new(Sums), 16000).map(|_| ()).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn an_embedder_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Embedder>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn ragged_pieces_give_the_bits_of_one_push(
            pieces in prop::collection::vec(1usize..3000, 1..20),
            n in 0usize..12_000,
            rate in prop::sample::select(vec![8000u32, 16000, 44100, 48000]),
        ) {
            let x = noise(n);
            let whole = run(&mut embedder(rate), &x, &[n.max(1)]);
            let mut reused = embedder(rate);
            run(&mut reused, &noise(777), &[50]);
            prop_assert_eq!(run(&mut reused, &x, &pieces), whole);
        }
    }
}
