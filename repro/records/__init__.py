"""The floor: settings, identity, the store of runs, committed packs, provenance and errors."""
