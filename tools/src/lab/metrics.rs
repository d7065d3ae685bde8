//! Measures of class-incremental learning, and intervals for paired differences.

use serde::Serialize;

/// Accuracy of each class, averaged over the classes that are tested.
pub fn mean_class_accuracy(predicted: &[usize], y: &[usize], classes: usize) -> f64 {
    class_accuracy(predicted, y, &(0..classes).collect::<Vec<_>>()).unwrap_or(f64::NAN)
}

/// Accuracy of each of `classes`, averaged; none when none of them is tested.
pub fn class_accuracy(predicted: &[usize], y: &[usize], classes: &[usize]) -> Option<f64> {
    let of_class = |c: usize| {
        let (mut right, mut all) = (0usize, 0usize);
        for (p, t) in predicted.iter().zip(y).filter(|(_, t)| **t == c) {
            right += usize::from(p == t);
            all += 1;
        }
        (all > 0).then(|| right as f64 / all as f64)
    };
    mean(classes.iter().filter_map(|c| of_class(*c)))
}

/// Expected calibration error (Guo 2017, "On calibration of modern neural networks"): of 15 equal ranges of confidence the
/// difference of the mean confidence from the share that is right, weighted by rows. `answers` are confidence and whether right.
pub fn ece(answers: impl IntoIterator<Item = (f32, bool)>) -> f64 {
    const RANGES: usize = 15;
    let (mut sums, mut rows) = ([0f64; RANGES], 0.0);
    for (confidence, right) in answers {
        let range = ((f64::from(confidence) * RANGES as f64).ceil() as usize).clamp(1, RANGES) - 1;
        sums[range] += f64::from(confidence) - f64::from(u8::from(right));
        rows += 1.0;
    }
    sums.iter().map(|s| s.abs()).sum::<f64>() / rows
}

/// Area under the ROC curve: the probability that a positive has a higher score than a negative, equal ones counting half (Mann
/// & Whitney 1947). Not a number when there is only one kind.
pub fn auroc(scores: &[f64], is_positive: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let positives = is_positive.iter().filter(|p| **p).count() as f64;
    let negatives = scores.len() as f64 - positives;
    let (mut below, mut pairs) = (0.0, 0.0);
    for equal in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let here = equal.iter().filter(|i| is_positive[**i]).count() as f64;
        let others = equal.len() as f64 - here;
        pairs += here * (below + 0.5 * others);
        below += others;
    }
    pairs / (positives * negatives)
}

/// Average precision: mean over the positives of the share of positives among all scored at least as high, equal scores in their order.
/// None when there is no positive.
pub fn average_precision(scores: &[f64], is_positive: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let hits = order.iter().enumerate().filter(|(_, i)| is_positive[**i]).map(|(rank, _)| rank);
    mean(hits.enumerate().map(|(found, rank)| (found + 1) as f64 / (rank + 1) as f64))
}

/// Mean of what there is.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0usize);
    for v in values {
        sum += v;
        n += 1;
    }
    (n > 0).then(|| sum / n as f64)
}

/// `matrix[t][j]`: accuracy on task j after learning task t, `j <= t`; absent where a task has no test rows.
pub type Matrix = Vec<Vec<Option<f64>>>;

/// Backward transfer (Lopez-Paz & Ranzato 2017, equation 3): mean over earlier tasks of final accuracy minus accuracy
/// right after the task.
pub fn backward_transfer(matrix: &Matrix) -> f64 {
    let Some((last, earlier)) = matrix.split_last() else { return 0.0 };
    mean(earlier.iter().enumerate().filter_map(|(j, row)| Some(last[j]? - row[j]?))).unwrap_or(0.0)
}

/// Forgetting (Chaudhry 2018): mean over earlier tasks of the best earlier accuracy minus the final one. It counts as
/// forgetting also what merely got harder because there are more classes to tell apart.
pub fn forgetting_max(matrix: &Matrix) -> f64 {
    let Some((last, earlier)) = matrix.split_last() else { return 0.0 };
    let best = |j: usize| earlier.iter().filter_map(|row| *row.get(j)?).reduce(f64::max);
    mean((0..earlier.len()).filter_map(|j| Some(best(j)? - last[j]?))).unwrap_or(0.0)
}

/// Forgetting against joint training: mean over tasks of the accuracy of the same head trained on the same rows mixed,
/// minus its accuracy after the stream. What merely got harder cancels out.
pub fn forgetting(joint: &[Option<f64>], streamed: &[Option<f64>]) -> f64 {
    mean(joint.iter().zip(streamed).filter_map(|(a, b)| Some((*a)? - (*b)?))).unwrap_or(0.0)
}

/// Mean and standard deviation (of the population of runs).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean over the runs.
    pub mean: f64,
    /// Standard deviation over the runs.
    pub std: f64,
}

