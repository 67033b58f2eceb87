"""The command that brings each kind of missing record, as figures and the report print it."""

THEORY = "repro theory --signal-strength 0.5"
CLAIMS = "repro theory claims"
STUDY = "repro empirical grid recipes/digits.toml"
ALPHA = "repro empirical grid recipes/alpha.toml"
SIGNAL = "repro empirical grid recipes/signal-noise.toml"
