"""Gradient rules, batches and the training loop; optimizers step nowhere else."""
