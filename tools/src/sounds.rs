//! Sounds on disk: which files are sounds, and how each is labelled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wheatear::learn::{ClassName, LabelSet};
use wheatear::{Error, ErrorKind, Result};

use wheatear::learn::label_text;

const EXTENSIONS: &[&str] = &["wav", "wave", "flac", "ogg", "oga", "mp3", "aif", "aiff"];
const MAX_DEPTH: usize = 32;
/// Name of the optional list inside a folder of sounds: lines of `file,class`, where class may be a label set.
pub const LABELS_FILE: &str = "labels.csv";
/// Name of the sub-folder with sounds of no class.
pub const BACKGROUND_FOLDER: &str = "_background";

/// A sound and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The file.
    pub path: PathBuf,
    /// What it is, and is not.
    pub labels: LabelSet,
}

/// True when the name ends like a sound's.
pub fn is_sound(path: &Path) -> bool {
    path.extension().is_some_and(|x| EXTENSIONS.iter().any(|s| x.eq_ignore_ascii_case(s)))
}

/// Sounds under `folder`, sorted, at most 32 folders deep; links to folders are not followed, hidden files are left out.
///
/// # Errors
/// `Missing` or `Storage` when a folder cannot be read, `Input` when there are no sounds.
pub fn sounds_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(folder, 0, &mut found)?;
    found.sort();
    if found.is_empty() {
        return Err(Error::new(ErrorKind::Input, "the folder holds no sounds")
            .at(folder.display())
            .expected(EXTENSIONS.join(", "))
            .cure("check the path"));
    }
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io("read the folder of sounds", folder, e))? {
        let entry = entry.map_err(|e| Error::io("read the folder of sounds", folder, e))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|e| Error::io("read", entry.path(), e))?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, found)?;
        } else if is_sound(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// The sounds of `folder` with their labels: from its `labels.csv` when there is one, else the class is the name of the sub-folder, and
/// those in `_background` are of none. Sorted by labels, then by path.
///
/// # Errors
/// `Input` when there are no classes, a class name is not usable, or a line of the list is wrong; `Missing` when a listed
/// file is not there.
pub fn labelled_in(folder: &Path) -> Result<Vec<Labelled>> {
    let list = folder.join(LABELS_FILE);
    let mut all = if list.is_file() { from_list(folder, &list)? } else { from_folders(folder)? };
    all.sort_by(|a, b| (&a.labels, &a.path).cmp(&(&b.labels, &b.path)));
    Ok(all)
}

fn from_folders(folder: &Path) -> Result<Vec<Labelled>> {
    let mut all = Vec::new();
    let mut loose = 0;
    let mut spelled: BTreeMap<ClassName, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io("read the folder of classes", folder, e))? {
        let path = entry.map_err(|e| Error::io("read the folder of classes", folder, e))?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && is_sound(&path) && !hidden {
            loose += 1;
        }
        if !path.is_dir() || hidden {
            continue;
        }
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
            Error::new(ErrorKind::Input, "a folder's name is not UTF-8, so it cannot name a class").at(path.display()).cure("rename it")
        })?;
        let class = ClassName::new(name).map_err(|e| e.cure("rename the folder, or list the sounds in labels.csv"))?;
        let mut sounds = Vec::new();
        walk(&path, 1, &mut sounds)?;
        if sounds.is_empty() {
            log::warn!("{}: no sounds in this class, left out", path.display());
            continue;
        }
        if let Some(other) = spelled.insert(class.clone(), path.clone()) {
            return Err(Error::new(ErrorKind::Input, "two folders name the same class")
                .at(format!("{} and {}", other.display(), path.display()))
                .cure("merge them"));
        }
        if name.eq_ignore_ascii_case("background") {
            let path = path.display();
            log::warn!("{path}: taught as a class of this name; for sounds of no class name the folder {BACKGROUND_FOLDER}");
        }
        let labels = if name == BACKGROUND_FOLDER { LabelSet::background() } else { LabelSet::single(class) };
        all.extend(sounds.into_iter().map(|path| Labelled { path, labels: labels.clone() }));
    }
    if loose > 0 && !all.is_empty() {
        log::warn!("{}: {loose} sounds lie beside the folders of the classes, and belong to none: left out", folder.display());
    }
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Input, "no classes in this folder")
            .at(folder.display())
            .expected("one sub-folder a class with sounds in it, or a labels.csv of lines file,class")
            .cure("for instance: birds/wren/a.wav, birds/robin/b.mp3, then give birds"));
    }
    Ok(all)
}

