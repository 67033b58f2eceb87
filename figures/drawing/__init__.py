"""Drawing: the look of rules, the marks that figures share, curves over a sweep, and the files a drawing becomes."""
