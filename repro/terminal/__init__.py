"""What a terminal or a log sees: options, tables, live lines, trackers, citations."""
