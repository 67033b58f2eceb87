"""From tables to words: what the records say on each claim of the paper and each question of its reviewers."""
