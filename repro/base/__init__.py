"""The lowest layer: settings and their checks, errors, the glossary, how a process ends."""
