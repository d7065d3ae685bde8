//! Class names: a stored one is taken as it is or not at all, and a typed one becomes one that is taken.

use wheatear::learn::ClassName;
use wheatear::learn::class::NAME_LEN_MAX_BYTES;

/// Takes `data` as a stored name, and as a typed one.
pub fn run(data: &[u8]) {
    if let Ok(name) = ClassName::from_canonical(data) {
        assert_eq!(name.as_str().as_bytes(), data);
        assert!(!data.is_empty() && data.len() <= NAME_LEN_MAX_BYTES);
        if !name.is_retired() {
            assert_eq!(ClassName::new(name.as_str()).expect("a canonical name can be typed"), name);
        }
        retired(&name);
    }
    if let Ok(Ok(name)) = std::str::from_utf8(data).map(ClassName::new) {
        assert!(!name.is_retired(), "a retired name cannot be typed");
        assert_eq!(ClassName::from_canonical(name.as_str().as_bytes()).expect("a typed name is canonical"), name);
        retired(&name);
    }
}

fn retired(name: &ClassName) {
    let retired = name.retired();
    assert!(retired.is_retired() && retired.retired() == retired);
    assert_eq!(ClassName::from_canonical(retired.as_str().as_bytes()).expect("a retired name is canonical"), retired);
    assert!(ClassName::new(retired.as_str()).is_err(), "a retired name cannot be typed");
}

/// Names of several scripts, in both normal forms, and a retired one.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let retired = ClassName::new("wren").expect("a good name").retired();
    let named = [
        ("plain", "carrion crow"),
        ("slash", "AC/DC \\ hum"),
        ("composed", "Zaunk\u{f6}nig"),
        ("decomposed", " Zaunko\u{308}nig\n"),
        ("japanese", "みそさざい"),
        ("hangul", "\u{1100}\u{1161}\u{11a8}"),
        ("emoji", "🐦\u{200d}⬛"),
        ("retired", retired.as_str()),
    ];
    named.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}
