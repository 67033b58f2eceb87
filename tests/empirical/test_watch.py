"""What a grid says while it runs: one line a finished cell, wherever it is computed, and trackers that never matter."""

import io
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from empirical.runs.run import run
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.finished import with_data
from empirical.studies.grid import run_grid
from empirical.studies.recipe import Recipe
from empirical.studies.watch import News, Watch, name_of
from repro.base.errors import ConfigError
from repro.records.identity import plain
from repro.records.record import Record
from repro.records.store import Store
from repro.terminal.trackers import curves, tracker
from repro.terminal.watching import Lines, Table, facts, listeners
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU


class Heard:
    def __init__(self) -> None:
        self.began: list[tuple[str, int, int]] = []
        self.news: list[News] = []
        self.warnings: list[str] = []
        self.ends = self.signs = 0

    def begin(self, title: str, done: int, total: int) -> None:
        self.began.append((title, done, total))

    def tell(self, news: News) -> None:
        self.news.append(news)

    def alive(self, stages: int, seconds: float) -> None:
        self.signs += 1

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def end(self) -> None:
        self.ends += 1


class Deaf(Heard):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def tell(self, news: News) -> None:
        raise self.error


class CommError(Exception):
    """Stands for what a tracker's own package raises, which is of no type that we know."""


def study(small: Small, **more: Any) -> Recipe:
    plain = {name: getattr(small(), name) for name in ("dataset", "dataset_options", "augment", "pretrain_lr", "model")}
    brief = {"pretrain_epochs": 1, "epochs": 1, "trajectory": True, "seed": [0, 1]}
    return Recipe("brief", defaults={**plain, **brief, **more}, blocks=({"rule": ["sgd", "sam-0.1"]},))


def test_every_cell_is_told_once_with_what_is_done(small: Small, store: Store) -> None:
    recipe, heard = study(small), Heard()
    run(recipe.runs()[0], store, CPU)
    report = run_grid(recipe, store, runtime=CPU, watch=Watch(store, [heard], every=0.01))
    assert heard.began == [("brief", 1, 4)]
    assert {news.record.run_id for news in heard.news} == set(report.done)
    assert [(news.done, news.total) for news in heard.news] == [(2, 4), (3, 4), (4, 4)]
    assert heard.news[-1].left == 0
    assert all(news.left is not None and news.left > 0 for news in heard.news[:-1])
    assert heard.ends == 1


def test_a_cell_that_another_metric_is_asked_of_is_no_finished_one(small: Small, store: Store) -> None:
    runtime, heard = CPU, Heard()
    run_grid(study(small), store, runtime=runtime)
    more = study(small, metrics=["accuracy", "tow", "hessian"])
    run_grid(more, store, runtime=runtime, watch=Watch(store, [heard], every=0.01))
    assert heard.began == [("brief", 0, 4)]
    assert [news.done for news in heard.news] == [1, 2, 3, 4]
    assert all("hessian_top" in news.record.result for news in heard.news)


def test_what_ended_since_the_last_look_is_told_at_the_end(small: Small, store: Store) -> None:
    heard = Heard()
    run_grid(study(small), store, runtime=CPU, watch=Watch(store, [heard], every=600))
    assert len(heard.news) == 4


def test_listeners_that_fail_never_stop_the_study(small: Small, store: Store) -> None:
    errors = [OSError("the service is gone"), CommError("no network"), KeyError("run")]
    deaf, heard = [Deaf(error) for error in errors], Heard()
    report = run_grid(study(small), store, runtime=CPU, watch=Watch(store, [*deaf, heard], every=0.01))
    assert len(report.done) == len(heard.news) == 4
    assert [one.ends for one in deaf] == [0, 0, 0]
    assert heard.warnings == [f"a listener stopped: {type(error).__name__}: {error}" for error in errors]


def test_cells_whose_data_are_fetched_only_now_are_told_too(small: Small, store: Store, tmp_path: Path) -> None:
    """The first run fetches the files of both sides; halfway there are some already, which are not yet the data set."""
    cells = [small(dataset="cifar10", dataset_options="", seed=seed) for seed in range(3)]
    runtime, heard = Runtime(device="cpu", data_root=str(tmp_path)), Heard()

    def end(cell: RunConfig) -> None:
        (known,) = with_data([cell], runtime, store.stages)
        assert known.data
        store.save("unlearn", known, result={"labels": {}}, status="diverged")

    def fetch(shard: int) -> None:
        for side in ("train", "test"):
            path = tmp_path / "cifar10" / f"{side}-{shard}.parquet"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{side} {shard}")

    for shard in range(2):
        fetch(shard)
    end(cells[0])
    for file in tmp_path.rglob("*.parquet"):
        file.unlink()
    with Watch(store, [heard], every=0.01).over("fetched", cells, runtime):
        for shard in range(2):
            time.sleep(0.1)
            fetch(shard)
        end(cells[1])
        time.sleep(0.1)
        end(cells[2])
    assert heard.began == [("fetched", 0, 3)]
    assert [(news.record.config["seed"], news.done, news.total) for news in heard.news] == [(1, 2, 3), (2, 3, 3)]
    assert heard.news[-1].left == 0


