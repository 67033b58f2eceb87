"""Models in and out: a foreign checkpoint becomes an original, a run's models load with plain torch."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from empirical.data.memory import memory_set
from empirical.exchange.models import export_models, import_model, loading_lines, model_card, read_tensors
from empirical.models.network import accuracy, predict
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.stages import build_network
from empirical.settings.run_config import RunConfig
from empirical.studies.finished import with_data
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.records.identity import plain
from repro.records.record import Record
from tests.empirical.conftest import Small, small_resnet
from tests.empirical.run_parts import evaluated, prepared, trained_run


@pytest.fixture
def small() -> Small:
    return small_resnet


def checkpoint(config: RunConfig, resources: Resources, seed: int = 5) -> dict[str, torch.Tensor]:
    network = build_network(config, resources.images(config), seed=seed, device=torch.device("cpu"))
    return {name: value.contiguous() for name, value in network.model.state_dict().items()}


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": {f"module.{n}": t for n, t in w.items()}}])
def test_a_foreign_checkpoint_is_where_the_unlearning_starts(
    small: Small, resources: Resources, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    config = small(difficulty="random", lr=1e-12, metrics=("accuracy", "tow", "mia"))
    foreign = checkpoint(config, resources)
    torch.save(wrap(foreign), tmp_path / "theirs.pth")
    folder = import_model(tmp_path / "theirs.pth", config, resources, name="theirs")
    record = run(replace(config, original="theirs", retrain="none"), resources.store, resources=resources)
    assert record.config["original"] == folder.name == record.result["parents"]["pretrain"]
    assert "retrain" not in record.result["parents"]
    assert record.result["absent_metrics"] == {"tow": "needs a retrained model, and retrain = none"}
    assert not [name for name in record.result if name.startswith("retrained_")]
    assert "mia_confidence" in record.result
    unlearned = load_file(resources.store.root / "models" / record.result["parents"]["unlearn"] / "weights.safetensors")
    weights = [name for name in foreign if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(unlearned[name], foreign[name], atol=1e-6) for name in weights)
    again = run(replace(config, original=folder.name, retrain="none"), resources.store, resources=resources)
    assert again.run_id == record.run_id


def test_an_original_with_a_retrained_model_has_every_metric(
    small: Small, resources: Resources, tmp_path: Path
) -> None:
    config = small(pretrain_epochs=8)
    known = trained_run(config, resources).models.original.network.model.state_dict()
    save_file({name: value.contiguous() for name, value in known.items()}, tmp_path / "theirs.safetensors")
    folder = import_model(tmp_path / "theirs.safetensors", config, resources, name="theirs")
    record = run(replace(config, original="theirs"), resources.store, resources=resources)
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["test_accuracy"] == pytest.approx(record.result["original_test_accuracy"])
    assert facts["test_accuracy"] > 0.6
    assert "tow" in record.result
    assert "absent_metrics" not in record.result


def test_torchvisions_names_are_understood(resources: Resources, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(1, 64, 3, padding=1, bias=False)
    torch.save(model.state_dict(), tmp_path / "resnet.pt")
    config = RunConfig(dataset="digits", model="resnet18")
    folder = import_model(tmp_path / "resnet.pt", config, resources, name="r")
    assert torch.equal(load_file(folder / "weights.safetensors")["head.bias"], model.fc.bias)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("hacked"),))


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(IntegrityError, match=r"evil.pth: .*objects are not read"):
        read_tensors(tmp_path / "evil.pth")
    assert not (tmp_path / "hacked").exists()


def test_what_is_no_checkpoint_is_refused(small: Small, resources: Resources, tmp_path: Path) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("noise.pth", "noise.safetensors", "list.pth"):
        with pytest.raises(IntegrityError, match=name):
            import_model(tmp_path / name, small(), resources, name="x")
    with pytest.raises(MissingDataError, match=r"none.pth: not found"):
        import_model(tmp_path / "none.pth", small(), resources, name="x")
    with pytest.raises(ConfigError, match="checkpoint size"):
        import_model(tmp_path / "noise.pth", small(), resources, name="x", largest=1e-9)


def bias(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Any]:
    return lambda weights: weights | {"head.bias": change(weights["head.bias"])}


@pytest.mark.parametrize(("change", "said"), [
    (lambda weights: {name: one for name, one in weights.items() if name != "head.bias"}, "is missing"),
    (bias(lambda t: torch.zeros(7)), r"has the shape \(7,\)"),
    (bias(lambda t: t.fill_(torch.nan)), "not finite"),
    (bias(lambda t: t.fill_(torch.inf)), "not finite"),
    (bias(lambda t: t.double().fill_(1e300)), "not finite"),  # in the network's precision
    (bias(lambda t: t.to(torch.int8)), "is int8"),
    (bias(lambda t: t.to(torch.complex64)), "is complex64"),
    (bias(lambda t: t.bool()), "is bool"),
    (bias(lambda t: t.to_sparse()), "is sparse"),
    (bias(lambda t: t.to("meta")), "is meta"),
])  # fmt: skip
def test_weights_of_another_architecture_or_kind_are_refused_by_name(
    change: Callable[[Any], Any], said: str, small: Small, resources: Resources, tmp_path: Path
) -> None:
    torch.save(change(checkpoint(small(), resources)), tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=rf"head\.bias .*{said}"):
        import_model(tmp_path / "a.pth", small(), resources, name="x")
    assert resources.store.stages.all() == []
    with pytest.raises(MissingDataError, match="repro models import"):
        run(small(original="x"), resources.store, resources=resources)


def test_half_precision_is_taken(small: Small, resources: Resources, tmp_path: Path) -> None:
    weights = checkpoint(small(), resources)
    torch.save({name: t.half() if t.is_floating_point() else t for name, t in weights.items()}, tmp_path / "half.pth")
    folder = import_model(tmp_path / "half.pth", small(), resources, name="x")
    kept = load_file(folder / "weights.safetensors")
    assert all(torch.allclose(kept[name], weights[name], atol=1e-2) for name in weights)
    assert {name: t.dtype for name, t in kept.items()} == {name: t.dtype for name, t in weights.items()}


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_tensor_that_is_there_under_two_names_is_refused(
    small: Small, resources: Resources, tmp_path: Path, ending: str
) -> None:
    weights = checkpoint(small(), resources)
    both = weights | {"module.head.bias": weights["head.bias"] + 1}
    (save_file if ending == "safetensors" else torch.save)(both, tmp_path / f"both.{ending}")
    with pytest.raises(IntegrityError, match=r"both head\.bias and module\.head\.bias"):
        import_model(tmp_path / f"both.{ending}", small(), resources, name="x")


def test_a_name_stands_for_one_model(small: Small, resources: Resources, tmp_path: Path) -> None:
    for seed in (5, 6):
        save_file(checkpoint(small(), resources, seed), tmp_path / f"{seed}.safetensors")
    first = import_model(tmp_path / "5.safetensors", small(), resources, name="theirs")
    with pytest.raises(ConfigError, match=r"--as = 'theirs': must be a name that no other model"):
        import_model(tmp_path / "6.safetensors", small(), resources, name="theirs")
    assert import_model(tmp_path / "5.safetensors", small(), resources, name="theirs") == first
    assert import_model(tmp_path / "6.safetensors", small(), resources, name="others") != first
    assert resources.store.stages.imported("theirs") == first.name


def test_an_exported_model_replaces_no_file_of_the_users_own(
    small: Small, resources: Resources, tmp_path: Path
) -> None:
    record = run(small(), resources.store, resources=resources)
    for name in ("README.md", "unlearned.safetensors"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(b"mine")
        with pytest.raises(ConfigError, match=rf"{name}: .*--force"):
            export_models(record, resources, folder)
        assert [path.read_bytes() for path in folder.iterdir()] == [b"mine"]
    written = export_models(record, resources, folder, force=True)
    assert written == export_models(record, resources, folder)
    assert (folder / name).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("settings", "twice"),
    [({}, False), ({"precision": "fp64"}, False), ({"dataset": "tiny-imagenet", "preset": "official-paper"}, True)],
)
def test_the_lines_of_a_card_normalize_as_the_network_does(settings: dict[str, Any], twice: bool) -> None:
    """In double precision too, and twice where the released code's slip (D16) is asked for."""
    config = RunConfig(**settings)
    images = memory_set(
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])), (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])), 2
    )
    images = replace(images, mean=(0.3,), std=(0.2,))
    network = build_network(config, images, seed=0, device=torch.device("cpu"))
    lines = "\n".join(loading_lines(config, images, True, "unlearned"))
    scope: dict[str, Any] = {"torch": torch, "network": network.model.eval()}
    exec("\n".join(line for line in lines.splitlines() if line.startswith(("mean =", "std =", "logits ="))), scope)
    pictures = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(scope["logits"](pictures), predict(network, pictures)[0])
    assert network.repeats == 1 + twice


