"""Numbers out: flat tables with a dictionary, a glossary without gaps, a schema that knows a recipe."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from repro.base import outputs
from repro.base.errors import ConfigError, MissingDataError
from repro.base.files import collect_damage
from repro.base.glossary import describe, explain, terms
from repro.base.outputs import write_outputs
from repro.commands.export import export, export_rows, meaning, study_records
from repro.commands.records import publish
from repro.commands.words import lines_of, recipe_schema
from repro.records.identity import run_id
from repro.records.lists import RunList
from repro.records.publish import with_published, write_published
from repro.records.published import Published, PublishedStudy
from repro.records.record import Record
from repro.records.store import Store
from tests.command import ROOT, repro
from theory.benign import benign_alpha
from theory.config import TheoryConfig


@dataclass(frozen=True)
class Measured:
    """A run of which other metrics were asked for is the same run."""

    metrics: tuple[str, ...] = field(default=(), metadata={"identifies": False})


PACKS = sorted((ROOT / "results").glob("*.parquet"))
Committed = Callable[[str], dict[str, list[Record]]]


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Committed:
    """Read a published study by kind."""
    return lambda name: study_records(name, Store(tmp_path_factory.mktemp("none")), Published(PACKS))


def listed(store: Store, name: str, *runs: Record) -> None:
    """Write down which runs a study has, as its grid would."""
    store.lists.put(name, RunList(tuple(run.run_id for run in runs)))


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_every_column_of_a_committed_study_has_a_meaning(path: Path) -> None:
    columns = {column for record in PublishedStudy(path).records() for row in export_rows(record) for column in row}
    assert len(columns) > 10
    assert [column for column in columns if len(meaning(column)["meaning"]) <= 3] == []


def test_a_study_becomes_tables_with_one_row_a_run(tmp_path: Path, committed: Committed) -> None:
    done = repro(tmp_path, "export", "digits", "--to", "out")
    assert done.returncode == 0, done.stderr
    runs = {record.run_id: record for record in committed("digits")["unlearn"]}
    for name in ("unlearn.parquet", "unlearn.csv"):
        reader = pd.read_parquet if name.endswith("parquet") else pd.read_csv
        table = reader(tmp_path / "out" / name).set_index("run_id")
        assert set(table.index) == set(runs)
        assert len(table) == 120  # six of them lie in results/alpha.parquet too
        for run, tow, rate, retrained in table[["tow", "lr", "retrained_test_accuracy"]].itertuples():
            assert tow == pytest.approx(runs[run].result["tow"], abs=1e-15)
            assert rate == runs[run].config["lr"]
            assert retrained == pytest.approx(runs[run].result["retrained_test_accuracy"], abs=1e-15)
    dictionary = pd.read_csv(tmp_path / "out" / "dictionary.csv")
    named = dictionary[dictionary["table"] == "unlearn"].set_index("column")
    assert set(named.index) == {"run_id", *table.columns}
    assert named.loc["tow", "range"] == "[0, 1]"
    assert "before unlearning" in named.loc["original_tow", "meaning"]
    assert named.loc["lr", "role"] == "setting"


def test_a_row_of_theory_has_each_stage_under_its_own_name_and_where_it_diverged() -> None:
    result = {"seeds": [4, 7], "diverged_at": [None, 3], "final": {"test_error": [0.1, 0.2]},
              "pretrained": {"test_error": [0.3, 0.4]}, "retrained": {"test_error": [0.5, 0.6]}}  # fmt: skip
    about = {"study": "mine", "finished": "2026-11-25", "device": "cpu", "seconds": 2.0}
    record = Record("ab", "theory", "diverged", {"type": "TheoryConfig", "d": 300}, result, about)
    same = {"run_id": "ab", "kind": "theory", "status": "diverged", "source": "runs", "d": 300}
    same |= about
    assert export_rows(record) == [
        same | {"seed": 4, "diverged_at": None, "test_error": 0.1, "pretrained_test_error": 0.3,
                "retrained_test_error": 0.5},
        same | {"seed": 7, "diverged_at": 3, "test_error": 0.2, "pretrained_test_error": 0.4,
                "retrained_test_error": 0.6},
    ]  # fmt: skip


def test_a_row_of_a_network_has_its_forget_set_and_its_settings_as_plain_columns() -> None:
    config = {"type": "RunConfig", "lr": 0.5, "metrics": ["tow", "mia"], "of": {"type": "Sam", "rho": 0.1}}
    record = Record("ab", "unlearn", "ok", config, {"tow": 0.5, "parents": {"forget_set": "f" * 16}}, {})
    (row,) = export_rows(record)
    wanted = {"forget_set": "f" * 16, "lr": 0.5, "metrics": "tow, mia", "of_rho": 0.1, "tow": 0.5}
    assert {name: row.get(name) for name in wanted} == wanted
    assert not {"type", "of_type", "parents"} & {*row}


def test_a_sweep_has_one_row_a_cell(committed: Committed) -> None:
    record = next(r for r in committed("sweeps")["theory_sweep"] if r.result["sweep"] == "phase")
    assert [row["test_error"] for row in export_rows(record)] == record.arrays()["test_error"].tolist()


def test_the_smallest_alpha_has_one_row_a_rule_and_is_a_loose_run(store: Store, tmp_path: Path) -> None:
    small = TheoryConfig(d=100, n=10, n_forget=2, m=2, batch_size=5, pretrain_epochs=2, epochs=2, seeds=2, directions=8)
    record = benign_alpha(small, store)
    export("loose", tmp_path / "out", store=store.root)
    table = pd.read_csv(tmp_path / "out" / "theory_alpha.csv")
    assert table["simulated_test_error"].tolist() == [row["simulated_test_error"] for row in record.result["rows"]]
    assert len(set(zip(table["pretrain"], table["rule"], strict=True))) == len(table) == 6
    said = pd.read_csv(tmp_path / "out" / "dictionary.csv").set_index("column")["meaning"]
    assert said["cell_d"] == meaning("d")["meaning"]
    assert not any("another package" in one for one in said)


def test_an_interval_is_exported_as_its_two_ends(committed: Committed) -> None:
    record = committed("claims")["theory_claim"][0]
    (row,) = export_rows(record)
    assert [row["interval_low"], row["interval_high"]] == record.result["interval"]
    assert meaning("attack_loss_auc_interval_low")["meaning"].startswith("lower end of the interval of: Area")


def test_a_failed_run_is_a_row_and_a_second_export_replaces_the_first(store: Store, tmp_path: Path) -> None:
    said = {"error": "ValueError: no", "traceback": "line 1\nline 2"}
    listed(store, "mine", store.save("unlearn", {"seed": 0}, result={"tow": 0.5}),
           store.save("unlearn", {"seed": 1}, result=said, status="failed"))  # fmt: skip
    for _ in range(2):
        export("mine", tmp_path / "out", store=store.root)
    table = pd.read_csv(tmp_path / "out" / "unlearn.csv").set_index("seed")
    assert (table.loc[0, "tow"], table.loc[1, "error"], table.loc[1, "traceback"]) == (0.5, *said.values())


@pytest.mark.parametrize("name", ["unlearn.csv", "unlearn.parquet", "dictionary.csv", "README.md"])
def test_a_file_of_the_users_own_is_replaced_only_when_forced(store: Store, tmp_path: Path, name: str) -> None:
    listed(store, "mine", store.save("unlearn", {"seed": 0}, result={"tow": 0.5}))
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{name}: .*--force"):
        export("mine", out, store=store.root)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "mine")]
    export("mine", out, force=True, store=store.root)
    assert (out / name).read_bytes() != b"mine"
    with (out / name).open("ab") as edited:
        edited.write(b"# a note")
    with pytest.raises(ConfigError, match=rf"{name}: "):
        export("mine", out, store=store.root)
    assert (out / name).read_bytes().endswith(b"# a note")


def test_an_export_cut_off_half_way_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_outputs(tmp_path, {"a": b"1", "b": b"1"})
    write = outputs.replace_file

    def full(path: Path, data: bytes) -> None:
        if path.name == "b":
            raise OSError("full")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "replace_file", full)
        with pytest.raises(OSError, match="full"):
            write_outputs(tmp_path, {"a": b"2", "b": b"2"})
    write_outputs(tmp_path, {"a": b"3", "b": b"3"})
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"3", b"3"]


@pytest.mark.parametrize("kind", ["../../pwned", "/tmp/pwned", "a/b", "..", ".hidden", "", "x" * 101, "a\n", "a\0"])
def test_a_kind_that_is_a_path_leads_nowhere(store: Store, tmp_path: Path, kind: str) -> None:
    """Not from a pack of a stranger, whose rows are all rightly hashed, and not from a record in hand."""
    made = replace(store.save("unlearn", {"seed": 0}, result={"tow": 0.5}), kind=kind)
    made = replace(made, run_id=run_id(kind, made.identity))
    packed = PublishedStudy(write_published([made], tmp_path / "results" / "mine.parquet"))
    with collect_damage() as damage:
        assert packed.records() == []
    assert len(damage) == 1
    assert "kind" in damage[0]
    with pytest.raises(ConfigError, match="no path"):
        write_outputs(tmp_path / "deep" / "er" / "out", {f"{kind}/x.csv": b""})
    assert not (tmp_path / "deep").exists()


def test_a_spreadsheet_runs_no_cell_of_a_table(store: Store, tmp_path: Path) -> None:
    texts = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"]
    said = [*(f"'{text}" for text in texts[:-1]), " =1"]
    made = [store.save("unlearn", {"seed": n}, result={"tow": -0.5, "error": text, "=x": "-0.25"})
            for n, text in enumerate(texts)]  # fmt: skip
    listed(store, "mine", *made)
    export("mine", tmp_path / "out", store=store.root)
    table = pd.read_csv(tmp_path / "out" / "unlearn.csv", dtype=str).sort_values("seed")
    assert table["error"].tolist() == said
    assert set(table["tow"]) == {"-0.5"}
    assert set(table["'=x"]) == {"-0.25"}
    whole = pd.read_parquet(tmp_path / "out" / "unlearn.parquet").sort_values("seed")
    assert whole["error"].tolist() == texts
    meanings = pd.read_csv(tmp_path / "out" / "dictionary.csv")["column"]
    assert "'=x" in set(meanings)


def test_a_number_of_an_installed_package_is_exported_though_nobody_here_knows_it(store: Store, tmp_path: Path) -> None:
    listed(store, "mine", store.save("unlearn", {"seed": 0}, result={"tow": 0.5, "zorp": 2.0}))
    export("mine", tmp_path / "out", store=store.root)
    said = pd.read_csv(tmp_path / "out" / "dictionary.csv").set_index("column")
    assert "another package" in said.loc["zorp", "meaning"]
    assert said.loc["tow", "range"] == "[0, 1]"


def test_an_unknown_study_is_refused_before_anything_is_written(tmp_path: Path, committed: Committed) -> None:
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        committed("digit")
    with pytest.raises(ConfigError, match=r"^.{,1000}$"):
        committed("d" * 5000)
    with pytest.raises(MissingDataError, match=r"no records; repro study run recipes/cifar10-small\.toml"):
        committed("cifar10-small")
    assert repro(tmp_path, "export", "digit", "--to", "out").returncode == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("word", "name"),
    [("ToW", "tow"), ("UA", "forget_accuracy"), ("KLoM", "klom_*"), ("forget set", "forget set"), ("SAM", "sam"),
     ("attack_loss_auc", "attack_*_auc"), ("original_tow", "tow"), ("signal-strength", "signal strength")],
)  # fmt: skip
def test_a_word_is_explained(word: str, name: str) -> None:
    assert explain(word).name == name


def test_explanations_name_the_model_and_what_is_best() -> None:
    said = "\n".join(lines_of(explain("original_tow"), "original_tow"))
    assert "of the model before unlearning" in said
    assert "best: 1" in said
    with pytest.raises(ConfigError, match="did you mean 'tow'"):
        explain("tuw")
    for word in ("t" * 5000, "original_" * 5000):
        with pytest.raises(ConfigError, match="not in the glossary") as refused:
            explain(word)
        assert len(str(refused.value)) < 300


def test_the_nearest_pattern_wins() -> None:
    for name, wanted in {"klom_easydub_original_forget_p95": "klom_easydub_*", "klom_models": "klom_models",
                         "test_error": "*_error", "mia_confidence": "mia_*"}.items():  # fmt: skip
        found = describe(name)
        assert found
        assert found.name == wanted
    assert len({term.name for term in terms()}) == len(terms())


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text()), recipe_schema())


@pytest.mark.parametrize(
    "text",
    [
        "[defaults]\nlr = -1\n",
        "[defaults]\nlearning_rate = 1\n",
        "[[runs]]\nalpha = [0.5, 2]\n",
        "x = 1\n",
        "[defaults]\nforget_fraction = 1.0\n",
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), recipe_schema())


def test_the_schema_is_printed_as_json(tmp_path: Path) -> None:
    done = repro(tmp_path, "schema", "recipe")
    assert json.loads(done.stdout)["properties"]["defaults"]["properties"]["lr"]["default"] == 0.02


def test_a_study_that_goes_on_in_another_store_keeps_what_is_packed(tmp_path: Path) -> None:
    """A new machine has the committed pack and an empty store: packing its first slice must not lose the others."""
    pack = tmp_path / "results" / "mine.parquet"

    def store(name: str) -> Store:
        return Store(tmp_path / name)

    def save(where: str, number: int, value: float, *, metrics: tuple[str, ...] = ()) -> str:
        home = store(where)
        ids = {name: home.save_evaluation({"metric": name, "version": 1}, result={name: value}).run_id
               for name in metrics}  # fmt: skip
        arrays = {"w": np.full(2, value)}
        made = home.save("unlearn", {"a": number}, result={"x": value}, arrays=arrays, evaluations=ids)
        listed(home, "mine", *home.records())
        return made.run_id

    shared, rich, mine = save("one", 0, 1.0), save("one", 1, 1.0, metrics=("tow", "mia")), save("one", 2, 1.0)
    assert repro(tmp_path, "pack", "mine", "--store", "one").returncode == 0
    new = save("two", 3, 2.0)
    assert [save("two", 0, 2.0), save("two", 1, 2.0, metrics=("tow",))] == [shared, rich]
    done = repro(tmp_path, "pack", "mine", "--store", "two")
    assert "published 3 runs" in done.stderr + done.stdout
    found = {record.run_id: record for record in PublishedStudy(pack).records()}
    assert {run: (record.result["x"], record.arrays()["w"][0]) for run, record in found.items()} == {
        shared: (2.0, 2.0), rich: (1.0, 1.0), mine: (1.0, 1.0), new: (2.0, 2.0)
    }  # fmt: skip
    assert PublishedStudy(pack).verify() == []

    pack.write_bytes(b"PAR1")
    done = repro(tmp_path, "pack", "mine", "--store", "two")
    assert (done.returncode, pack.read_bytes()) == (6, b"PAR1"), done.stderr
    assert "restore" in done.stderr


def test_a_pack_joins_the_numbers_of_one_training_and_never_those_of_two(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"

    def copy(name: str, accuracy: float, *metrics: str) -> Record:
        home = Store(tmp_path / name)
        config = {"metric": "accuracy", "version": 1, "of": accuracy}
        ids = {"accuracy": home.save_evaluation(config, result={"test_accuracy": accuracy}).run_id}
        for one in metrics:
            arrays = {one: np.full(2, accuracy)}
            made = home.save_evaluation({"metric": one, "version": 1}, result={f"{one}_x": accuracy}, arrays=arrays)
            ids[one] = made.run_id
        return home.save("unlearn", Measured(metrics), result={}, epochs=[{"epoch": name}], evaluations=ids)

    def packed(record: Record, *, arrays: bool = True) -> Record:
        write_published(with_published(path, [record], arrays=arrays), path)
        return PublishedStudy(path).records()[0]

    packed(copy("first", 0.9, "tow", "mia"))
    both = packed(copy("second", 0.9, "tow", "lira"))
    assert set(both.result["evaluations"]) == {"accuracy", "tow", "mia", "lira"}
    assert {both.result[f"{one}_x"] for one in ("tow", "mia", "lira")} == {0.9}
    assert (set(both.arrays()), both.epochs()) == ({"tow", "mia", "lira"}, [{"epoch": "second"}])

    bare = packed(copy("third", 0.9, "klom"), arrays=False)  # what the pack had before keeps its arrays
    assert (set(bare.arrays()), bare.epochs()) == ({"tow", "mia", "lira"}, [{"epoch": "second"}])
    assert bare.result["klom_x"] == 0.9

    richest = packed(copy("fourth", 0.8, "tow", "mia", "lira", "klom", "gap"), arrays=False)
    assert (richest.result["test_accuracy"], richest.result["mia_x"], richest.arrays()) == (0.8, 0.8, {})
    assert packed(copy("fifth", 0.7, "zrf")).result == richest.result


def test_a_study_is_exported_and_packed_with_the_runs_that_it_found_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that somebody computed before, under another study or none, are a study's once its list names them."""
    monkeypatch.chdir(tmp_path)
    about = [{"study": "other"}, {}, {"study": "mine"}]
    made = [store.save("unlearn", {"seed": n}, result={"tow": 0.5}, provenance=one) for n, one in enumerate(about)]
    store.save("unlearn", {"seed": 9}, result={"tow": 0.1}, provenance={"study": "mine"})
    listed(store, "mine", *made)
    export("mine", tmp_path / "out", store=store.root)
    assert set(pd.read_csv(tmp_path / "out" / "unlearn.csv")["run_id"]) == {one.run_id for one in made}
    publish("mine", store=store.root)
    assert {one.run_id for one in PublishedStudy(tmp_path / "results" / "mine.parquet").records()} == {
        one.run_id for one in made
    }  # fmt: skip
    export("mine", tmp_path / "again", store=tmp_path / "another store")
    assert set(pd.read_csv(tmp_path / "again" / "unlearn.csv")["run_id"]) == {one.run_id for one in made}


