"""Small golden runs, each done in a fraction of a second: what a bug in the wiring moves, one of these shows.

`python -m tests.golden.freeze small` writes their numbers. They are compared to `CLOSE`, which a processor that sums in
another order does not reach: the steps of `stages` are in float64, and the runs of `runs` are a few dozen steps long.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from empirical.augmentation.augment import Augment
from empirical.data import memorization
from empirical.data.forget import choose_forget, hold_out
from empirical.methods.forget import GradientAscent, NegGrad, Scrub
from empirical.methods.relabel import RandomLabel, SalUn
from empirical.methods.retain import Finetune, L1Sparse
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import MemorizationConfig, RunConfig, Runtime
from empirical.training import saliency
from empirical.training.loop import fit
from empirical.training.rules import RuleContext, build_rule, method_rule
from repro.records.store import Store
from tests.empirical import tiny
from theory.config import TheoryConfig
from theory.engine import simulate_many

FILE = Path(__file__).parent / "small.json"
CLOSE = 1e-3
NOT_COMPARED = ("seconds", "peak_memory", "labels", "parents", "evaluations")  # of a record's result
Numbers = dict[str, Any]
Part = Iterator[tuple[str, Any]]

# Method, rule, settings of the recipe, augmentation.
STAGES: dict[str, tuple[Any, str, dict[str, Any], Augment]] = {
    "ascent": (GradientAscent(), "sgd", {"epochs": 1}, Augment()),
    "neggrad": (NegGrad(alpha=0.8), "sgd", {}, Augment()),
    "neggrad by SAM": (NegGrad(alpha=0.8), "sam-0.1", {}, Augment()),
    "neggrad by ASAM": (NegGrad(alpha=0.8), "asam-1.0", {}, Augment()),
    "neggrad by Sharp MinMax": (NegGrad(alpha=0.8), "minmax-sam-0.1", {}, Augment()),
    "random labels by SAM on R": (RandomLabel(), "retain-sam-0.1", {}, Augment()),
    "salun": (SalUn(), "sgd", {}, Augment()),
    "scrub": (Scrub(ascent_epochs=2, temperature=1.0), "sgd", {"lr": 0.2}, Augment()),
    "l1": (L1Sparse(strength=0.01, epochs=3), "sgd", {}, Augment()),
    "finetune": (Finetune(), "sgd", {"schedule": "cosine", "weight_decay": 0.05}, Augment(padding=1, flip=True)),
}
BASE = {
    "dataset": "signal-noise", "dataset_options": "n=40, side=6, n_test=60", "model": "patch-cnn", "augment": "none",
    "difficulty": "random", "forget_fraction": 0.2, "pretrain_epochs": 3, "pretrain_lr": 0.1, "pretrain_batch_size": 8,
    "epochs": 2, "lr": 0.1, "batch_size": 8, "forget_batch_size": 4,
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "base": {"metrics": ("accuracy", "tow", "mia", "attacks", "gap", "distances", "hessian", "relearning")},
    "another seed": {"seed": 1},
    "another unlearning seed": {"unlearn_seed": 1},
    "another alpha": {"alpha": 0.5},
    "the half for reports": {"rows_measured": "report", "lr": 0.05},
    "salun by SAM": {"method": "salun", "rule": "sam-0.1"},
    "minmax": {"rule": "minmax-sam-0.1", "mask_fraction": 0.5},
}
THEORY = TheoryConfig(
    seeds=2, d=200, n=10, n_forget=2, m=4, epochs=4, pretrain_epochs=5, batch_size=5, retain_batch=4, forget_batch=2,
    checkpoint_every=2, directions=32, signal_strength=1.0, alpha=0.7,
)  # fmt: skip


def stages() -> Part:
    """Yield losses, weights and BatchNorm statistics of each method and rule on the tiny problem."""
    return ((name, _stage(*settings)) for name, settings in STAGES.items())


def _stage(method: Any, label: str, recipe: dict[str, Any], augment: Augment) -> Numbers:
    network, forget = tiny.original(), torch.arange(tiny.COUNT - tiny.FORGOTTEN, tiny.COUNT)

    def mask() -> list[torch.Tensor]:
        return saliency.saliency_mask(saliency.forget_gradient(network, tiny.IMAGES, tiny.LABELS, forget), 0.4)

    context = RuleContext(mask)
    rule = method_rule(method, build_rule(label, context), context)
    log = fit(network, tiny.make_stage(method, rule, augment=augment, **recipe))
    state = {name: _seen(tensor.double().numpy()) for name, tensor in network.model.state_dict().items()}
    return {"losses": [row["loss"] for row in log.epochs], "gradients": log.gradient_evaluations} | state


def _seen(array: np.ndarray) -> float:
    """Return one number that every entry of an array moves by a weight of its own."""
    return float(array.ravel() @ np.cos(np.arange(array.size)))


def runs() -> Part:
    """Yield ids, costs, weights and numbers of whole runs of a two-layer network, from config to record."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        resources = Resources(store, Runtime(device="cpu"))
        for name, settings in RUNS.items():
            yield name, _run(BASE | settings, store, resources)


