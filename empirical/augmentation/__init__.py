"""Augmentation during training, and corruptions of the training images."""
