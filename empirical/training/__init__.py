"""Gradient rules, batches and the training loop; optimizers step nowhere else.

rules       how a loss becomes a gradient
batches     which rows each step reads
step        one update: augmentation, gradient, optimizer; graph: the same as a CUDA graph
loop        a stage's epochs, with schedule, observers and checkpoints (checkpoint, together)
"""
