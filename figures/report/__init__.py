"""The HTML report that `repro paper report` writes: one self-contained page, with its template, style and script."""