def _run(settings: dict[str, Any], store: Store, resources: Resources) -> Numbers:
    record = run(RunConfig(**settings), store, resources=resources)
    # Without checksums: the last bits of weights are the processor's.
    parents = {stage: name for stage, name in record.result["parents"].items() if not stage.endswith("_checksum")}
    kept = {stage: name for stage, name in parents.items() if stage != "forget_set"}
    weights = {
        stage: {part: _seen(array.astype(float)) for part, array in load_file(_weights(store, name)).items()}
        for stage, name in kept.items()
    }
    numbers = {name: value for name, value in record.result.items() if not name.startswith(NOT_COMPARED)}
    return {"id": record.run_id, "parents": parents, "weights": weights, "numbers": numbers}


def _weights(store: Store, stage: str) -> Path:
    folder = store.stages.find(stage)
    assert folder is not None
    return next(folder.glob("*.safetensors"))


def choosing() -> Part:
    """Yield memorization scores of given answers, the rows chosen by them, and the released code's split."""
    config = MemorizationConfig(subsets=8, fraction=0.5)
    inside = memorization.draw_subsets(config, 60)
    correct = np.random.default_rng(0).random(inside.shape) < np.linspace(0.1, 0.9, 60) + 0.3 * inside
    result, arrays = memorization.summarize_subsets(inside, correct)
    labels = np.arange(60) % 3
    scores, others = memorization.filled(arrays["scores"]), memorization.draw_subsets(MemorizationConfig(seed=1), 60)
    yield from {"scores": _seen(scores), "other subsets": _seen(others)}.items()
    for difficulty in ("high", "mid", "low", "random", "class", "class-part"):
        run_config = RunConfig(difficulty=difficulty, forget_fraction=0.1, forget_class=1, forget_seed=3)
        yield difficulty, choose_forget(run_config, labels, memorization=lambda: scores).forget.tolist()
    yield from {"reliability": result["reliability"], "held out": hold_out(labels, 0.1, 1)[1].tolist()}.items()


def theory() -> Part:
    """Yield the metrics of the exact theory at a small setting: every rule, after both pretrainings."""
    cells = {
        f"{unlearn} after {pretrain}": THEORY.changed(pretrain=pretrain, unlearn=unlearn, rho_scale=0.5)
        for pretrain in ("sgd", "sam")
        for unlearn in ("sgd", "sam", "retain_sam", "minmax")
    }
    cells["random labels"] = THEORY.changed(method="random_label")
    found = simulate_many(list(cells.values()))
    for name, one in zip(cells, found, strict=True):
        models = {"": one.metrics, "pretrained ": one.pretrain, "retrained ": one.retrained}
        yield name, {f"{model}{metric}": _seen(values)
                     for model, metrics in models.items() for metric, values in metrics.items()}  # fmt: skip


PARTS: dict[str, Callable[[], Part]] = {"stages": stages, "runs": runs, "choosing": choosing, "theory": theory}


def moved(part: str) -> Iterator[str]:
    """Yield every number of a part that is not as frozen, as `where: was, is`; who stops early computes no more."""
    frozen = json.loads(FILE.read_text())[part]
    for name, now in PARTS[part]():
        yield from _moved(f"{part} / {name}", frozen.pop(name, None), json.loads(json.dumps(now)))
    yield from (f"{part} / {name}: is gone" for name in frozen)


def _moved(where: str, was: Any, now: Any) -> list[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        return [line for key in {**was, **now} for line in _moved(f"{where} / {key}", was.get(key), now.get(key))]
    if isinstance(was, float) and isinstance(now, float):
        return [] if np.isclose(was, now, rtol=CLOSE, atol=CLOSE) else [f"{where}: {was}, {now}"]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [line for i, pair in enumerate(zip(was, now, strict=True)) for line in _moved(f"{where} {i}", *pair)]
    return [] if was == now else [f"{where}: {was}, {now}"]
