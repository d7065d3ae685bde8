//! Configurations: what is read is read again from what is written for it.

use wheatear::config::Config;

/// Takes `data` as the text of a configuration.
pub fn run(data: &[u8]) {
    let Ok(Ok(config)) = std::str::from_utf8(data).map(Config::parse) else { return };
    let written = toml::to_string(&config).expect("it was written once");
    let again = Config::parse(&written).unwrap_or_else(|e| panic!("{e}\n{written}"));
    assert_eq!(again, config);
}

/// No key, and every key.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let all = "format = 1\n[backbone]\nfolder = \"b\"\nvariant = \"mel-f16\"\nonnxruntime = \"/opt/x.so\"\nthreads = 2\n\
               [adapter]\nfolder = \"a\"\nlatent_bits = 6\nreplay_rows = 1000\nmax_classes = 20\n\
               [learn]\ndurability = \"label\"\n[classify]\nhead = \"ridge\"\nmin_probability = 0.8\n";
    vec![("empty".into(), Vec::new()), ("all".into(), all.into())]
}
