"""Metrics: each is a function from an evaluation to named numbers.

evaluation, outputs  what a metric sees of a run: logits and features of its three models
pooled               metrics of many runs, which differ in their seeds
the others           one file a family of metrics
"""
