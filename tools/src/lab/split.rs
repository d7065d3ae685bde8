//! Splits and streams: stratified, grouped folds, the order in which rows arrive, and the file that records both.

use std::collections::BTreeMap;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;

/// One run: the rows learned, in stream order, and the rows tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Seed of the folds and of the order.
    pub seed: u64,
    /// Which fold is tested.
    pub fold: u32,
    /// Rows learned, in stream order.
    pub train: Vec<usize>,
    /// Rows tested.
    pub test: Vec<usize>,
}

/// The stream's tasks and chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Classes of each task.
    pub tasks: Vec<Vec<usize>>,
    /// For each task the chunks of rows, in order.
    pub chunks: Vec<Vec<Vec<usize>>>,
}

/// A generator for one purpose; the same seed and purpose give the same numbers everywhere.
pub fn generator(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

/// Fisher-Yates.
pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        // The modulo's bias is below 2^-40 here.
        items.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
}

/// Chunks of `rows`, of at least so many rows each but the last, whole recordings in random order.
pub fn whole_recordings(rows: &[usize], data: &Data, chunk_rows: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut recordings: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|row| recordings.entry(data.recording[*row]).or_default().push(*row));
    let mut recordings: Vec<Vec<usize>> = recordings.into_values().collect();
    shuffle(&mut recordings, rng);
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    for recording in recordings {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < chunk_rows => chunk.extend(recording),
            _ => chunks.push(recording),
        }
    }
    chunks
}

/// Folds that keep groups whole and classes balanced: groups in random order, then by falling spread of their class
/// counts, each to the fold where the spread of the class shares over folds stays smallest (as scikit-learn's
/// StratifiedGroupKFold does; its random order differs). Returns the fold of each row.
pub fn stratified_group_folds(y: &[usize], group: &[usize], folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let classes = y.iter().max().map_or(0, |m| m + 1);
    let groups = group.iter().max().map_or(0, |m| m + 1);
    let mut counts = vec![vec![0f64; classes]; groups];
    let mut totals = vec![0f64; classes];
    for (c, g) in y.iter().zip(group) {
        counts[*g][*c] += 1.0;
        totals[*c] += 1.0;
    }
    let mut order: Vec<usize> = (0..groups).filter(|g| counts[*g].iter().sum::<f64>() > 0.0).collect();
    shuffle(&mut order, rng);
    let spread: Vec<f64> = counts.iter().map(|c| std(c)).collect();
    order.sort_by(|a, b| spread[*b].total_cmp(&spread[*a]));
    let mut filled = vec![vec![0f64; classes]; folds];
    let mut fold_of = vec![0; groups];
    for g in order {
        let mut best = (f64::INFINITY, f64::INFINITY, 0);
        for f in 0..folds {
            filled[f].iter_mut().zip(&counts[g]).for_each(|(a, b)| *a += b);
            let present = (0..classes).filter(|c| totals[*c] > 0.0);
            let shares: Vec<f64> = present.map(|c| std(&filled.iter().map(|row| row[c] / totals[c]).collect::<Vec<_>>())).collect();
            let uneven = shares.iter().sum::<f64>() / shares.len() as f64;
            let size = filled[f].iter().sum::<f64>();
            filled[f].iter_mut().zip(&counts[g]).for_each(|(a, b)| *a -= b);
            if uneven < best.0 - 1e-12 || (uneven <= best.0 + 1e-12 && size < best.1) {
                best = (uneven, size, f);
            }
        }
        filled[best.2].iter_mut().zip(&counts[g]).for_each(|(a, b)| *a += b);
        fold_of[g] = best.2;
    }
    group.iter().map(|g| fold_of[*g]).collect()
}

fn std(v: &[f64]) -> f64 {
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    (v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / v.len() as f64).sqrt()
}

