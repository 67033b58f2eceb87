"""Commands on studies and their models: planning without torch, more metrics, what is kept and what is freed."""

import json
import subprocess
from pathlib import Path

import pytest

from repro.base.errors import IntegrityError
from repro.commands.cli import app
from repro.records.store import Store
from tests.command import ROOT, environment, repro
from tests.repro.test_cli import command

RECIPE = """
[defaults]
pretrain_epochs = 1
epochs = 1
n_train = 200
metrics = ["accuracy"]

[[runs]]
rule = ["sgd", "sam-0.1"]
"""


def test_a_dry_run_counts_every_stage_once(tmp_path: Path) -> None:
    """Originals: three rules on three seeds and on that of the choice, and one as released. Every forget set has its
    retrained models: one each, and a second one where a noise floor is asked for."""
    done = repro(tmp_path, "empirical", "grid", str(ROOT / "recipes" / "paper-cifar100-resnet50.toml"), "--dry-run")
    line = next(line for line in done.stdout.splitlines() if line.startswith("stages to train"))
    assert "13 pretrain, 48 retrain, 64 subset, 927 unlearn" in line
    assert "MB" in done.stdout


@pytest.mark.parametrize("command", [["grid", "--dry-run"], ["plan"]], ids=" ".join)
def test_a_forget_index_that_the_store_lacks_is_named_before_anything_is_trained(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        '[defaults]\ndifficulty = "index"\nforget_index = "0123456789abcdef"\n[[runs]]\nseed = 0\n'
    )
    name, *words = command
    said = repro(tmp_path, "empirical", name, "mine.toml", *words).stdout
    assert "forget_index 0123456789abcdef is not in the store: `repro records import-index FILE`" in said


def test_a_plan_says_stages_hours_disk_batch_and_what_several_processes_take(tmp_path: Path) -> None:
    words = ["empirical", "plan", "paper-imagenet-resnet50", "--images-per-second", "2500"]
    said = repro(tmp_path, *words, "--tasks", "8").stdout
    assert "4 pretrain, 18 retrain, 168 unlearn" in said, "scores of ImageNet are imported: no subset models"
    assert "2500 gradients/s of resnet50-imagenet (bf16, 224 pixels), by --images-per-second on a card\n" in said
    assert "import-scores FILE --dataset imagenet" in said
    found = json.loads(repro(tmp_path, *words, "--json").stdout)
    hours = {int(tasks): hours for tasks, hours in found["hours_by_tasks"].items()}
    assert list(hours) == [1, 8, 64]
    assert hours[1] / 8 <= hours[8] <= hours[1] / 7, "eight are rarely idle"
    assert hours[64] > hours[1] / 64 * 1.5, "of sixty-four, many wait for a choice and for retrained models"
    longest = max(stage["hours"] for stage in found["stages"])
    assert longest == pytest.approx(180 * 1_281_167 / 2500 / 3600, abs=1e-3)
    assert {stage["stage"] for stage in found["stages"]} == {"pretrain", "retrain"}
    assert all(len(stage["id"]) == 16 for stage in found["stages"])
    small = json.loads(repro(tmp_path, *words, "--json", "--memory", "40").stdout)["largest_batch"]
    assert 0 < small["resnet50-imagenet"] < found["largest_batch"]["resnet50-imagenet"]
    none = json.loads(repro(tmp_path, "empirical", "plan", "paper-imagenet-resnet50", "--json").stdout)
    assert none["hours_by_tasks"] is None, "nobody has measured that network"


