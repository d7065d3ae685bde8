//! The configuration file: what it names need not be said again, the command line goes before it, and what is wrong is named.

use crate::command::run;
use crate::material::{INSTRUMENTS, aisfx, inspect, put_instruments};

#[test]
fn a_configuration_names_backbone_adapter_and_bounds_and_the_command_line_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, file) = (folder.path().join("sounds"), folder.path().join("wheatear.toml"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 3);
    let backbone = aisfx().canonicalize().unwrap();
    let text = format!(
        "[backbone]\nfolder = {backbone:?}\nvariant = \"wave-f32\"\nthreads = 1\n[adapter]\nfolder = \"mine\"\nlatent_bits = 6\nreplay_rows = 500\n\
         [learn]\ndurability = \"label\"\n[classify]\nhead = \"ncm\"\nmin_probability = 0.0\n"
    );
    std::fs::write(&file, &text).unwrap();
    run!("teach", &sounds, "--config", &file).ok();
    let adapter = folder.path().join("mine");
    assert_eq!(inspect(&adapter)["latent_bits"].as_u64(), Some(6));
    let configured = run!("classify", &sounds, "--config", &file, "--json").ok().json();
    let named = run!("classify", &sounds, "--config", &file, "--head", "slda", "--json").ok().json();
    assert_eq!(configured.as_array().unwrap().len(), 9);
    assert_ne!(configured, named, "the head on the command line goes before the configured one");
    let said =
        run!("classify", &sounds, "--backbone", &backbone, "--adapter", &adapter, "--head", "ncm", "--variant", "wave-f32", "--json");
    assert_eq!(said.ok().json(), configured);
    for (from, to, named) in
        [("ncm", "nmc", "nmc"), ("threads = 1", "threads = 0", "backbone.threads"), ("folder = \"mine\"", "fold = 1", "fold")]
    {
        std::fs::write(&file, text.replace(from, to)).unwrap();
        run!("classify", &sounds, "--config", &file).fails(6, &["wheatear.toml", named]);
    }
    run!("classify", &sounds, "--config", folder.path().join("none.toml")).fails(4, &["none.toml"]);
}

#[test]
fn a_board_bounds_the_adapter_and_what_learning_takes_and_a_wrong_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, board, file) = (folder.path().join("sounds"), folder.path().join("board.toml"), folder.path().join("wheatear.toml"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 3);
    let profile = |adapter_mib: u32, memory_mib: u32, head_ms: u32| {
        let text = format!(
            "format = 1\nname = \"small\"\ndescription = \"a small one\"\narch = \"aarch64\"\npage_bytes = 4096\nadapter_mib = {adapter_mib}\n\
             inference_threads = 1\nproviders = [\"cpu\"]\n[learning]\nmemory_mib = {memory_mib}\njudge_rows = 40\nhead_ms = {head_ms}\n"
        );
        std::fs::write(&board, text).unwrap();
    };
    let adapter = folder.path().join("mine");
    std::fs::write(&file, "board = \"board.toml\"\n[adapter]\nfolder = \"mine\"\n").unwrap();
    profile(40, 64, 60_000);
    let large = run!("teach", &sounds, "--config", &file, "--backbone", aisfx(), "--replay-rows", "20000");
    large.fails(11, &["larger than the board", "small", "40 MiB", "--replay-rows"]);
    assert!(!adapter.exists());
    run!("teach", &sounds, "--config", &file, "--backbone", aisfx(), "--replay-rows", "100").ok();
    assert_eq!(inspect_head(&adapter, &board)["judging_rows"].as_u64().map(|n| n <= 60), Some(true));
    run!("teach", &sounds, "--backbone", aisfx(), "--adapter", folder.path().join("new"), "--replay-rows", "10")
        .fails(6, &["replay_rows", "16 to", "found 10", "give another value", "--replay-rows"]);
    profile(8, 64, 60_000);
    for told in [
        run!("teach", &sounds, "--config", &file, "--backbone", aisfx()).ok(),
        run!("classify", &sounds, "--adapter", &adapter, "--board", &board).ok(),
        run!("inspect", &adapter, "--head", "--board", &board).ok(),
    ] {
        assert!(told.err.contains("the board small gives an adapter 8 (adapter_mib)"), "{}", told.err);
    }
    profile(64, 4, 60_000);
    run!("classify", &sounds, "--adapter", &adapter, "--board", &board, "--json").ok();
    // What is corrected is corrected, though no head can be solved for it there.
    let undone = run!("undo", &adapter, "--board", &board).ok();
    assert!(undone.err.contains("more memory than the board") && undone.err.contains("memory_mib of"), "{}", undone.err);
    run!("classify", &sounds, "--adapter", &adapter, "--board", &board).fails(11, &["more memory than the board"]);
    profile(64, 64, 9);
    run!("classify", &sounds, "--adapter", &adapter, "--board", &board).fails(6, &["board.toml", "learning.head_ms", "10 to 600000"]);
}

fn inspect_head(adapter: &std::path::Path, board: &std::path::Path) -> serde_json::Value {
    run!("inspect", adapter, "--head", "--board", board, "--json").ok().json()
}