/// Splits for seeds `0..seeds`: `folds` each, classes in random order, `classes_per_task` of them mixed in a task.
pub fn make(data: &Data, folds: usize, seeds: u64, classes_per_task: usize) -> Vec<Split> {
    let group = &data.recording;
    let mut out = Vec::new();
    for seed in 0..seeds {
        let fold_of = stratified_group_folds(&data.truth, group, folds, &mut generator(seed, 0));
        for fold in 0..folds {
            let mut rng = generator(seed, 1 + fold as u64);
            let test: Vec<usize> = (0..data.rows()).filter(|i| fold_of[*i] == fold).collect();
            let mut classes: Vec<usize> = (0..data.names.len()).collect();
            shuffle(&mut classes, &mut rng);
            let mut train = Vec::with_capacity(data.rows() - test.len());
            for task in classes.chunks(classes_per_task) {
                let start = train.len();
                train.extend((0..data.rows()).filter(|i| fold_of[*i] != fold && task.contains(&data.truth[*i])));
                shuffle(&mut train[start..], &mut rng);
            }
            out.push(Split { seed, fold: fold as u32, train, test });
        }
    }
    out
}

/// Tasks (classes in order of first appearance, `classes_per_task` each) and chunks of at most `chunk_rows` rows, which
/// do not cross tasks.
///
/// # Errors
/// `Input` when the rows of a task do not follow each other.
pub fn stream(split: &Split, y: &[usize], classes_per_task: usize, chunk_rows: usize) -> Result<Stream> {
    let mut order: Vec<usize> = Vec::new();
    for i in &split.train {
        if !order.contains(&y[*i]) {
            order.push(y[*i]);
        }
    }
    let tasks: Vec<Vec<usize>> = order.chunks(classes_per_task).map(<[usize]>::to_vec).collect();
    let mut rows = vec![Vec::new(); tasks.len()];
    let mut now = 0;
    for i in &split.train {
        let task = tasks.iter().position(|t| t.contains(&y[*i])).unwrap_or(0);
        if task < now {
            return Err(Error::new(ErrorKind::Input, "the rows of a task do not follow each other")
                .at(format!("seed {}, fold {}, row {i}", split.seed, split.fold))
                .cure(format!(
                    "order train by task, or set --classes-per-task to the number they were made with (now {classes_per_task})"
                )));
        }
        now = task;
        rows[task].push(*i);
    }
    let chunks = rows.iter().map(|r| r.chunks(chunk_rows).map(<[usize]>::to_vec).collect()).collect();
    Ok(Stream { tasks, chunks })
}