def test_a_study_that_is_published_half_finished_says_what_it_lacks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = store.save("unlearn", {"seed": 0}, result={"tow": 0.5})
    store.lists.put("mine", RunList((made.run_id, "a" * 16), open=2))
    publish("mine", store=store.root)
    assert "3 of 4 runs" in capsys.readouterr().out
    listed(store, "mine", made)
    publish("mine", store=store.root)
    (line,) = capsys.readouterr().out.splitlines()  # nothing but what was published
    assert "mine.parquet" in line


def test_a_study_has_a_citation(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for day in (24, 25, 23):
        store.save("benchmark", {"a": day}, result={}, provenance={"finished": f"2026-11-{day}T01:02:03+00:00"})
    listed(store, "mine", *store.records())
    assert repro(tmp_path, "pack", "mine", "--zenodo").returncode == 0
    assert "toolkit authors" in (tmp_path / "results" / "mine.CITATION.cff").read_text()
    done = repro(tmp_path, "pack", "mine", "--zenodo", "--creator", "Doe, Jo", "--creator", "Roe, Ann")
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "results" / "mine.zenodo.json").read_text())
    assert said["creators"] == [{"name": "Doe, Jo"}, {"name": "Roe, Ann"}]
    assert said["publication_date"] == "2026-11-25"
    assert said["related_identifiers"][0]["identifier"] == "arXiv:2506.13715"
    citation = (tmp_path / "results" / "mine.CITATION.cff").read_text()
    assert 'family-names: "Roe"' in citation
    assert "3 runs" in citation
    assert 'date-released: "2026-11-25"' in citation
