"""Images, augmentation, corruptions, and which rows are forgotten."""