/// Reads splits and checks them against the data.
///
/// # Errors
/// `Input` when the file is not such JSON, a row does not exist, stands twice, or a group stands on both sides.
pub fn read(path: &Path, data: &Data) -> Result<Vec<Split>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let bad = |what: &str| Error::new(ErrorKind::Input, what.to_owned()).at(path.display());
    let splits: Vec<Split> = serde_json::from_str(&text)
        .map_err(|e| bad("not a file of splits").expected(r#"[{"seed","fold","train":[row...],"test":[row...]}]"#).found(e.to_string()))?;
    if splits.is_empty() {
        return Err(bad("there is no split in the file"));
    }
    let group = &data.recording;
    for s in &splits {
        let run = format!("seed {}, fold {}", s.seed, s.fold);
        let mut side = vec![None; data.rows()];
        let mut group_side = vec![None; data.rows()];
        for (rows, is_train) in [(&s.train, true), (&s.test, false)] {
            if rows.is_empty() {
                return Err(bad("a split has no rows to learn or to test").found(run));
            }
            for i in rows {
                let slot = side.get_mut(*i).ok_or_else(|| {
                    bad("a split names a row that does not exist")
                        .expected(format!("0 to {}", data.rows() - 1))
                        .found(format!("{i} ({run})"))
                })?;
                if slot.replace(is_train).is_some() {
                    return Err(bad("a split names a row twice").found(format!("{i} ({run})")));
                }
                if *group_side[group[*i]].get_or_insert(is_train) != is_train {
                    return Err(bad("a recording is both learned and tested").found(format!("group {:?} ({run})", data.group[*i])));
                }
            }
        }
    }
    Ok(splits)
}

/// Writes splits as JSON, one run a line.
///
/// # Errors
/// `Storage` when the file cannot be written.
pub fn write(path: &Path, splits: &[Split]) -> Result<()> {
    let lines: Vec<String> = splits
        .iter()
        .map(|s| serde_json::to_string(s).map_err(|e| Error::new(ErrorKind::Input, "the splits cannot be written").because(e)))
        .collect::<Result<_>>()?;
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheatear::backbone::manifest::EmbeddingScale;

    /// 60 rows, 5 classes, 30 groups of 2 rows.
    fn data() -> Data {
        let y: Vec<i128> = (0..60).map(|i| i / 2 % 5).collect();
        let names: Vec<String> = (0..5).map(|c| format!("class {c}")).collect();
        let group = (0..60).map(|i| format!("g{}", i / 2)).collect();
        Data::new("t", 2, (0..120).map(|i| (i * i % 17) as f32 + 1.0).collect(), &y, &names, group, EmbeddingScale::SqrtDim).unwrap()
    }

    #[test]
    fn folds_keep_groups_whole_and_classes_balanced() {
        let d = data();
        let group = &d.recording;
        let folds = stratified_group_folds(&d.y, group, 3, &mut generator(1, 0));
        for g in 0..30 {
            let of: Vec<usize> = (0..60).filter(|i| group[*i] == g).map(|i| folds[i]).collect();
            assert!(of.windows(2).all(|w| w[0] == w[1]));
        }
        for c in 0..5 {
            for f in 0..3 {
                assert_eq!((0..60).filter(|i| d.y[*i] == c && folds[*i] == f).count(), 4, "class {c} fold {f}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_splits_and_each_row_is_tested_once_a_seed() {
        let d = data();
        let splits = make(&d, 3, 2, 2);
        assert_eq!(splits, make(&d, 3, 2, 2));
        assert_ne!(splits[0].test, splits[3].test);
        for seed in 0..2 {
            let mut tested: Vec<usize> = splits.iter().filter(|s| s.seed == seed).flat_map(|s| s.test.clone()).collect();
            tested.sort_unstable();
            assert_eq!(tested, (0..60).collect::<Vec<_>>());
        }
    }

    #[test]
    fn chunks_do_not_cross_tasks_and_keep_the_order() {
        let d = data();
        for split in make(&d, 3, 1, 2) {
            let s = stream(&split, &d.y, 2, 16).unwrap();
            assert_eq!(s.tasks.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
            assert_eq!(s.chunks.concat().concat(), split.train);
            assert!(s.chunks.iter().zip(&s.tasks).all(|(c, t)| c.concat().iter().all(|i| t.contains(&d.y[*i]))));
            let mut mixed = split.clone();
            mixed.train.reverse();
            mixed.train.swap(0, 39);
            assert!(stream(&mixed, &d.y, 2, 16).unwrap_err().to_string().contains("do not follow each other"));
        }
    }

    #[test]
    fn splits_survive_their_file_and_wrong_files_are_refused() {
        let d = data();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits.json");
        let splits = make(&d, 3, 1, 2);
        write(&path, &splits).unwrap();
        assert_eq!(read(&path, &d).unwrap(), splits);
        for (text, part) in [
            ("no json", "not a file of splits"),
            ("[]", "no split"),
            (r#"[{"seed":0,"fold":0,"train":[0,1],"test":[]}]"#, "no rows"),
            (r#"[{"seed":0,"fold":0,"train":[0,60],"test":[2]}]"#, "does not exist"),
            (r#"[{"seed":0,"fold":0,"train":[0,0],"test":[2]}]"#, "twice"),
            (r#"[{"seed":0,"fold":0,"train":[0,2],"test":[2]}]"#, "twice"),
            (r#"[{"seed":0,"fold":0,"train":[0],"test":[1]}]"#, "both learned and tested"),
        ] {
            std::fs::write(&path, text).unwrap();
            let e = read(&path, &d).unwrap_err();
            assert!(e.to_string().contains(part), "{part}: {e}");
        }
    }
}
