"""Figures and tables drawn from records alone: this package imports neither torch nor the code that ran them.

What the figures read, by record kind (see `repro.store.Record`):

- `theory`, `theory_claim`, `theory_sweep`: cells, verdicts and grids of the exact theory.
- `unlearn`: one network cell and seed; `result` is flat. Optional arrays, one value a sample of the forget set unless
  said otherwise: `margin_<model>` for `<model>` in original, retrained, unlearned; `mia_member_scores`,
  `mia_nonmember_scores` (attack scores, larger = more like a member); `relearn_epochs`, `relearn_forget_accuracy`,
  `relearn_retrained_forget_accuracy` (one value a relearning epoch).
- `embedding`: arrays `features_<model>` (samples, dims), `labels` (samples,), `is_forget` (samples,) boolean; the same
  samples in the same order for every model; result numbers `<model>_<measure>` such as `unlearned_entanglement_wp`.
- `landscape`: arrays `loss_<model>_<set>` (k, k) over `[-radius, radius]^2`; result `radius` and
  `<model>_<set>_curvature`, `<model>_<set>_basin_ratio`.
"""
