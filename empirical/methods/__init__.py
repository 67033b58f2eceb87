"""Unlearning methods, one file each: the batches they read and their loss terms."""
