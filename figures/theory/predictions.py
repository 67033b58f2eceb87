"""What the theory predicts for networks, written down before the study was read: signs and sizes, and what was seen.

Every prediction is a sum of signed terms, each a measure of one rule in one setting, taken at matched forgetting. The
theory's value comes from the sweep `expectations` (two-layer network, s = 0.5: below the boundary of SGD); the observed
one from NegGrad runs of a study of real images, paired by training seed and forget set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import outside_legend, panel_grid, points
from figures.drawing.style import WIDE, Theme
from figures.tables.floor import with_references
from figures.tables.names import family
from figures.tables.records import Records, alike
from figures.tables.runs import LANDSCAPE, run_caption, unlearn_table
from figures.tables.texts import effect_text
from figures.tables.theory import sweep_record, sweep_table
from figures.tables.trajectories import matched_rows, trajectory_rows
from repro.records.record import Record
from repro.statistics.answers import BY_SIDE, OPEN, common_word
from repro.statistics.effects import FEWEST, Table
from repro.statistics.seeds import Row, by_setting, interval, over_settings, simultaneous, typical_floor

CLOCK, KEPT = "clock", "kept"
# Retraining must change forget accuracy by this much: halfway to a model like the original is no forgetting.
LEAST_WAY = 0.05
SWEEP = "expectations"
SAME = ["difficulty", "forget_set", "seed", "unlearn_seed"]
SETTING = ["compared_rule", "after", "difficulty", "forget_set"]
# What the predictions compare; everything else is one setting, but the rate.
VARIED = ("method", "rule", "pretrain", "difficulty", "alpha")


@dataclass(frozen=True)
class ErrorTerm:
    """One term of a prediction.

    Attributes:
        sign: +1 or -1.
        rule: key of `NETWORK_RULES` and `THEORY_RULES`.
        pretrain: family of the pretraining rule: `sgd`, or `sam` for any sharpness-aware one.
        alpha: weight of the retain loss.
    """

    sign: int
    rule: str
    pretrain: str = "sgd"
    alpha: float = 0.9


@dataclass(frozen=True)
class Forecast:
    """A sentence about networks that the theory may be held to.

    Attributes:
        name: short and unique; sentence: what is predicted, in words.
        measure: `clock`, log of learning rate x epochs until half of what retraining forgets is forgotten (theory:
            until forget error 0.5), or `kept`, test accuracy there.
        sign: +1 or -1, of the sum of the terms.
        terms: what is added and subtracted.
        recipe: the study that has the settings.
    """

    name: str
    sentence: str
    measure: str
    sign: int
    terms: tuple[ErrorTerm, ...]
    recipe: str = "cifar10"


# Labels of a network's rules; several are settings of their own. The theory counts radii in units of rho_th.
NETWORK_RULES = {
    "sgd": ("sgd",), "SAM": ("sam-0.1", "asam-1.0"), "narrow SAM": ("sam-0.1",), "wide SAM": ("sam-0.3",),
    "SAM on R": ("retain-sam-0.1",), "MinMax": ("minmax-asam-1.0",),
}  # fmt: skip
THEORY_RULES = {
    "sgd": ("sgd", 0.1), "SAM": ("sam", 0.1), "narrow SAM": ("sam", 0.1), "wide SAM": ("sam", 0.3),
    "SAM on R": ("retain_sam", 0.1), "MinMax": ("minmax", 0.1),
}  # fmt: skip


def _versus(ours: str, base: str = "sgd", pretrain: str = "sgd", alpha: float = 0.9) -> tuple[ErrorTerm, ErrorTerm]:
    return ErrorTerm(1, ours, pretrain, alpha), ErrorTerm(-1, base, pretrain, alpha)


PREDICTIONS = (
    Forecast("slower", "SAM forgets more slowly than SGD after SGD pretraining", CLOCK, 1, _versus("SAM")),
    Forecast("slower at .7", "SAM forgets more slowly than SGD after SAM pretraining, at alpha = .7", CLOCK, 1,
               _versus("SAM", pretrain="sam", alpha=0.7), "cifar10-alpha"),
    Forecast("full SAM is the brake", "SAM on R only forgets faster than full SAM", CLOCK, -1,
               _versus("SAM on R", "narrow SAM")),
    Forecast("MinMax brakes", "Sharp MinMax with a mask fixed at the start forgets more slowly than SGD", CLOCK, 1,
               _versus("MinMax")),
    Forecast("radius brakes", "SAM of three times the radius forgets more slowly", CLOCK, 1,
               _versus("wide SAM", "narrow SAM"), "cifar10-radius"),
    Forecast("dearer after SGD", "after SGD pretraining SAM keeps less test accuracy than SGD", KEPT, -1,
               _versus("SAM")),
    Forecast("cheaper after SAM", "after SAM pretraining SAM keeps more test accuracy than SGD", KEPT, 1,
               _versus("SAM", pretrain="sam")),
    Forecast("SAM pretraining pays", "a model pretrained by SAM keeps more test accuracy than one by SGD", KEPT, 1,
               (ErrorTerm(1, "sgd", "sam"), ErrorTerm(-1, "sgd", "sgd"))),
    Forecast("SAM on R, after SGD", "after SGD pretraining SAM on R keeps more test accuracy than full SAM", KEPT, 1,
               _versus("SAM on R", "narrow SAM")),
    Forecast("SAM on R, after SAM", "after SAM pretraining SAM on R keeps more test accuracy than full SAM", KEPT, 1,
               _versus("SAM on R", "narrow SAM", "sam")),
    Forecast("turns", "at alpha = .5, after SAM pretraining, SAM keeps less test accuracy than SGD", KEPT, -1,
               _versus("SAM", pretrain="sam", alpha=0.5), "cifar10-alpha"),
    Forecast("SAM on R does not turn", "at alpha = .5, after SAM pretraining, SAM on R keeps more than SGD", KEPT, 1,
               _versus("SAM on R", pretrain="sam", alpha=0.5), "cifar10-alpha"),
    Forecast("shrinks", "after SAM pretraining SAM's advantage is larger at alpha = .9 than at .5", KEPT, 1,
               (*_versus("SAM", pretrain="sam"), ErrorTerm(-1, "SAM", "sam", 0.5), ErrorTerm(1, "sgd", "sam", 0.5)),
               "cifar10-alpha"),
    Forecast("MinMax is dear", "after SAM pretraining Sharp MinMax keeps less test accuracy than SGD", KEPT, -1,
               _versus("MinMax", pretrain="sam")),
)  # fmt: skip


def expected(records: Records) -> dict[str, dict[str, float]]:
    """Return the theory's value of each prediction with a 95 % interval, by name; empty where the sweep is not run.

    `mean +- 1.96 se`, the standard errors over seeds of all terms added in squares; a rule that forgets in some seeds
    only counts by these seeds, so that its `clock` is a lower bound.
    """
    sweep = sweep_record(records, SWEEP)
    if sweep is None:
        return {}
    table = sweep_table(sweep)
    found = {}
    for one in PREDICTIONS:
        values = [_theory_value(table, term, one.measure) for term in one.terms]
        mean = sum(term.sign * value for term, (value, _) in zip(one.terms, values, strict=True))
        half = 1.96 * float(np.sqrt(sum(error**2 for _, error in values)))
        found[one.name] = {"mean": float(mean), "low": float(mean - half), "high": float(mean + half)}
    return found


def _theory_value(table: Table, term: ErrorTerm, measure: str) -> tuple[float, float]:
    rule, rho = THEORY_RULES[term.rule]
    chosen = (table["unlearn"] == rule) & (table["pretrain"] == term.pretrain) & np.isclose(table["alpha"], term.alpha)
    row = table[chosen & np.isclose(table["rho_scale"], rho)].iloc[0]
    if measure == CLOCK:
        return float(np.log(row["matched_epochs"])), float(row["matched_epochs_se"] / row["matched_epochs"])
    return 1 - float(row["matched_test_error"]), float(row["matched_test_error_se"])


def matched_measures(runs: Sequence[Record]) -> Table:
    """Return one row per NegGrad run with accuracies along the way: its setting, seeds, `clock`, `kept` and `reached`.

    `pretrain` is `sgd` or `sam`, for any sharpness-aware rule, and `after` the rule itself.

    `clock = log(lr x epochs)` until forget accuracy has come halfway to the retrained model's; a run that never comes
    so far has the clock of the whole run, a lower bound, and `kept` NaN. Sets on which retraining changes forget
    accuracy by less than five points are left out.
    """
    columns = ["rule", "pretrain", "after", "alpha", *SAME, "clock", "kept", "reached", "run_id", "floor_test_accuracy"]
    table = with_references(unlearn_table(runs))
    matched = matched_rows(trajectory_rows(runs))
    if matched.empty:
        return pd.DataFrame(columns=pd.Index(columns))
    keep = ["run_id", "lr", "epochs", "alpha", "forget_set", "unlearn_seed", "floor_test_accuracy"]
    ends = ["original_forget_accuracy", "retrained_forget_accuracy"]
    rows = matched.merge(table.reindex(columns=[*keep, *ends]), on="run_id")
    way = (rows["original_forget_accuracy"] - rows["retrained_forget_accuracy"]).abs()
    rows = rows[(rows["method"] == "neggrad") & (way >= LEAST_WAY)]
    share = (rows["gradient_evaluations_matched"] / rows["gradient_evaluations_end"]).where(rows["reached"], 1.0)
    clock = np.log((rows["lr"] * rows["epochs"] * share).astype(float))
    pretraining = {"pretrain": rows["pretrain"].map(_pretraining), "after": rows["pretrain"]}
    return rows.assign(clock=clock, kept=rows["test_matched"], **pretraining)


def _pretraining(rule: str) -> str:
    return "sgd" if family(rule) == "sgd" else "sam"


def term_sums(rows: Table, one: Forecast) -> Table:
    """Return the observed sum of a prediction's terms, one row per setting (`SETTING`) and seed.

    A run that never forgets has a lower bound as its clock. The bound is used where it makes the claim weaker. Where
    it would make the claim stronger, the difference is NaN and, if all else is known, `open`: such a seed speaks
    against the claim by an unknown amount, and the other seeds alone would flatter the claim.
    """
    labels = max((NETWORK_RULES[term.rule] for term in one.terms), key=len)
    parts = pd.concat([_differences_of_rule(rows, one, label) for label in labels], ignore_index=True)
    return parts[parts["difference"].notna() | parts["open"]]


def _differences_of_rule(rows: Table, one: Forecast, label: str) -> Table:
    """Return the sum of terms; a rule with several labels is the one with this label."""
    total: Any = None
    for number, term in enumerate(one.terms):
        names = NETWORK_RULES[term.rule]
        rule = label if label in names else names[0]
        chosen = rows[(rows["rule"] == rule) & (rows["pretrain"] == term.pretrain)]
        chosen = chosen[np.isclose(chosen["alpha"].astype(float), term.alpha)]
        value, reached = chosen[one.measure].astype(float), chosen["reached"].astype(bool)
        bounds = one.measure == CLOCK and term.sign * one.sign > 0  # what must be large may be a lower bound
        value = value.where(reached | bounds)
        noise = chosen["floor_test_accuracy"] if one.measure == KEPT else np.nan
        # Sharpness-aware rules of pretraining are not mixed; one alone is compared with SGD.
        same = [*SAME, *(["after"] if term.pretrain == "sam" else [])]
        part = chosen[same].assign(**{f"term{number}": term.sign * value, f"floor{number}": noise})
        part[f"open{number}"] = ~reached & (one.measure == CLOCK) & (not bounds)
        part[f"known{number}"] = reached | part[f"open{number}"]
        total = part if total is None else total.merge(part, on=[name for name in same if name in total])
    terms, opened, known = ([f"{name}{k}" for k in range(len(one.terms))] for name in ("term", "open", "known"))
    # Every pair of terms differs by the noise of one difference.
    floor = total["floor0"].astype(float) * np.sqrt(len(terms) / 2)
    setting = {"compared_rule": label, "after": total.get("after", "sgd"), "floor": floor}
    setting["open"] = total[opened].any(axis=1) & total[known].all(axis=1)
    return total[SAME].assign(difference=total[terms].sum(axis=1, skipna=False), **setting)


def outcomes(records: Records) -> Table:
    """Return one row per prediction: its sign, the theory's value, the observed mean over settings, and the answer.

    A prediction is observed in one study: the one it names, or else the first that has its settings. If a setting is
    open in some seed, neither the setting nor the mean decides.

    Args:
        records: the records of the studies of real images and of the theory's sweeps.

    Returns:
        Columns `name`, `sentence`, `measure`, `sign`, `recipe`, `expected_{mean,low,high}`, `{mean,low,high,floor}` of
        the mean over settings, `cells`, `seeds` and `answer`.
    """
    rows = {part.study: matched_measures(compared_runs(part)) for part in records.parts}
    theory, found = expected(records), []
    for one in PREDICTIONS:
        places = sorted(rows, key=lambda study: study != one.recipe)
        tried = (term_sums(rows[study], one) for study in places)
        first = next(tried)
        seen = first if len(first) else next((each for each in tried if len(each)), first)
        told, opened = seen.dropna(subset=["difference"]), seen[seen["open"].astype(bool)][SETTING].drop_duplicates()
        settings = by_setting(told, SETTING).merge(opened, on=SETTING, how="outer", indicator="side")
        settings.loc[settings["side"] != "left_only", ["seeds", "low", "high"]] = 0, np.nan, np.nan
        mean = over_settings(told, SETTING) if len(told) and opened.empty else interval([])
        sides = [*_sides(settings, one.sign), _side(mean, one.sign)]
        word = common_word([BY_SIDE[side] for side in sides[:-1]]) if len(settings) else "not run"
        word = BY_SIDE[sides[-1]] if word == OPEN else word  # where each setting is open, their mean may decide
        head = {"name": one.name, "sentence": one.sentence, "measure": one.measure, "sign": one.sign}
        numbers = {f"expected_{end}": value for end, value in theory.get(one.name, {}).items()}
        counts = {"cells": len(settings), "floor": typical_floor(seen), "answer": word, "recipe": one.recipe}
        found.append(head | numbers | {end: mean[end] for end in ("mean", "low", "high", "seeds")} | counts)
    return pd.DataFrame(found)


def _sides(settings: Table, sign: int) -> list[int]:
    """Return +1 for a setting whose two intervals (simultaneous, own) lie on the predicted side, -1 on the other."""
    decides = (settings["seeds"].astype(int) >= FEWEST) & settings["low"].notna()
    both = [(one["low"] > 0).astype(int) - (one["high"] < 0).astype(int)
            for one in (simultaneous(settings[decides]), settings[decides])]  # fmt: skip
    found = pd.Series(0, index=settings.index)
    found[decides] = sign * both[0].where(both[0] == both[1], 0)
    return [int(side) for side in found]


def _side(effect: Row, sign: int) -> int:
    """Return the side of one effect by its own interval, 0 for fewer than three seeds."""
    return sign * (int(effect["low"] > 0) - int(effect["high"] < 0)) if effect["seeds"] >= FEWEST else 0


def compared_runs(records: Records) -> list[Record]:
    """Return the finished runs of a study, if those of one setting differ in nothing but their seeds."""
    finished = [run for run in records.of("unlearn") if run.status == "ok"]
    return alike(finished, (*VARIED, *LANDSCAPE), records.study)


def rows(records: Records) -> list[dict[str, Any]]:
    """Return the table that `repro compare --study` prints, one row per prediction."""
    return [
        {
            "prediction": row["sentence"],
            "of": MEASURES[row["measure"]],
            "sign": f"{row['sign']:+d}",
            "theory": _effect_or_dash(row, "expected_"),
            "observed": _effect_or_dash(row, ""),
            "cells": row["cells"],
            "seeds": row["seeds"],
            "answer": row["answer"],
        }
        for _, row in outcomes(records).iterrows()
    ]


MEASURES = {CLOCK: "log of lr x epochs to half forgotten", KEPT: "test accuracy there"}


def _effect_or_dash(row: Any, prefix: str) -> str:
    ends = {end: row.get(f"{prefix}{end}", np.nan) for end in ("mean", "low", "high")}
    return effect_text(ends) if np.isfinite(ends["mean"]) else "—"


@figure("fig-predictions", place=280, shows="what the theory predicts for networks, and what was seen",
        studies=("cifar10", "cifar10-alpha", "cifar10-radius", "sweeps"))  # fmt: skip
def predictions_and_observations(records: Records, theme: Theme) -> Drawing:
    """Draw every prediction as a line: the theory's value, and what the studies of real images gave."""
    data = outcomes(records)
    seen = data["cells"].sum()
    if not seen and "expected_mean" not in data:
        raise NotRun("the settings that the predictions name")
    figure, axes = panel_grid(1, 2, width=WIDE, height=4.2)
    for panel, measure in zip(axes[0], MEASURES, strict=True):
        _one_measure(panel, data[data["measure"] == measure].iloc[::-1], data, theme)
        panel.set_xlabel(MEASURES[measure])
    outside_legend(figure, axes[0, 1], columns=2, head="mean and 95 % interval; arrows: predicted signs")
    runs = [run for part in records.parts for run in compared_runs(part)] if seen else []
    runs = list({run.run_id: run for run in runs}.values())
    setting = f" {run_caption(unlearn_table(runs))}" if runs else " No network has been run."
    caption = (
        "What the theory predicts for NegGrad on real images, written down before the study was read. Diamond: the "
        "two-layer network at s = 0.5 (forget error 0.5), 95 % over seeds; circle: observed mean over settings (forget "
        "accuracy halfway to the retrained model's) with its 95 % t-interval over training seeds; arrow: the "
        "predicted sign. Radii are in units of rho_th in theory and absolute in networks: signs can be compared, "
        f"sizes only by order.{setting}"
    )
    answers = "; ".join(f"{row.name}: {row.answer}" for row in data.itertuples(index=False))
    missing = tuple(dict.fromkeys(f"{row.name}: repro study run recipes/{row.recipe}.toml"
                                  for row in data.itertuples(index=False) if not row.cells))  # fmt: skip
    return Drawing(data, caption, f"One line per prediction. {answers}.", tuple(runs), missing, figure)


