"""The lowest layer: settings and their checks, errors, the glossary, verdicts, how a process ends."""
