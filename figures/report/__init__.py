"""The HTML report that `repro report` writes: one self-contained page, with its template, style and script."""
