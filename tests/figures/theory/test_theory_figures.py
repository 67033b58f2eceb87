"""Figures of the theory: marks and lines stand where the records say. Their tables are frozen in tests/golden."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures.catalogue import find
from figures.drawing.drawing import Drawing
from figures.drawing.style import Theme
from figures.tables.records import Records
from repro.records.store import Store
from tests.figures.conftest import claim_rows, panels, save_claims, save_phase, save_phase_diagrams, save_theory

Draw = Callable[[str], Drawing]


@pytest.mark.parametrize(("name", "said"), [
    ("fig-theory-phase", "over 5 seeds"), ("fig-theory-tow", "5 seeds"), ("fig-theory-scaling", "5 seeds"),
    ("fig-theory-survival", "gives the share within 0.010"),
    ("fig-theory-surplus", "linear: 2.00 to 2.00 (closed form 2.00 to 2.00)"),
    ("fig-theory-vs-empirical", "no momentum = 0.9"),
])  # fmt: skip
def test_a_caption_says_the_numbers_of_its_records(drawing: Draw, name: str, said: str) -> None:
    assert said in drawing(name).caption


def test_predictions_are_thin_lines_on_the_curves_they_predict(store: Store) -> None:
    for pretrain, unlearn in itertools.product(("sgd", "sam"), repeat=2):
        save_theory(store, pretrain, unlearn, 0.5, predicted=0.02)
    found = find("fig-theory-trajectories")(Records(store.records()), Theme())
    panel = panels(found)[2]  # test error
    thin = [line for line in panel.get_lines() if line.get_linewidth() == 0.5]
    assert len(thin) == 4
    data = found.data[found.data["metric"] == "test_error"]
    np.testing.assert_allclose(data["predicted"], data["mean"] + 0.02)
    assert sorted(line.get_ydata()[-1] for line in thin) == pytest.approx([0.13, 0.23, 0.33, 0.43])
    assert not [line for line in panels(found)[0].get_lines() if line.get_linewidth() == 0.5]


def test_boundaries_stand_beside_their_crossover_and_the_closed_form_of_the_start(drawing: Draw) -> None:
    found = drawing("fig-theory-phase")
    data = found.data[found.data["claim"] == "theorem-3.2-sgd-boundary"]
    assert data["start_over_learned"].tolist() == [0.1, 0.5, 3.0]
    assert data["strength"].tolist() == data["crossover"].tolist()
    along, beyond, crossing, start = panels(found)
    shaded = crossing.patches[0]
    assert shaded.get_x() + shaded.get_width() == 1.0  # where the hypothesis ends
    assert "beyond" not in along.get_legend().get_texts()[0].get_text()
    assert beyond.get_legend().get_texts()[0].get_text().startswith("beyond: ")
    (points,) = [line for line in start.get_lines() if line.get_marker() == "o"]
    assert list(points.get_xdata()) == [0.8, 1.0, 1.2]


def test_tow_in_theory_is_drawn_by_pretraining_and_strength(drawing: Draw) -> None:
    found = drawing("fig-theory-tow")
    assert len(panels(found)) == 3 * 2  # two pretrainings and the curves, two strengths
    lines = panels(found)[1].get_lines()
    drawn = [line.get_ydata().tolist() for line in lines if line.get_marker() in ("o", "^") and len(line.get_ydata())]
    assert [0.5, 0.5] in drawn  # at s = 1, for both alphas
    curve = panels(found)[4].get_lines()[0]
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([0, 5], [0.3, 0.25])


def test_a_boundary_that_scales_stands_beside_the_mean_field_with_three_exponents_a_corner(drawing: Draw) -> None:
    found = drawing("fig-theory-scaling")
    assert len(found.data) == 2 * 4 * 2  # rules, corners, dimensions
    np.testing.assert_allclose(found.data["boundary"], found.data["axis"] ** 0.25)
    along, _, exponents, _ = panels(found)
    curves: list[Any] = along.get_lines()
    marks, lines = curves[::2], curves[1::2]
    for mark, line in zip(marks, lines, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 1.1 * np.array(mark.get_ydata()))
    assert [mark.get_fillstyle() for mark in marks] == ["none", "none", "full", "full"]  # a = 1/2 is open
    bars: list[Any] = exponents.get_lines()
    derived = [list(line.get_ydata()) for line in bars if line.get_label() in ("derived",)]
    assert derived == [[0.5, 0.5]] * 4
    crosses = next(line for line in bars if line.get_marker() == "x")
    assert list(crosses.get_ydata()) == [0.45] * 4


def test_attacks_are_drawn_by_rule_with_lines_for_the_stages_without_one(drawing: Draw) -> None:
    found = drawing("fig-theory-attacks")
    assert set(found.data["attack"]) == {"membership", "relearning"}
    assert len(panels(found)) == 2 * 2  # attacks, pretrainings
    lines = panels(found)[0].get_lines()
    levels = {line.get_label(): list(line.get_ydata()) for line in lines if len(line.get_ydata()) == 2}
    assert levels["retrained on R"] == [0.55, 0.55]
    assert levels["random start"] == [0.5, 0.5]
    heights = [list(line.get_ydata()) for line in lines if line.get_marker() not in ("", "None", "_")]
    assert [0.4, 0.4] in heights  # SGD
    assert [0.6, 0.6] in heights  # SAM, at both strengths


def test_networks_stand_on_the_lines_of_the_theory_at_their_own_setting(drawing: Draw) -> None:
    found = drawing("fig-theory-vs-empirical")
    key = (found.data[["signal_strength", "pretrain", "unlearn", "stage"]] == [0.5, "sgd", "sam", "after"]).all(axis=1)
    values = found.data[key].set_index("quantity")
    assert values.loc["test_error", "theory"] == pytest.approx(0.31)
    assert values.loc["test_error", "network"] == 0.5
    assert values.loc["kappa", "theory"] == pytest.approx(0.62)  # of R and F together
    assert {record.config.get("model", "patch-cnn") for record in found.records} == {"patch-cnn"}
    assert "resnet8-narrow" not in found.caption, "it is of another study"


def test_the_table_of_agreement_counts_points_and_gives_every_z(drawing: Draw) -> None:
    found = drawing("tab-agreement")
    assert found.display is not None
    lines = found.display.set_index("quantity")
    kappa = found.data[found.data["quantity"] == "kappa"]
    assert lines.loc["kappa", "within 95 %"] == f"{kappa['within'].sum()} of {len(kappa)}"
    assert lines.loc["test error", "distance from matched theory"] == "0.3"  # 0 against 0.3 at strength 1
    assert found.data["z"].notna().all()


def test_a_network_alone_names_the_command_that_brings_its_theory(tmp_path: Path, golden: Store) -> None:
    alone = [record for record in golden.records("unlearn") if record.config["dataset"] == "signal-noise"]
    records = Records(alone)
    for name in ("fig-theory-vs-empirical", "fig-theory-twin", "tab-agreement"):
        (missing,) = find(name)(records, Theme("light")).missing
        assert missing.endswith(": repro compare")


def heights(line: Any) -> list[float]:
    return [float(y) for y in line.get_ydata()]


def thin_lines(axes: Any) -> list[list[float]]:
    return [heights(line) for line in axes.get_lines() if line.get_linewidth() == 0.5]


def test_activation_is_an_open_mark_at_w_and_a_full_one_at_w_plus_eps(store: Store) -> None:
    for pretrain, unlearn in itertools.product(("sgd", "sam"), repeat=2):
        record = save_theory(store, pretrain, unlearn, 0.5)
        arrays = dict(record.arrays())
        for group, share in {"active_retain_match": 0.5, "active_forget_match": 0.25}.items():
            arrays[f"trajectory_{group}_perturbed"] = share * arrays[f"trajectory_{group}"]
        arrays["predicted_active_retain_match"] = arrays["trajectory_active_retain_match"].mean(axis=0) + 0.05
        store.save("theory", dict(record.config), result=record.result, arrays=arrays)
    found = find("fig-theory-activation")(Records(store.records()), Theme())
    panel = panels(found)[4]  # R, j = y, in the row below: pretrained by SGD
    marks = {fill: sorted(float(one[0].get_ydata()[0]) for one in panel.containers if one[0].get_fillstyle() == fill)
             for fill in ("none", "full")}  # fmt: skip
    curves = [level * share for level in (0.31, 0.41) for share in (0.5, 0.5 + 0.5 / 3, 0.5 + 1 / 3, 1.0)]
    assert marks["none"] == pytest.approx(sorted(curves))
    assert marks["full"] == pytest.approx(sorted(0.5 * mean for mean in curves))
    assert sorted(thin_lines(panel)) == [pytest.approx([mean + 0.05 for mean in curves[:4]]),
                                         pytest.approx([mean + 0.05 for mean in curves[4:]])]  # fmt: skip
    assert "pretrained SGD, R, j = y: 0.15 to 0.08; pretrained SGD, F, j = y: 0.15 to 0.04" in found.alt


def test_thresholds_of_alpha_stand_over_the_forget_error_at_them_open_where_every_alpha_is_benign(
    drawing: Draw,
) -> None:
    axes = panels(drawing("fig-theory-alpha"))[:4]
    assert [panel.get_title() for panel in axes[:2]] == ["s = 2, pre SGD\nexponent 0.50"] * 2
    assert [panel.get_xlabel() for panel in axes[2:]] == ["$d$ (n = 40)", "$n$ (d = 800)"]
    for place, panel in enumerate(axes):
        thresholds = place < 2
        expected = {"sgd": [0.2, 0.3, 0.4] if thresholds else [0.5] * 3, "sam": [0.0] * 3 if thresholds else [0.1] * 3}
        lines = panel.get_lines()
        for rule, line, marks in zip(expected, lines[::2], lines[1::2], strict=True):
            for drawn in (line, marks):
                assert drawn.get_color() == Theme().color(rule)
                assert drawn.get_xdata().tolist() == [[800, 1200, 1600], [20, 30, 40]][place % 2]
                assert heights(drawn) == pytest.approx(expected[rule])
            assert marks.get_fillstyle() == {"sgd": "full", "sam": "none"}[rule]


def test_the_broad_line_has_the_power_of_the_theorem_and_passes_through_the_first_point(store: Store) -> None:
    rows = claim_rows()
    rows["theorem-3.3-sam-boundary"][0]["boundary"] = [3.0, 2.0, 1.0]
    save_claims(store, rows)
    found = find("fig-theory-phase")(Records(store.records()), Theme())
    broad = [[heights(line) for line in panel.get_lines() if line.get_linewidth() == 6]
             for panel in panels(found)]  # fmt: skip
    assert broad == [[pytest.approx([100**0.25, 1600**0.25])], [[3.0, 3.0]], [], []]


def test_a_boundary_off_the_grid_is_said_to_be_so(store: Store) -> None:
    rows = claim_rows()
    nothing = {"exponent": None, "exponent_low": None, "exponent_high": None}
    rows["theorem-3.2-sgd-boundary"][0] |= nothing | {"boundary": [None, None, None]}
    rows["theorem-3.3-sam-boundary"][0] |= nothing | {"boundary": [None, 2.0, None]}
    save_claims(store, rows)
    found = find("fig-theory-phase")(Records(store.records()), Theme())
    for panel in panels(found)[:2]:
        legend: Any = panel.get_legend()
        assert legend.get_texts()[0].get_text().endswith(", off the grid")
    assert found.alt.count("along d: off the grid") == 2


def test_matched_forgetting_is_drawn_of_the_main_setting_alone(store: Store) -> None:
    rows = claim_rows()
    others = ({"alpha": 0.5}, {"method": "random_label"}, {"mask_fraction": 0.25})
    compared = rows["theorem-3.3-matched-forgetting"]
    beside = [row | {"test_error": 0.9} | other for other in others for row in compared]
    rows["theorem-3.3-matched-forgetting"] = beside + compared
    save_claims(store, rows)
    data = find("fig-theory-matched")(Records(store.records()), Theme()).data
    assert set(data["test_error"]) == {0.2}
    assert len(data) == len(compared)


def test_lines_are_the_theory_and_points_the_networks(drawing: Draw) -> None:
    # at s = 0.5: 0.3 from the weights, 0.5 and 0.6 on the data of the network
    kappa = panels(drawing("fig-theory-twin"))[2].get_lines()
    assert [heights(line) for line in kappa[::2]] == [pytest.approx([0.5, 0.6], rel=1e-6)] * 4
    assert [heights(line) for line in kappa[1::2]] == [pytest.approx([0.3, 0.3])] * 4
    panel = panels(drawing("fig-ladder"))[0]
    theory = [line for line in panel.get_lines() if line.get_label().startswith("pretrained")]
    assert [heights(line) for line in theory] == [pytest.approx([0.2, 0.2])] * 2
    assert [heights(one[0]) for one in panel.containers] == [[0.5, 0.0]] * 2


def test_a_phase_map_is_of_its_own_stage_and_names_its_lines(store: Store) -> None:
    save_phase(store)
    (record,) = store.records("theory_sweep")
    arrays = dict(record.arrays())
    arrays |= {"test_error": arrays["test_error"] / 2, "test_error_se": arrays["test_error_se"] * 3}
    arrays |= {"forget_error": arrays["rho_scale"], "predicted_pretrained_test_error": arrays["signal_strength"]}
    store.save("theory_sweep", dict(record.config), result=record.result, arrays=arrays)
    found = find("fig-theory-map")(Records(store.records()), Theme())
    data, weak = found.data, found.data["signal_strength"] < 1
    before = data["stage"] == "before"
    np.testing.assert_allclose(data["error"], np.where(weak, 0.5, 0.05) / np.where(before, 1, 2))
    np.testing.assert_allclose(data["se"], 0.01 * np.where(weak, 0.5, 0.05) * np.where(before, 1, 3))
    np.testing.assert_allclose(data["predicted"], data["signal_strength"].where(before))
    np.testing.assert_allclose(data["forget"], data["stage"].map({"after SGD": 0.1, "after SAM 0.1": 0.1,
                                                                  "after SAM 1": 1.0}))  # fmt: skip
    (key,) = panels(found)[0].figure.legends
    assert [text.get_text().partition(",")[0] for text in key.get_texts()] == [
        "simulated", "mean field", "Theorem 3.2", "Theorem 3.3"]  # fmt: skip
    notes = [[text.get_text() for text in panel.texts] for panel in panels(found)[:8]]
    told = [[], ["forget error 0.10"], ["forget error 0.10"], ["forget error 1.00"]]
    assert notes == told * 2


def test_the_closed_form_of_the_surplus_is_the_broad_line(drawing: Draw) -> None:
    axes = panels(drawing("fig-theory-surplus"))
    for panel, value, closed in ((1, [2.0, 2.0, 2.0], [2.0, 2.0, 2.5]), (0, [1.0, 4.0, 16.0], [1.0, 4.0, 12.0])):
        learned, form, *_ = axes[panel].get_lines()  # the others are those of the legend
        assert (heights(learned), learned.get_linestyle()) == (value, "-")
        assert (heights(form), form.get_linewidth()) == (closed, 4)


def test_predicted_boundaries_and_errors_are_thin_lines(store: Store) -> None:
    rows = claim_rows()
    rows["theorem-3.2-sgd-boundary"][0]["predicted"] = [1.0, 2.0, None]
    for row in rows["theorem-3.3-matched-forgetting"]:
        row |= {"predicted_test_error": 0.25 if row["pretrain"] == "sam" else None, "predicted_forget_error": 0.6}
    save_claims(store, rows)
    boundary = find("fig-theory-phase")(Records(store.records()), Theme())
    assert thin_lines(panels(boundary)[0])[0][:2] == [1.0, 2.0]
    matched = find("fig-theory-matched")(Records(store.records()), Theme())
    top, beneath = panels(matched)[:4], panels(matched)[4:]
    assert [thin_lines(panel) for panel in top] == [[], [], [[0.25, 0.25]] * 2, [[0.25, 0.25]] * 2]
    assert [thin_lines(panel) for panel in beneath] == [[[0.6, 0.6]] * 2] * 4
    assert "after 200 epochs 0.050, at most 0.05" in matched.caption


@pytest.mark.parametrize(("name", "places"), [("fig-theory-drive", (0, 1)), ("fig-theory-map", (0, 4))])
def test_a_map_has_the_predicted_boundary_where_it_is_told(store: Store, name: str, places: tuple[int, ...]) -> None:
    kept = {"fig-theory-drive": save_phase_diagrams, "fig-theory-map": save_phase}[name]
    kept(store)
    sweep = name.removeprefix("fig-theory-").replace("map", "phase")
    (record,) = [one for one in store.records("theory_sweep") if one.config["sweep"] == sweep]
    before = find(name)(Records(store.records()), Theme())
    error = 0.6 - 0.3 * record.arrays()["signal_strength"]
    arrays = record.arrays() | {"predicted_pretrained_test_error": error}
    store.save("theory_sweep", dict(record.config), result=record.result, arrays=arrays)
    after = find(name)(Records(store.records()), Theme())
    more = [len(b.collections) - len(a.collections)
            for a, b in zip(panels(before), panels(after), strict=True)]  # fmt: skip
    assert [place for place, count in enumerate(more) if count] == list(places)