def test_silence_is_broken(small: Small, store: Store) -> None:
    heard = Heard()
    watch = Watch(store, [heard], every=0.01, silence=0.05)
    with watch.over("waiting", [small()], CPU):
        time.sleep(0.5)
    assert heard.signs > 1


def test_a_line_has_name_tow_seconds_done_and_end(
    small: Small, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run(small(), store, CPU)
    Lines().tell(News(record, 3, 10, 60.0))
    said = capsys.readouterr().err
    assert said.startswith("neggrad sgd after sgd, random, seed 0: ToW ")
    assert f"ToW {record.result['tow']:.3f}, {record.provenance['seconds']:.1f} s; 3/10, the last about " in said
    assert said.count("\n") == 1


def test_of_a_run_without_tug_of_war_its_end_is_told_instead(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    monkeypatch.setattr(time, "time", lambda: 3600.0)

    def told(status: str, result: dict[str, float], seconds: float | None, left: float | None) -> tuple[str, ...]:
        record = Record("x", "unlearn", status, plain(small()), result, {"seconds": seconds})
        return facts(News(record, 1, 2, left))[1:]

    assert told("diverged", {"tow": 0.5}, 2.25, 1800.0) == ("diverged", "2.2", "1/2", "01:30")
    assert told("ok", {}, None, None) == ("-", "-", "1/2", "-")


def test_what_went_wrong_stands_above_a_live_table_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.warn("a listener stopped: [wandb] no network")
    table.begin("brief", 0, 4)
    table.warn("another one")
    table.end()
    table.warn("a third")
    said = capsys.readouterr().err
    assert [text for text in ("stopped: [wandb] no network", "another one", "a third") if text not in said] == []


def test_runs_that_choose_are_told_apart_by_what_is_chosen(small: Small) -> None:
    def name(kind: str, **changes: Any) -> str:
        return name_of(Record("x", kind, "ok", plain(small(**changes)), {}, {}))

    assert name("choice", lr=0.5, epochs=3) == "choice, neggrad sgd after sgd, random, lr 0.5, epochs 3, seed 0"
    assert len({name("choice", lr=0.5, epochs=3), name("choice", lr=0.5, epochs=9), name("choice", lr=0.1)}) == 3
    assert name("unlearn", lr=0.5, epochs=3) == "neggrad sgd after sgd, random, seed 0"


def test_quiet_says_nothing_and_a_log_gets_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert listeners("s", store, quiet=True) == []
    assert [type(one).__name__ for one in listeners("s", store)] == ["Lines"]
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    assert [type(one).__name__ for one in listeners("s", store)] == ["Table"]


class Service:
    """Stands for trackio and wandb: remembers what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def init(self, **facts: Any) -> Any:
        self.sent.append(facts)
        log = lambda row, step=None: self.sent.append((step, row))  # noqa: E731
        return SimpleNamespace(log=log, finish=lambda: self.sent.append("finished"))


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_tracker_gets_settings_curves_and_final_numbers(
    small: Small, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    service = Service()
    monkeypatch.setitem(sys.modules, name, service)
    record = run(small(trajectory=True), store, CPU)
    tracker(name, "mine", tmp_path).tell(News(record, 1, 1, None))
    first, *rows, last, done = service.sent
    assert first["project"] == "mine"
    assert first["config"]["rule"] == "sgd"
    assert done == "finished"
    assert last[1]["final/tow"] == record.result["tow"]
    assert [(step, row) for step, row in rows] == list(curves(record))
    assert any("forget_accuracy" in row for _, row in rows)
    assert {step for step, row in rows if "loss" in row} == {1000}


def test_a_tracker_that_is_not_installed_is_noticed_before_any_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'trackio'"):
        listeners("s", store, track="trakio")
    for name in ("tensorboard", "trackio", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=name):
            listeners("s", store, track=name)


def test_the_study_of_a_runtime_is_not_changed_by_watching(small: Small, store: Store) -> None:
    plain, watched = Store(store.root / "a"), Store(store.root / "b")
    for one, watch in ((plain, None), (watched, Watch(watched, [Heard()], every=0.01))):
        run_grid(study(small), one, runtime=replace(CPU), watch=watch)
    assert [r.run_id for r in plain.records()] == [r.run_id for r in watched.records()]
    assert [r.result["tow"] for r in plain.records()] == [r.result["tow"] for r in watched.records()]