def test_a_card_says_what_each_model_scores_how_it_was_made_and_which_file_it_is_in(shared: Resources) -> None:
    config = RunConfig(seed=3, forget_seed=4, lr=0.125)
    roles = ("original", "retrained", "unlearned")
    numbers = {f"{'' if role == 'unlearned' else role + '_'}{name}_accuracy": (9 * place + 3 * at + 1) / 100
               for place, role in enumerate(roles) for at, name in enumerate(("retain", "forget", "test"))}  # fmt: skip
    record = Record("0" * 16, "unlearn", "ok", plain(config), {**numbers, "tow": 0.75}, {})
    hashes = {role: f"hash of {role}" for role in roles}
    card = model_card(record, config, shared.images(config), hashes=hashes, portable=True).splitlines()
    table = ["| original | 0.0100 | 0.0400 | 0.0700 |", "| retrained | 0.1000 | 0.1300 | 0.1600 |",
             "| unlearned | 0.1900 | 0.2200 | 0.2500 |"]  # fmt: skip
    assert [line for line in card if line.startswith(("| original |", "| retrained |", "| unlearned |"))] == table
    assert 'network.load_state_dict(load_file("unlearned.safetensors"))' in card
    assert {"Seeds: seed 3, unlearn_seed 0, forget_seed 4.", "| lr | 0.125 |"} <= set(card)
    assert {f"- `{role}.safetensors` sha256 hash of {role}" for role in roles} <= set(card)


