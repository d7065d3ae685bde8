//! The programs that are compared, and the figures they give.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Our heads, as `wheatear lab run --head` knows them; the others are compared with the first.
const HEADS: [&str; 7] = ["slda", "ncm", "ridge", "slda-loo", "ridge-loo", "auto", "softmax"];

/// The peers: name, file in `tools/peers`, and which of its settings.
const PEERS: [(&str, &str, &str); 9] = [
    ("sklearn-lda", "sklearn_lda.py", ""),
    ("sklearn-sgd-4", "sklearn_sgd.py", "4 passes"),
    ("sklearn-sgd-16", "sklearn_sgd.py", "16 passes"),
    ("river-gaussian-nb", "river_gaussian_nb.py", ""),
    ("river-knn", "river_knn.py", ""),
    ("numpy-slda-rows", "numpy_slda_rows.py", ""),
    ("numpy-slda-chunks", "numpy_slda_chunks.py", ""),
    ("ort-training-16", "ort_training.py", "16 steps"),
    ("ort-training-64", "ort_training.py", "64 steps"),
];

/// A head of ours or a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Ours(&'static str),
    Peer { name: &'static str, script: &'static str, only: &'static str },
}

/// All of them, ours first.
pub fn all() -> Vec<Program> {
    let ours = HEADS.map(Program::Ours);
    let peers = PEERS.map(|(name, script, only)| Program::Peer { name, script, only });
    ours.into_iter().chain(peers).collect()
}

/// The program called `name`.
pub fn named(name: &str) -> Result<Program, String> {
    let known = || all().iter().map(Program::name).collect::<Vec<_>>().join(", ");
    all().into_iter().find(|p| p.name() == name).ok_or_else(|| format!("expected one of {}", known()))
}

/// The head that the others are compared with.
pub fn base() -> Program {
    Program::Ours(HEADS[0])
}

/// One program on one set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    pub peer: String,
    pub data: String,
    /// Mean per-class accuracy after the stream, mean over the runs.
    pub accuracy: f64,
    /// Rows learned a second: updates, and one usable head a task.
    pub rows_per_s: f64,
    pub peak_rss_bytes: u64,
    /// Standard deviation over the runs.
    pub accuracy_std: f64,
    /// Accuracy of each run, in the order of the splits.
    pub runs: Vec<f64>,
    /// Rows learned in a second of the processor: not changed by what else runs on the machine.
    pub rows_per_cpu_s: f64,
    /// The same without the making of heads.
    pub update_rows_per_cpu_s: f64,
    /// Rows predicted in a second of the processor, where it was measured.
    pub predict_rows_per_cpu_s: Option<f64>,
    pub note: String,
}

/// Something that is not in the figures, and why.
pub struct LeftOut {
    pub what: String,
    pub why: String,
}

/// What `tools/peers/stream.py` writes.
#[derive(Deserialize)]
struct OfPeer {
    runs: Vec<f64>,
    rows_per_s: f64,
    rows_per_cpu_s: f64,
    update_rows_per_cpu_s: f64,
    predict_rows_per_cpu_s: f64,
    note: String,
}

/// What of `wheatear lab run --json` is used.
#[derive(Deserialize)]
struct OfHead {
    learn_rows_per_s: f64,
    runs: Vec<OfRun>,
}

#[derive(Deserialize)]
struct OfRun {
    accuracy: f64,
    rows: f64,
    learn_cpu_s: f64,
    head_cpu_s: f64,
}

/// Accuracies of the runs that a peer wrote.
pub fn runs(said: &str) -> Result<Vec<f64>> {
    serde_json::from_str::<OfPeer>(said).map(|p| p.runs).context("figures of a peer")
}

impl Program {
    pub fn name(&self) -> String {
        match self {
            Program::Ours(head) => format!("wheatear-{head}"),
            Program::Peer { name, .. } => (*name).to_string(),
        }
    }

