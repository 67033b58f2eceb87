"""The steps of training in Gram space: compiled for one network, and in plain numpy for many at once."""
