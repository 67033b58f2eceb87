"""Beneath everything: settings and their checks, errors, words, how a process ends."""