    /// Its script and which of the settings in it, for a peer.
    pub fn python(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Program::Ours(_) => None,
            Program::Peer { script, only, .. } => Some((script, only)),
        }
    }

    /// What the lab calls it.
    pub fn head(&self) -> &'static str {
        match self {
            Program::Ours(name) | Program::Peer { name, .. } => name,
        }
    }

    /// Reads what the program wrote about `data`.
    pub fn figures(&self, data: &str, said: &str, peak_rss_bytes: u64) -> Result<Figures> {
        let mut figures = match self {
            Program::Peer { .. } => {
                let p: OfPeer = serde_json::from_str(said).context("figures of a peer")?;
                Figures {
                    rows_per_s: p.rows_per_s,
                    runs: p.runs,
                    rows_per_cpu_s: p.rows_per_cpu_s,
                    update_rows_per_cpu_s: p.update_rows_per_cpu_s,
                    predict_rows_per_cpu_s: Some(p.predict_rows_per_cpu_s),
                    note: p.note,
                    ..Figures::default()
                }
            }
            Program::Ours(_) => {
                let heads: Vec<OfHead> = serde_json::from_str(said).context("figures of `wheatear lab run --json`")?;
                let head = heads.into_iter().next().context("`wheatear lab run --json` wrote no head")?;
                let sum = |of: fn(&OfRun) -> f64| head.runs.iter().map(of).sum::<f64>();
                Figures {
                    rows_per_s: head.learn_rows_per_s,
                    runs: head.runs.iter().map(|r| r.accuracy).collect(),
                    rows_per_cpu_s: sum(|r| r.rows) / sum(|r| r.learn_cpu_s),
                    update_rows_per_cpu_s: sum(|r| r.rows) / sum(|r| r.learn_cpu_s - r.head_cpu_s),
                    note: "8-bit latents, one head a task".into(),
                    ..Figures::default()
                }
            }
        };
        ensure!(!figures.runs.is_empty() && figures.rows_per_s.is_finite(), "{} wrote no runs", self.name());
        (figures.accuracy, figures.accuracy_std) = spread(&figures.runs);
        (figures.peer, figures.data, figures.peak_rss_bytes) = (self.name(), data.to_string(), peak_rss_bytes);
        Ok(figures)
    }
}

impl Figures {
    /// Of several rounds the median speeds and the largest memory; none of no round.
    pub fn over_rounds(rounds: Vec<Figures>) -> Option<Figures> {
        let speed = |of: fn(&Figures) -> f64| median(rounds.iter().map(of).collect());
        let (rows_per_s, rows_per_cpu_s) = (speed(|f| f.rows_per_s)?, speed(|f| f.rows_per_cpu_s)?);
        let update_rows_per_cpu_s = speed(|f| f.update_rows_per_cpu_s)?;
        let predict_rows_per_cpu_s = median(rounds.iter().filter_map(|f| f.predict_rows_per_cpu_s).collect());
        let peak_rss_bytes = rounds.iter().map(|f| f.peak_rss_bytes).max()?;
        let first = rounds.into_iter().next()?;
        Some(Figures { rows_per_s, rows_per_cpu_s, update_rows_per_cpu_s, predict_rows_per_cpu_s, peak_rss_bytes, ..first })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str =
        r#"{"runs":[0.5,1.0],"rows_per_s":10,"rows_per_cpu_s":15,"update_rows_per_cpu_s":20,"predict_rows_per_cpu_s":5,"note":"n"}"#;

    #[test]
    fn both_sides_are_read_alike() {
        let peer = all()[HEADS.len()].figures("d", PEER, 7).unwrap();
        let said = r#"[{"learn_rows_per_s":10,"head":"slda","runs":[
            {"accuracy":0.5,"rows":30,"learn_cpu_s":2,"head_cpu_s":0.5,"seed":0},{"accuracy":1.0,"rows":30,"learn_cpu_s":2,"head_cpu_s":0.5,"seed":0}]}]"#;
        let ours = base().figures("d", said, 7).unwrap();
        assert_eq!((ours.accuracy, ours.accuracy_std, ours.rows_per_s), (0.75, 0.25, 10.0));
        let alike = Figures { peer: ours.peer.clone(), note: ours.note.clone(), predict_rows_per_cpu_s: None, ..peer };
        assert_eq!(alike, ours);
        let json = serde_json::to_value(&ours).unwrap();
        for key in ["peer", "data", "accuracy", "rows_per_s", "peak_rss_bytes"] {
            assert!(!json[key].is_null(), "{key}");
        }
        assert!(base().figures("d", "[]", 7).unwrap_err().to_string().contains("no head"));
    }

    #[test]
    fn programs_have_names_of_their_own_and_unknown_ones_are_refused_with_the_list() {
        for program in all() {
            assert_eq!(named(&program.name()), Ok(program));
        }
        assert!(named("slda").unwrap_err().starts_with("expected one of wheatear-slda, "));
    }

    #[test]
    fn of_several_rounds_the_median_speed_and_the_largest_memory_count() {
        let figures = |rows_per_s, peak| Figures { rows_per_s, ..all()[HEADS.len()].figures("d", PEER, peak).unwrap() };
        let of = Figures::over_rounds(vec![figures(3.0, 1), figures(1.0, 9), figures(2.0, 4)]).unwrap();
        assert_eq!((of.rows_per_s, of.peak_rss_bytes), (2.0, 9));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(Figures::over_rounds(Vec::new()), None);
    }
}
