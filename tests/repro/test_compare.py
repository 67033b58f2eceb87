"""`repro compare`: the theory is brought once, at the networks' own setting, and every point's z is printed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import RunConfig, Runtime
from figures.tables.matched_theory import pairs, setting_of
from figures.tables.records import Records, Studies
from figures.tables.steps_away import step_table
from repro.base.errors import ConfigError
from repro.commands import compare as command
from repro.commands.cli import app
from repro.records.lists import RunList
from repro.records.published import Published
from repro.records.store import Store

ROOT = Path(__file__).parents[2]

BASE = RunConfig(
    dataset="signal-noise", dataset_options="side=8, n=20, n_test=60, draw=0", model="patch-cnn", forget_fraction=0.2,
    difficulty="random", augment="none", momentum=0.0, weight_decay=0.0, pretrain_schedule="constant", pretrain_lr=0.3,
    lr=0.3, pretrain_batch_size=10, batch_size=8, forget_batch_size=2, pretrain_epochs=5, epochs=6, trajectory=True,
    metrics=("accuracy", "coefficients"),
)  # fmt: skip


def compared(store: Path, *words: str) -> None:
    app(["compare", *words, "--store", str(store)], standalone_mode=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two seeds of the theory's network, and two of one with a bias on a draw of its own."""
    folder = tmp_path_factory.mktemp("compare") / "runs"
    resources = Resources(Store(folder), Runtime(device="cpu", study="made"))
    for model, seeds in (("patch-cnn", (0, 1)), ("patch-cnn-bias", (1, 2))):
        for seed in seeds:
            data = BASE.dataset_options.replace("draw=0", f"draw={seed}")
            metrics = BASE.metrics if model == "patch-cnn" else ("accuracy",)
            config = replace(BASE, model=model, seed=seed, dataset_options=data, metrics=metrics)
            run(config, resources.store, resources=resources)
    return folder


@pytest.fixture(autouse=True)
def nothing_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.terminal.output.Published", lambda: Published([]))


def test_the_theory_is_brought_once_and_never_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared(store, "--json")
    found = Store(store)
    (theory, lacking) = sorted(found.records("beside"), key=lambda record: len(record.result["departures"]))
    assert (theory.result["theory"]["d"], theory.result["theory"]["n"], len(theory.result["seeds"])) == (64, 20, 40)
    assert lacking.result["departures"] == ["model = patch-cnn-bias"]
    # Draws 0 and 1 of the network itself, and draw 2 on which there is a biased one alone.
    assert sorted(record.result["labels"]["draw"] for record in found.records("twin")) == [0, 1, 2]
    monkeypatch.setattr("theory.engine.simulate_many", None)
    monkeypatch.setattr("theory.engine.replay", None)
    compared(store, "--json")


def test_twins_lie_on_their_networks_and_steps_on_the_twin_of_their_draw(store: Path) -> None:
    from figures.tables.matched_theory import curves, matched_theory, network_value
    from figures.tables.steps_away import step_runs

    compared(store, "--json")
    records = Records(Store(store).records())
    for one, _ in pairs(records):
        exact = curves(matched_theory(records)[one.run_id])
        for stage, column in (("before", 0), ("after", -1)):
            assert network_value(one, stage, "kappa") == pytest.approx(exact["kappa"][0, column], abs=1e-5)
            assert network_value(one, stage, "zeta_forget") == pytest.approx(exact["zeta_forget"][0, column], abs=1e-5)
    table = step_table(step_runs(records))
    assert sorted(zip(table["step"], table["seed"], strict=True)) == [
        ("bias", 1), ("bias", 2), ("the theory's network", 0), ("the theory's network", 1)]  # fmt: skip


def test_every_point_has_its_z_and_what_is_no_pair_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared(store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["s", "training", "pretrain", "unlearn", "quantity", "network", "theory", "z", "within",
                                "95", "%", "twin", "gap"]  # fmt: skip
    assert any(" points lie within 95 % (" in line for line in lines)
    assert any("not a pair: patch-cnn-bias" in line and "no model = patch-cnn-bias" in line for line in lines)
    assert any("fig-theory-twin.png" in line for line in lines)
    compared(store, "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {"z", "network", "theory", "twin gap"} <= set(rows[0])
    assert len(rows) == 6 + 7


@pytest.mark.slow
def test_momentum_has_its_theory_and_a_setting_refused_before_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(BASE, momentum=0.5, weight_decay=0.01, lr=0.1, pretrain_lr=0.1)
    store = Store(tmp_path / "runs")
    for seed in (0, 1):
        run(replace(config, seed=seed), store, resources=Resources(store, Runtime(device="cpu", study="made")))
    identity = command.Beside(setting_of(store.records("unlearn")[0].config))
    store.save("beside", identity, result={"departures": ["momentum = 0.5"]})
    compared(store.root, "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {row["training"] for row in rows} == {"momentum = 0.5, weight decay = 0.01"}
    known = {row["quantity"] for row in rows}
    assert known == {"test error", "forget error", "active on R, j = y", "active on F, j = y"}
    found = store.find("beside", identity)
    assert found is not None
    assert (found.result["theory"]["momentum"], found.result["theory"]["weight_decay"]) == (0.5, 0.01)


def test_twins_of_runs_that_leave_the_draw_out_are_theirs(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    resources = Resources(store, Runtime(device="cpu", study="made"))
    bare = replace(BASE, dataset_options="side=8, n=20, n_test=60")  # of draw 0, which nobody says
    runs = [run(replace(bare, seed=seed), store, resources=resources) for seed in (0, 1)]
    compared(store.root, "--json")
    assert {one.config["network"] for one in store.records("twin")} == {one.run_id for one in runs}


def test_the_figure_of_a_study_is_that_study_s_and_an_unknown_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: dict[str, list[str]] = {}

    def draw_figures(names: list[str], studies: Studies, folder: Path) -> None:
        drawn.update({name: [part.study for part in studies.of("cifar10", "sweeps").parts] for name in names})

    packs = [ROOT / "results" / f"{name}.parquet" for name in ("digits", "sweeps")]
    monkeypatch.setattr(command, "draw_figures", draw_figures)
    monkeypatch.setattr("repro.terminal.output.Published", lambda: Published(packs))
    compared(tmp_path / "runs", "--study", "digits")
    assert drawn == {"fig-predictions": ["digits", "sweeps"]}
    assert "SAM forgets more slowly" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"study = 'digitz': must be .*digits"):
        compared(tmp_path / "runs", "--study", "digitz")


def test_theory_of_a_study_s_networks_is_added_to_its_list(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    resources = Resources(store, Runtime(device="cpu", study="mine"))
    runs = [run(replace(BASE, seed=seed), store, resources=resources).run_id for seed in (0, 1)]
    store.lists.put("mine", RunList(tuple(sorted(runs))))
    compared(store.root, "--json")
    listed = store.lists.get("mine")
    assert listed is not None
    assert listed.runs == tuple(sorted(runs))
    assert set(listed.more) == {record.run_id for record in store.records("beside", "twin")}
    assert len(listed.more) == 3
