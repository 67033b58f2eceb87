"""How a study's hyper-parameter was chosen (tab-choice): the whole curve of every case, and where its winner stands."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.tables.cells import CASE, CELL, LANDSCAPE, TUNED, alike, label, original_accuracy, unlearn_table
from figures.tables.intervals import Table
from figures.tables.names import family, method_label, method_order, rule_label, rule_order, set_order
from figures.tables.records import Records
from repro.records.record import Record

ROW = list(CASE)
COLUMNS = [*ROW, "candidate", "tow", "runs", "chosen", "state"]
INTERIOR, EDGE = "interior", "edge"
NOTHING = "no better than doing nothing"


def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW in percent of every candidate of every case, the winner marked, and whether it stands on an edge."""
    runs = records.comparable(records.of("choice"), (*ROW, "method_options", *TUNED, *LANDSCAPE))
    if not runs:
        return empty_table(lacking("tab-choice", "runs that choose"), COLUMNS)
    name = max(TUNED, key=lambda field: len({run.config.get(field) for run in runs}))
    own = [run for run in records.of("unlearn") if _of_this_study(run, runs[0])]
    cells = alike(records, own, (*CELL, *LANDSCAPE))
    runs = _of_these_cells(runs, cells, name)
    table, stated = unlearn_table(runs), stated_choices(cells)
    data = _scores(table, name, stated)
    data = data.assign(state=_states(data, stated))
    caption = (
        f"ToW in percent of every candidate for {name}; marked * is the one the study uses. Winner: "
        f"{INTERIOR} where candidates on both sides were tried, {EDGE} where it is the least or the greatest tried, "
        f"'{NOTHING}' where the least one lies within the noise floor of the original model. "
    )
    cases = data.drop_duplicates(ROW)
    edges = int((cases["state"] == EDGE).sum())
    caption += f"{edges} of {len(cases)} winners stand on an edge. "
    alt = f"A table of {len(cases)} rows, a method, rule, forget set and pretraining rule each: ToW by {name}."
    return Drawing(data, caption + _setting(runs, table), alt, tuple(runs), display=_display(data, name, stated))


def _scores(table: Table, name: str, stated: dict[tuple[Any, ...], dict[str, Any]]) -> Table:
    """Return one row a case and candidate; a candidate with a run that diverged has no ToW.

    Chosen is what the study's own records state, else the candidate with the highest ToW.
    """
    tow = table["tow"].astype(float) if "tow" in table else pd.Series(float("nan"), index=table.index)
    table = table.assign(tow=tow.where(table["status"] == "ok"), candidate=table[name])
    found = table.groupby([*ROW, "candidate"])["tow"].agg(["mean", "size", "count"]).reset_index()
    found["tow"] = found["mean"].where(found["size"] == found["count"])
    highest = found.dropna(subset=["tow"]).groupby(ROW)["tow"].idxmax()
    cases = list(found[ROW].itertuples(index=False, name=None))
    chosen = [stated[case]["value"] == candidate if case in stated else best for case, candidate, best in
              zip(cases, found["candidate"], found.index.isin(highest), strict=True)]  # fmt: skip
    return found.assign(runs=found["size"], chosen=chosen)[COLUMNS[:-1]]


def _of_these_cells(runs: Sequence[Record], cells: Iterable[Record], name: str) -> list[Record]:
    """Return the candidates of a study's cells: others of a case are of another study, for more epochs, say."""
    rest = lambda run: [run.config.get(field) for field in TUNED if field != name]  # noqa: E731
    fixed = {_case(run): rest(run) for run in cells}
    return [run for run in runs if fixed.get(_case(run), rest(run)) == rest(run)]


def _case(run: Record) -> tuple[object, ...]:
    return tuple(label(run, name) for name in ROW)


def _of_this_study(run: Record, candidate: Record) -> bool:
    """Return whether a run belongs to the study that a candidate was tried for: other studies have choices too."""
    return all(run.config.get(name) == candidate.config.get(name) for name in ("dataset", "data", "n_train", "model"))


def stated_choices(runs: Iterable[Record]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return what the records of the study itself say of each case: `value`, `state`, and where known `original_tow`.

    `result["choice"]` is the state, with its numbers in `result["choice_details"]`, or a mapping of both; an empty
    state is a choice still under way.
    """
    found = {}
    for run in runs:
        if stated := run.result.get("choice"):
            details = run.result.get("choice_details") or {}
            said = stated if isinstance(stated, dict) else details | {"state": stated}
            if said.get("value") is not None:
                found[_case(run)] = said
    return found


def _states(data: Table, stated: dict[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    """Return the state of each row's case: what the study's own records say, else where the winner stands."""
    states = {}
    for key, case in data.groupby(ROW):
        chosen = case[case["chosen"]]["candidate"]
        inside = len(chosen) and case["candidate"].min() < chosen.iloc[0] < case["candidate"].max()
        place = INTERIOR if inside else EDGE if len(chosen) else "all diverged"
        states[key] = stated[key]["state"] if key in stated else place
    return [states[key] for key in data[ROW].itertuples(index=False, name=None)]


def _display(data: Table, name: str, stated: dict[tuple[Any, ...], dict[str, Any]]) -> Table:
    methods, rules, sets = method_order(data), rule_order(data), set_order(data)
    candidates = sorted(set(data["candidate"]))

    def place(key: tuple[str, ...]) -> tuple[Any, ...]:
        method, rule, pretrain, difficulty = key
        return methods.index(method), rules.index(rule), sets.index(difficulty), family(pretrain) != "sgd", pretrain

    rows = []
    groups = dict(iter(data.groupby(ROW, sort=False)))
    for key in sorted(groups, key=place):
        texts = {row.candidate: _text(row.tow, row.chosen) for row in groups[key].itertuples()}
        method, rule, pretrain, difficulty = key
        head = {"method": method_label(method), "unlearn": rule_label(rule), "forget set": difficulty,
                "pretrain": rule_label(pretrain), "winner": groups[key]["state"].iloc[0]}  # fmt: skip
        nothing = stated.get(key, {}).get("original_tow")
        head["do nothing"] = "—" if nothing is None else f"{100 * nothing:.2f}"
        rows.append(head | {f"{name} {one:g}": texts.get(one, "—") for one in candidates})
    return pd.DataFrame(rows)


def _text(tow: float, chosen: bool) -> str:
    return "diverged" if pd.isna(tow) else f"{100 * tow:.2f}{' *' if chosen else ''}"


def _setting(runs: Sequence[Record], table: Table) -> str:
    first = runs[0].config
    seeds = ", ".join(map(str, sorted(table["seed"].unique())))
    return (
        f"Setting: {first.get('dataset')}, {first.get('model')}, training seed {seeds}, which the study does not use. "
        f"{original_accuracy(table)}"
    )