def test_each_exported_file_holds_the_weights_of_its_own_model(
    small: Small, resources: Resources, tmp_path: Path
) -> None:
    """Loaded by its name, a file scores what the record says of that model, and its hash is the one on the card."""
    config = small(pretrain_epochs=8, epochs=4, alpha=0.2, lr=0.05, metrics=("accuracy",))
    record = run(config, resources.store, resources=resources)
    export_models(record, resources, tmp_path)
    card, images = (tmp_path / "README.md").read_text(), resources.images(config)
    split = prepared(config, resources).split
    sets = {name: (images.train_images[rows], images.train_labels[rows])
            for name, rows in (("retain", split.retain), ("forget", split.forget))}  # fmt: skip
    sets["test"] = images.test_images, images.test_labels
    for role, stage in (("original", "pretrain"), ("retrained", "retrain"), ("unlearned", "unlearn")):
        path = tmp_path / f"{role}.safetensors"
        kept = load_file(resources.store.root / "models" / record.result["parents"][stage] / "weights.safetensors")
        network = build_network(config, images, seed=0, device=resources.device)
        network.model.load_state_dict(load_file(path))
        assert all(torch.equal(value, kept[name]) for name, value in network.model.state_dict().items())
        prefix = "" if role == "unlearned" else f"{role}_"
        said = {name: record.result[f"{prefix}{name}_accuracy"] for name in sets}
        assert {name: accuracy(network, *one) for name, one in sets.items()} == pytest.approx(said)
        assert f"`{path.name}` sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in card
    assert len({path.read_bytes() for path in tmp_path.glob("*.safetensors")}) == 3


@pytest.mark.slow
def test_an_exported_model_follows_its_card_with_plain_torch(
    shared: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a data set with a mean and deviation of its own, so that the card has to normalize.
    config = RunConfig(n_train=200, pretrain_epochs=1, epochs=1, difficulty="random")
    record = run(config, shared.store, resources=shared)
    files = {path.name for path in export_models(record, shared, tmp_path)}
    assert files == {
        "README.md",
        "network.pt2",
        "original.safetensors",
        "retrained.safetensors",
        "unlearned.safetensors",
    }
    card = (tmp_path / "README.md").read_text()
    assert f"ToW (tug of war, 1 is the retrained model): {record.result['tow']:.4f}" in card
    code = re.search(r"```python\n(.*?)```", card, re.S)
    assert code
    assert "empirical" not in code[1]
    scope: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    exec(code[1], scope)
    images = shared.images(config)
    logits = scope["logits"](images.test_images.float() / 255)
    share = float((logits.argmax(1) == images.test_labels).double().mean())
    assert share == pytest.approx(record.result["test_accuracy"], abs=1e-9)
    network = build_network(config, images, seed=0, device=shared.device)
    network.model.load_state_dict(load_file("unlearned.safetensors"))
    torch.testing.assert_close(logits, predict(network, images.test_images)[0])


def test_a_committed_run_whose_weights_are_not_here_cannot_be_exported(
    small: Small, resources: Resources, tmp_path: Path
) -> None:
    record = run(small(), resources.store, resources=resources)
    for folder in resources.store.stages.all():
        if json.loads((folder / "config.json").read_text())["config"]["stage"] == "retrain":
            (folder / "provenance.json").unlink()
    with pytest.raises(MissingDataError, match="the weights of retrained are not in the store"):
        export_models(record, resources, tmp_path / "out")


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    from repro.commands.models import upload

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingDataError, match=r"hub me/model: not uploaded .* or --to a folder"):
        upload(tmp_path, "me/model")
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        upload(tmp_path, "me/my model/x")


def test_a_model_from_elsewhere_is_looked_at_anew_on_other_images(
    small: Small, resources: Resources, tmp_path: Path
) -> None:
    """Its id does not say what it is shown: of a part of the images the outputs are others."""
    save_file(checkpoint(small(), resources), tmp_path / "theirs.safetensors")
    import_model(tmp_path / "theirs.safetensors", small(), resources, name="theirs")
    _ = run(small(original="theirs", retrain="none"), resources.store, resources=resources)
    own = [small(original="theirs", retrain="none", n_train=40)]
    config = with_data(own, resources.runtime, resources.store.stages)[0]
    part = evaluated(config, resources)
    assert len(part.outputs["original"].train.logits) == len(part.images.train_labels) == 40
