//! The sounds of the long proofs: every clip below a folder whose folders are classes, in an order drawn from a seed, again and again.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wheatear::{Error, ErrorKind, Result};

/// A clip and what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clip {
    /// Name of its folder.
    pub class: String,
    /// The file.
    pub path: PathBuf,
}

/// Clips without an end.
pub struct Clips {
    all: Vec<Clip>,
    next: usize,
    random: ChaCha8Rng,
}

impl Clips {
    /// Of the folders of classes in each of `sets`.
    ///
    /// # Errors
    /// `Missing` where there is none.
    pub fn new(sets: &[PathBuf], seed: u64) -> Result<Clips> {
        let mut all = Vec::new();
        for set in sets {
            for class in list(set)?.into_iter().filter(|p| p.is_dir()) {
                let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
                all.extend(list(&class)?.into_iter().filter(|path| path.is_file()).map(|path| Clip { class: name.clone(), path }));
            }
        }
        if all.is_empty() {
            let sets: Vec<String> = sets.iter().map(|s| s.display().to_string()).collect();
            return Err(Error::new(ErrorKind::Missing, "there is no sound").at(sets.join(", ")).cure("cargo xtask setup makes it"));
        }
        all.sort();
        let next = all.len();
        Ok(Clips { all, next, random: ChaCha8Rng::seed_from_u64(seed) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }
}

impl Iterator for Clips {
    type Item = Clip;

    fn next(&mut self) -> Option<Clip> {
        if self.next == self.all.len() {
            self.next = 0;
            // Fisher & Yates.
            for i in (1..self.all.len()).rev() {
                self.all.swap(i, self.random.random_range(0..=i));
            }
        }
        self.next += 1;
        Some(self.all[self.next - 1].clone())
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e).cure("cargo xtask setup makes it"))?;
    Ok(entries.filter_map(|e| e.ok().map(|e| e.path())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_comes_once_in_each_round_in_an_order_of_the_seed() {
        let dir = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            std::fs::create_dir(dir.path().join(class)).unwrap();
            (0..20).for_each(|n| std::fs::write(dir.path().join(class).join(n.to_string()), b"").unwrap());
        }
        let round = |clips: &mut Clips| clips.take(40).collect::<Vec<Clip>>();
        let of = |seed| Clips::new(&[dir.path().to_owned()], seed).unwrap();
        let (mut one, mut same) = (of(1), of(1));
        let (first, second) = (round(&mut one), round(&mut one));
        assert_eq!((&first, &second), (&round(&mut same), &round(&mut same)));
        assert!(first != second && first != round(&mut of(2)));
        for mut all in [first, second] {
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 40);
            assert!(all.iter().all(|c| c.path.parent().unwrap().ends_with(&c.class)));
        }
        assert_eq!(Clips::new(&[dir.path().join("a")], 1).err().unwrap().kind(), ErrorKind::Missing);
    }
}