def _one_measure(axes: Any, part: Table, whole: Table, theme: Theme) -> None:
    """Draw the predictions of one measure; the legend names what the whole figure has."""
    axes.axvline(0, color=theme.ink, linewidth=0.8)
    looks = {"expected_": ("theory, two-layer network", 0.15, theme.lines("sgd") | {"marker": "D"}),
             "": ("observed, NegGrad on images", -0.15, theme.lines("sam") | {"marker": "o"})}  # fmt: skip
    for prefix, (name, _, look) in looks.items():
        if whole.get(f"{prefix}mean", pd.Series(dtype=float)).notna().any():
            axes.plot([], [], label=name, **look | {"linestyle": "none"})
    for place, sign in enumerate(part["sign"]):
        axes.annotate("", (0, place), (18 * sign, 0), textcoords="offset points",
                      arrowprops={"arrowstyle": "<-", "color": theme.ink, "alpha": 0.4})  # fmt: skip
    for prefix, (_, shift, look) in looks.items():
        if f"{prefix}mean" in part:
            points(axes, np.arange(len(part)) + shift, part, prefix, flat=True, elinewidth=None, **look)
    axes.set_yticks(range(len(part)), [f"{row.name}\n{row.answer}" for row in part.itertuples(index=False)])
    axes.set_ylim(-0.6, len(part) - 0.4)