/// Mean and standard deviation of `values`.
pub fn spread(values: &[f64]) -> Spread {
    let m = mean(values.iter().copied()).unwrap_or(f64::NAN);
    Spread { mean: m, std: mean(values.iter().map(|v| (v - m) * (v - m))).unwrap_or(f64::NAN).sqrt() }
}

/// A paired difference with its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What is subtracted.
    pub minus: String,
    /// Mean difference over the runs.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Paired difference `a - b` over runs, with the corrected resampled t interval (Nadeau & Bengio 2003):
/// variance `(1/k + test/train) s^2`, k - 1 degrees of freedom.
///
/// The runs share rows, so a plain t interval would be too narrow; the correction makes up for it approximately. It says
/// nothing about other data.
pub fn paired_difference(a: &[f64], b: &[f64], minus: &str, test_over_train: f64) -> Difference {
    let d: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    let k = d.len() as f64;
    let m = spread(&d);
    let half =
        if d.len() < 2 { f64::INFINITY } else { t_975(d.len() - 1) * ((1.0 / k + test_over_train) * m.std * m.std * k / (k - 1.0)).sqrt() };
    Difference { minus: minus.to_owned(), mean: m.mean, low: m.mean - half, high: m.mean + half }
}

/// 97.5 % quantile of Student's t; past the table by its expansion, with an error below 0.001.
fn t_975(df: usize) -> f64 {
    const TABLE: [f64; 15] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131];
    let n = df as f64;
    TABLE.get(df.wrapping_sub(1)).copied().unwrap_or(1.959_964 + 2.372_27 / n + 2.822_5 / (n * n) + 2.555_8 / (n * n * n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_the_mean_over_classes_not_over_rows() {
        let (y, p) = ([0, 0, 0, 1], [0, 0, 1, 0]);
        assert!((mean_class_accuracy(&p, &y, 3) - (2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(class_accuracy(&p, &y, &[2]), None);
    }

    #[test]
    fn calibration_is_how_far_confidence_lies_from_what_is_right() {
        // Four at .9 of which three are right; two at .5 of which one is; the sure and right one costs nothing.
        let answers = [(0.9, true), (0.9, true), (0.9, true), (0.9, false), (0.5, true), (0.5, false), (1.0, true)];
        assert!((ece(answers) - 4.0 * 0.15 / 7.0).abs() < 1e-6);
        // Differences of two ranges do not cancel.
        assert!((ece([(0.8, true), (0.2, false)]) - 0.2).abs() < 1e-6);
    }

    #[test]
    fn auroc_counts_the_pairs_in_order_and_half_of_the_equal_ones() {
        let (scores, positive) = ([0.1, 0.4, 0.35, 0.8, 0.4], [false, false, true, true, true]);
        // Of six pairs: .35 > .1, .8 > both, .4 > .1 and .4 = .4.
        assert!((auroc(&scores, &positive) - 4.5 / 6.0).abs() < 1e-12);
        assert!(auroc(&[1.0], &[true]).is_nan());
    }

    #[test]
    fn average_precision_is_the_mean_share_of_positives_down_to_each_of_them() {
        let found = average_precision(&[0.9, 0.8, 0.7, 0.1], &[true, false, true, false]).unwrap();
        assert!((found - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12, "{found}");
        assert_eq!(average_precision(&[0.9], &[false]), None);
    }

    #[test]
    fn transfer_and_forgetting_follow_their_definitions() {
        let m: Matrix = vec![vec![Some(0.9)], vec![Some(0.95), Some(0.8)], vec![Some(0.5), Some(0.6), Some(1.0)]];
        assert!((backward_transfer(&m) - ((0.5 - 0.9) + (0.6 - 0.8)) / 2.0).abs() < 1e-12);
        assert!((forgetting_max(&m) - ((0.95 - 0.5) + (0.8 - 0.6)) / 2.0).abs() < 1e-12);
        assert!((forgetting(&[Some(0.9), None, Some(1.0)], &m[2]) - 0.2).abs() < 1e-12);
    }

    // scipy.stats.t.ppf(0.975, df): 16 -> 2.11991, 30 -> 2.04227, 100 -> 1.98397, 11 -> 2.20099
    #[test]
    fn t_quantiles_match_published_ones() {
        for (df, t) in [(11, 2.20099), (16, 2.11991), (30, 2.04227), (100, 1.98397)] {
            assert!((t_975(df) - t).abs() < 1e-3, "{df}");
        }
    }

    #[test]
    fn equal_results_differ_by_zero_and_one_run_proves_nothing() {
        let d = paired_difference(&[0.9, 0.8], &[0.9, 0.8], "x", 1.0 / 3.0);
        assert_eq!((d.mean, d.low, d.high), (0.0, 0.0, 0.0));
        assert!(paired_difference(&[0.9], &[0.8], "x", 0.3).high.is_infinite());
    }
}
