"""Figures and tables drawn from records alone: this package imports neither torch nor the code that ran them.

Rooms, each importing only those above it: `tables` (records to frames), `drawing` (look, files), `marks`, `catalogue`
(`@figure`, and every figure by name), `answers` (what the records say on each claim, and `paper_repro.md`), `networks`
and `theory` (what is drawn, by subject), `report` (the HTML page).

What the figures read, by record kind (see `repro.records.store.Record`):

- `theory`, `theory_claim`, `theory_measurement`, `theory_sweep`: runs, answers, measurements and grids of the theory.
- `unlearn`: one network setting and seed; `result` is flat, and a number of the original or retrained model has that
  model's name in front (`mia_correctness`, `retrained_mia_correctness`). Arrays, with `<model>` in original, retrained,
  unlearned: `landscape_<model>_<set>` (k, k) over `landscape_axis` (k,), set in forget, test; `attack_roc_tpr_<model>`
  over `attack_roc_fpr`; `margin_<model>`, one value per forget sample; `features_<model>` (samples, dims) with `labels`
  (samples,) and `is_forget` (samples,) boolean, the same samples in the same order for every model.
  `result["parents"]["forget_set"]` names its forget set, so that retrained models of several seeds on one set give the
  noise floor (`figures.tables.floor`). An epoch row may hold `accuracies`, a list of `{"progress",
  "gradient_evaluations", "retain", "forget", "test"}` (`figures.tables.trajectories`); `choice` and `choice_details`
  say how its learning rate was found (`figures.networks.search`). Which metrics a run has:
  `figures.tables.records.measured`.
- `choice`: a run of a study's learning-rate search, like `unlearn`.
- `evaluation`, pooled over runs: KLoM and U-LiRA (`figures.tables.evaluations`).
"""
