"""ToW and its accuracies over a sweep: NegGrad over alpha (fig-alpha), Sharp MinMax over its mask (fig-mask)."""

from figures.catalogue import lacking
from figures.drawing.curves import draw_curves
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.style import Theme
from figures.networks.cells import TOW
from figures.tables.cells import low_polarity, run_caption, swept_studies
from figures.tables.names import rule_label
from figures.tables.records import Records

# Each polarity of the mask takes the look of a rule that cannot appear in that figure otherwise, and has a name.
POLARITY = {False: ("minmax", "large forget gradient forgets (paper)"),
            True: ("sgd", "small forget gradient forgets")}  # fmt: skip


def draw_alpha(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's ToW and accuracies against alpha, the weight of the retain loss, for SGD, SAM and ASAM."""
    runs, table = swept_studies(records, "alpha")
    if not runs:
        return empty_figure(lacking("fig-alpha", "a sweep of alpha"), theme)
    figure, data = draw_curves(table, "alpha", TOW, theme, x_label="alpha (retain weight)",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "ToW and its three accuracies under NegGrad against alpha, the weight of the retain loss; smaller alpha pushes "
        "harder on F. Legend: pretraining → unlearning rule. Lines: means; bands: 95 % t-intervals. Black: retrained "
        f"model (solid), original model (dotted). Grey band: noise floor. {run_caption(runs, table)}"
    )
    tow = data[(data["metric"] == "tow") & data["rule"].notna()]
    ends = tow[tow["alpha"] == tow["alpha"].min()]
    parts = [f"{row.dataset}, {rule_label(row.pretrain)} to {rule_label(row.rule)}, {row.difficulty}: {row.mean:.2f}"
             for row in ends.itertuples()]  # fmt: skip
    alt = f"Curves over alpha. ToW at the smallest alpha, {tow['alpha'].min():g}: " + "; ".join(parts) + "."
    return Drawing(data, caption, alt, tuple(runs), (), figure)


def draw_mask(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and accuracies of Sharp MinMax against the share of weights on the forget side, both polarities."""
    runs, table = swept_studies(records, "mask_fraction", ("switches",))
    if not runs:
        return empty_figure(lacking("fig-mask", "a sweep of the mask cutoff"), theme)
    looks = low_polarity(table).map(POLARITY)
    table = table.assign(rule=[rule for rule, _ in looks], line=[name for _, name in looks])
    figure, data = draw_curves(table, "mask_fraction", TOW, theme, x_label="mask cutoff (share)",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "Sharp MinMax against the cutoff of its mask: the share of weights given to forgetting. Two "
        "polarities: the weights of large forget gradient forget, as in the paper, or those of small gradient. "
        f"Lines: means; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    alt = "Curves of ToW and three accuracies over the mask cutoff, a line a polarity."
    return Drawing(data, caption, alt, tuple(runs), (), figure)
