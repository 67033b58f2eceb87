"""Beneath everything: settings and their checks, errors, words, verdicts, how a process ends."""
