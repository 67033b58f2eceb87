"""Models from and for the outside: files with cards, and unlearning in memory."""