@pytest.mark.slow
def test_metrics_are_added_to_a_study_from_the_weights_it_kept(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    assert repro(tmp_path, "empirical", "grid", "small.toml", "--workers", "1").returncode == 0
    plan = json.loads(repro(tmp_path, "empirical", "grid", "small.toml", "--dry-run", "--json").stdout)
    assert [(row["state"], row["passes"]) for row in plan] == [("done", 0)] * 2
    models = json.loads(repro(tmp_path, "models", "list", "--json").stdout)
    assert sorted(model["stage"] for model in models) == ["pretrain", "retrain", "unlearn", "unlearn"]
    added = ["empirical", "evaluate", "small.toml", "--metrics", "tow,hessian", "--workers", "1"]
    assert repro(tmp_path, *added).returncode == 0
    records = Store(tmp_path / "runs").records("unlearn")
    assert all({"accuracy", "tow", "hessian"} <= set(record.result["evaluations"]) for record in records)
    assert len(json.loads(repro(tmp_path, "models", "list", "--json").stdout)) == 4

    assert "freed 0.2 MB of 2 models" in repro(tmp_path, "models", "prune").stdout
    refused = repro(tmp_path, "empirical", "evaluate", "small.toml", "--metrics", "features")
    assert refused.returncode == 3
    assert "weights of 2 models of 2 runs are gone" in refused.stderr
    assert "3 passes" in refused.stderr
    one = ["empirical", "evaluate", records[0].run_id[:8], "--metrics", "features", "--retrain", "--json"]
    result = json.loads(repro(tmp_path, *one).stdout)
    assert result["evaluations"]["features"]["version"] == 1
    assert repro(tmp_path, "verify").returncode == 0


def test_pruning_says_first_what_it_would_free_and_refuses_a_stage_that_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.stages.save({"stage": "unlearn"}, b"w" * 1_000_000, {"seconds": 1.0})
    assert "would free 1.0 MB of 1 models" in repro(tmp_path, "models", "prune", "--dry-run").stdout
    assert len(store.stages.all()) == 1
    (store.stages.all()[0] / "notes").write_text("mine")
    (tmp_path / "papers" / "models").mkdir(parents=True)
    refused = repro(tmp_path, "models", "prune", "--store", "papers")
    assert (refused.returncode, "no store" in refused.stderr) == (3, True)
    done = repro(tmp_path, "models", "prune", "--stage", "unlearned")
    assert done.returncode == 2
    assert "did you mean 'unlearn'" in done.stderr
    assert len(store.stages.all()) == 1
    pruned = repro(tmp_path, "models", "prune").stdout
    assert "freed 1.0 MB of 1 models" in pruned
    assert "notes" in pruned
    assert [path.name for path in store.root.glob("models/*/*")] == ["notes"]


def test_a_recipe_is_utf8_whatever_the_locale_says(tmp_path: Path) -> None:
    text = 'title = "Größe α"\nname = "grösse"\n[defaults]\ndataset = "digits"\n[[runs]]\nseed = [0, 1]\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    plain = environment() | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    line = command("export", "mine.toml", "--to", "out")
    done = subprocess.run(line, cwd=tmp_path, env=plain, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 3
    assert "study = 'grösse': no records" in done.stderr


@pytest.mark.parametrize("text", ["null", "[1]", '{"config": null}', '{"config": "x"}', "{", "[" * 100_000])
def test_a_model_that_cannot_be_read_is_named_with_what_to_do(store: Store, text: str) -> None:
    folder = store.stages.save({"stage": "unlearn"}, b"w", {"seconds": 1.0})
    (folder / "config.json").write_text(text)
    with pytest.raises(IntegrityError, match=f"model {folder.name}: unreadable .*; delete its folder"):
        app(["models", "list", "--store", str(store.root)], standalone_mode=False)


def test_runs_of_an_older_schema_are_named(tmp_path: Path) -> None:
    record = Store(tmp_path / "runs").save("benchmark", {"a": 1}, result={"x": 1})
    path = tmp_path / "runs" / "runs" / record.run_id / "config.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    (tmp_path / "runs" / "index.jsonl").unlink()  # which an older version did not write
    shown = repro(tmp_path, "list", "--kind", "benchmark", "--json")
    assert record.run_id not in [row["run"] for row in json.loads(shown.stdout)]
    assert record.run_id in shown.stderr


def test_everything_the_package_names_can_be_had() -> None:
    import empirical

    assert all(callable(getattr(empirical, name)) for name in empirical.__all__)
