//! Boards: what is read is valid, and is read again from what is written for it.

use wheatear::board::Board;

/// Takes `data` as the text of a board.
pub fn run(data: &[u8]) {
    let Ok(Ok(board)) = std::str::from_utf8(data).map(Board::parse) else { return };
    board.validate().expect("reading checks it");
    let written = toml::to_string(&board).expect("it was written once");
    assert_eq!(Board::parse(&written).unwrap_or_else(|e| panic!("{e}\n{written}")), board);
}

/// One board with a note, one without.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let bench = "format = 1\nname = \"bench\"\ndescription = \"a test bench\"\narch = \"aarch64\"\npage_bytes = 16384\n\
                 adapter_mib = 128\ninference_threads = 3\nproviders = [\"cuda\", \"cpu\"]\n\
                 [learning]\nmemory_mib = 64\njudge_rows = 200\nhead_ms = 1500\n";
    let note = "[[note]]\ntext = \"it hums\"\nsource = \"we listened\"\n";
    vec![("plain".into(), bench.into()), ("note".into(), [bench, note].concat().into())]
}
