"""Data sets, their files, and which images are forgotten.

images                        a data set as tensors
builtin, files, folders, hub  where it comes from
source                        its files and their digest, which is part of every run's id
stream, memory                images that are read when they are asked for: from disk, or a user's own
forget, memorization          which images are forgotten, and how strongly each is memorized
"""
