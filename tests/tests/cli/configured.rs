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