fn from_list(folder: &Path, list: &Path) -> Result<Vec<Labelled>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(list).map_err(|e| bad_line(list, 1, &e.to_string()))?;
    let header = reader.headers().map_err(|e| bad_line(list, 1, &e.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
    let (Some(file), Some(class)) = (column("file"), column("class")) else {
        return Err(bad_line(list, 1, &format!("columns {}", header.iter().collect::<Vec<_>>().join(", "))));
    };
    let mut all = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let line = i + 2;
        let record = record.map_err(|e| bad_line(list, line, &e.to_string()))?;
        let (Some(file), Some(class)) = (record.get(file), record.get(class)) else {
            return Err(bad_line(list, line, "too few columns"));
        };
        let path = folder.join(file);
        if !path.is_file() {
            return Err(Error::new(ErrorKind::Missing, "a listed sound is not there")
                .at(format!("{} line {line}: {}", list.display(), path.display()))
                .cure("correct the list; paths are relative to its folder"));
        }
        all.push(Labelled {
            path,
            labels: label_text::parse(class)
                .map_err(|e| e.at(format!("{} line {line}: {}", list.display(), class.chars().take(80).collect::<String>())))?,
        });
    }
    if all.is_empty() {
        return Err(bad_line(list, 2, "no sounds"));
    }
    Ok(all)
}

fn bad_line(list: &Path, line: usize, found: &str) -> Error {
    Error::new(ErrorKind::Input, "the list of labels cannot be used")
        .at(format!("{} line {line}", list.display()))
        .expected("a header line file,class and one line a sound; class as in wren, wren;robin, !wren or !*")
        .found(found)
        .cure("correct the list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
    }

    #[test]
    fn sub_folders_name_the_classes_in_any_script_and_one_has_those_of_none() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "みそさざい/a.wav",
                "carrion crow/deep/b.MP3",
                "carrion crow/notes.txt",
                "empty/readme",
                ".git/c.wav",
                "loose.wav",
                "_background/wind.wav",
            ],
        );
        let all = labelled_in(dir.path()).unwrap();
        let seen: Vec<(String, String)> =
            all.iter().map(|l| (label_text::text(&l.labels), l.path.file_name().unwrap().to_string_lossy().into_owned())).collect();
        let wanted = [("!*", "wind.wav"), ("carrion crow", "b.MP3"), ("みそさざい", "a.wav")];
        assert_eq!(seen, wanted.map(|(labels, file)| (labels.to_owned(), file.to_owned())));
    }

    #[test]
    fn a_list_gives_names_that_no_folder_can_have() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["a.wav", "b c.wav"]);
        std::fs::write(dir.path().join(LABELS_FILE), "class,file\nAC/DC hum, a.wav\n\"x, y\",b c.wav\n").unwrap();
        let all = labelled_in(dir.path()).unwrap();
        assert_eq!(all.iter().map(|l| label_text::text(&l.labels)).collect::<Vec<_>>(), ["AC/DC hum", "x, y"]);
        std::fs::write(dir.path().join(LABELS_FILE), "class,file\nwren,gone.wav\n").unwrap();
        let error = labelled_in(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(error.to_string().contains("line 2"), "{error}");
        std::fs::write(dir.path().join(LABELS_FILE), "sound,label\na.wav,wren\n").unwrap();
        assert_eq!(labelled_in(dir.path()).unwrap_err().kind(), ErrorKind::Input);
    }

    #[test]
    fn a_list_says_several_labels_and_what_a_sound_is_not() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["a.wav", "b.wav", "c.wav"]);
        std::fs::write(dir.path().join(LABELS_FILE), "file,class\na.wav,wren;robin\nb.wav,!wren\nc.wav,!*\n").unwrap();
        let all = labelled_in(dir.path()).unwrap();
        assert_eq!(all.iter().map(|l| label_text::text(&l.labels)).collect::<Vec<_>>(), ["!*", "!wren", "robin;wren"]);
        std::fs::write(dir.path().join(LABELS_FILE), "file,class\na.wav,wren;!wren\n").unwrap();
        let error = labelled_in(dir.path()).unwrap_err();
        assert!(error.to_string().contains("line 2") && error.to_string().contains("wren"), "{error}");
    }

    #[test]
    fn a_folder_without_classes_says_what_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["loose.wav"]);
        let error = labelled_in(dir.path()).unwrap_err();
        assert!(error.to_string().contains("one sub-folder a class"), "{error}");
        assert!(sounds_in(&dir.path().join("none")).is_err());
    }
}
