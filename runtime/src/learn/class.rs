//! Class names and label sets. A name is text in one canonical form, so that the same class written on two devices is the
//! same bytes; a label set says what a window is, and what it is not.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::learn::BlockKind;
use crate::{Error, ErrorKind, Result};

/// First character of a retired class's name.
const RETIRED: char = '\u{1}';
/// Longest class name in bytes of UTF-8.
pub const NAME_LEN_MAX_BYTES: usize = 255;

/// The name of a class: UTF-8 in Unicode normal form C, 1 to 255 bytes, no control characters, no white space at its ends.
///
/// Spaces inside, slashes and any script are fine. Names are ordered by their bytes: this is the canonical class order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassName(String);

impl ClassName {
    /// A name from text as a person typed it: white space at the ends is dropped, the rest brought to normal form C.
    ///
    /// # Errors
    /// `Input` when nothing is left, when it is too long or has a control character: choose another name.
    pub fn new(text: &str) -> Result<ClassName> {
        let name: String = text.trim().nfc().collect();
        ClassName::check(&name)?;
        Ok(ClassName(name))
    }

    /// A name from stored bytes, which must be canonical already: nothing is changed here.
    ///
    /// # Errors
    /// `Corrupt` when they are not what [`ClassName::new`] makes.
    pub fn from_canonical(bytes: &[u8]) -> Result<ClassName> {
        let bad = |found: String| {
            Error::new(ErrorKind::Corrupt, "a stored class name is not canonical").expected("UTF-8 in normal form C").found(found)
        };
        // The length comes first: nothing long is looked at or printed.
        if bytes.len() > NAME_LEN_MAX_BYTES {
            return Err(bad(format!("{} bytes", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| bad(format!("{bytes:02x?}")).because(e))?;
        if let Some(hex) = text.strip_prefix(RETIRED) {
            let whole = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            return if whole { Ok(ClassName(text.to_owned())) } else { Err(bad(format!("{text:?}"))) };
        }
        if text.trim() != text || !is_nfc(text) {
            return Err(bad(format!("{text:?}")));
        }
        ClassName::check(text).map_err(|e| bad(format!("{text:?}")).because(e))?;
        Ok(ClassName(text.to_owned()))
    }

    /// The anonymous name under which the sums of a forgotten class stay, so that the shared scatter stays right while the
    /// name is gone: one control character and 32 hexadecimal digits of the name's SHA-256. It can never be typed, and is
    /// the same on every device, so that retired classes merge. Who guesses a name can confirm it: it hides the name from a
    /// reader, not from an attacker with a dictionary.
    pub fn retired(&self) -> ClassName {
        if self.is_retired() {
            return self.clone();
        }
        let digest = Sha256::digest(self.0.as_bytes());
        let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        ClassName(format!("{RETIRED}{hex}"))
    }

    /// True for a retired class: its sums count, but no head scores it.
    pub fn is_retired(&self) -> bool {
        self.0.starts_with(RETIRED)
    }

    fn check(name: &str) -> Result<()> {
        let bad = |what: &str| Error::new(ErrorKind::Input, what).at(format!("{name:?}"));
        if name.is_empty() {
            return Err(bad("a class needs a name"));
        }
        if name.len() > NAME_LEN_MAX_BYTES {
            return Err(bad("the class name is too long")
                .expected(format!("at most {NAME_LEN_MAX_BYTES} bytes"))
                .found(format!("{} bytes", name.len()))
                .cure("shorten it"));
        }
        if let Some(c) = name.chars().find(|c| c.is_control()) {
            return Err(bad("the class name has a control character").found(format!("{c:?}")).cure("rename it"));
        }
        Ok(())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClassName {
    type Error = Error;
    fn try_from(text: String) -> Result<ClassName> {
        ClassName::from_canonical(text.as_bytes())
    }
}

impl From<ClassName> for String {
    fn from(name: ClassName) -> String {
        name.0
    }
}

impl std::str::FromStr for ClassName {
    type Err = Error;
    fn from_str(text: &str) -> Result<ClassName> {
        ClassName::new(text)
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What is known of a window: the classes it holds and the classes it does not hold. Empty means background: nothing
/// anybody has named.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawLabels", into = "RawLabels")]
pub struct LabelSet {
    positive: BTreeSet<ClassName>,
    negative: BTreeSet<ClassName>,
}

#[derive(Serialize, Deserialize)]
struct RawLabels {
    positive: BTreeSet<ClassName>,
    negative: BTreeSet<ClassName>,
}

impl LabelSet {
    /// A label set from the classes heard and the classes not heard.
    ///
    /// # Errors
    /// `Input` when a class is in both.
    pub fn new(positive: BTreeSet<ClassName>, negative: BTreeSet<ClassName>) -> Result<LabelSet> {
        if let Some(class) = positive.intersection(&negative).next() {
            return Err(Error::new(ErrorKind::Input, "a window cannot both be a class and not be it")
                .at(format!("{class:?}"))
                .cure("keep one of the two labels"));
        }
        Ok(LabelSet { positive, negative })
    }

    /// Exactly one class, which is all that most windows ever get.
    pub fn single(class: ClassName) -> LabelSet {
        LabelSet { positive: BTreeSet::from([class]), negative: BTreeSet::new() }
    }

    /// Background: no class.
    pub fn background() -> LabelSet {
        LabelSet::default()
    }

    /// Classes the window holds.
    pub fn positive(&self) -> &BTreeSet<ClassName> {
        &self.positive
    }

    /// Classes the window does not hold.
    pub fn negative(&self) -> &BTreeSet<ClassName> {
        &self.negative
    }

    /// The kind of block that a row with these labels belongs to.
    pub fn block_kind(&self) -> BlockKind {
        match (self.positive.len(), self.negative.len()) {
            (0, 0) => BlockKind::Background,
            (1, 0) => BlockKind::Latents,
            _ => BlockKind::Mixed,
        }
    }
}

impl TryFrom<RawLabels> for LabelSet {
    type Error = Error;
    fn try_from(raw: RawLabels) -> Result<LabelSet> {
        LabelSet::new(raw.positive, raw.negative)
    }
}

impl From<LabelSet> for RawLabels {
    fn from(labels: LabelSet) -> RawLabels {
        RawLabels { positive: labels.positive, negative: labels.negative }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_slashes_and_any_script_are_names() {
        for text in ["wren", "carrion crow", "AC/DC \\ hum", "Zaunkönig", "みそさざい", "крапивник", "🐦", "a"] {
            let name = ClassName::new(text).unwrap();
            assert_eq!(ClassName::from_canonical(name.as_str().as_bytes()).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn a_retired_class_keeps_one_anonymous_name_that_cannot_be_typed() {
        let wren = ClassName::new("wren").unwrap();
        let retired = wren.retired();
        assert!(retired.is_retired() && !wren.is_retired() && !retired.as_str().contains("wren"));
        assert_eq!((retired.retired(), ClassName::new("wren").unwrap().retired()), (retired.clone(), retired.clone()));
        assert_eq!(ClassName::from_canonical(retired.as_str().as_bytes()).unwrap(), retired);
        assert!(ClassName::new(retired.as_str()).is_err());
        assert!(ClassName::from_canonical(&retired.as_str().as_bytes()[..20]).is_err());
    }

    #[test]
    fn two_spellings_of_one_letter_are_one_class() {
        let composed = ClassName::new("Zaunk\u{f6}nig").unwrap();
        let decomposed = ClassName::new(" Zaunko\u{308}nig\n").unwrap();
        assert_eq!(composed, decomposed);
        assert!(ClassName::from_canonical("Zaunko\u{308}nig".as_bytes()).is_err());
    }

    #[test]
    fn names_are_ordered_by_their_bytes() {
        let mut names = ["ä", "z", "Z", "a b", "a"].map(|t| ClassName::new(t).unwrap());
        names.sort();
        assert_eq!(names.map(String::from), ["Z", "a", "a b", "z", "ä"]);
    }

    #[test]
    fn empty_long_and_control_characters_are_refused() {
        let long = "x".repeat(256);
        for (text, part) in
            [("", "needs a name"), (" \t ", "needs a name"), (&long, "too long"), ("a\u{7}b", "control"), ("a\nb", "control")]
        {
            let e = ClassName::new(text).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Input);
            assert!(e.to_string().contains(part), "{e}");
        }
        assert!(ClassName::new(&"x".repeat(255)).is_ok());
        for bytes in [&b""[..], b" a", b"a\n", b"\xff\xfe", long.as_bytes()] {
            assert_eq!(ClassName::from_canonical(bytes).unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
    }

    #[test]
    fn a_class_that_is_both_heard_and_not_heard_is_refused() {
        let set = |t: &[&str]| t.iter().map(|t| ClassName::new(t).unwrap()).collect::<BTreeSet<_>>();
        let e = LabelSet::new(set(&["wren", "robin"]), set(&["robin"])).unwrap_err();
        assert!(e.to_string().contains("robin"), "{e}");
        assert_eq!(LabelSet::new(set(&["wren", "robin"]), set(&[])).unwrap().block_kind(), BlockKind::Mixed);
        assert_eq!(LabelSet::new(set(&["wren"]), set(&["robin"])).unwrap().block_kind(), BlockKind::Mixed);
        assert_eq!(LabelSet::new(set(&[]), set(&["robin"])).unwrap().block_kind(), BlockKind::Mixed);
        assert_eq!(LabelSet::single(ClassName::new("wren").unwrap()).block_kind(), BlockKind::Latents);
        assert_eq!(LabelSet::background().block_kind(), BlockKind::Background);
    }

    #[test]
    fn stored_labels_are_validated_when_read() {
        let labels = LabelSet::single(ClassName::new("wren").unwrap());
        let bytes = postcard::to_stdvec(&labels).unwrap();
        assert_eq!(postcard::from_bytes::<LabelSet>(&bytes).unwrap(), labels);
        let both: (BTreeSet<String>, BTreeSet<String>) = (BTreeSet::from(["wren".into()]), BTreeSet::from(["wren".into()]));
        assert!(postcard::from_bytes::<LabelSet>(&postcard::to_stdvec(&both).unwrap()).is_err());
        let control: (BTreeSet<String>, BTreeSet<String>) = (BTreeSet::from(["wr\u{1}en".into()]), BTreeSet::new());
        assert!(postcard::from_bytes::<LabelSet>(&postcard::to_stdvec(&control).unwrap()).is_err());
    }
}
