"""Golden records with plainly synthetic numbers, so that every number a figure shows can be worked out by hand."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from empirical.metrics.pooled import SeedArrays, klom
from figures.catalogue import FIGURES
from figures.drawing.drawing import Drawing
from figures.drawing.files import draw, drawing_of
from figures.drawing.style import Theme
from figures.tables.matched_theory import setting_of
from figures.tables.records import Records, Studies
from repro.records.identity import digest
from repro.records.lists import RunList
from repro.records.published import Published
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import load_study

SEEDS = 3
EPOCHS = [0, 10, 50, 200]
STRENGTHS = (0.25, 0.5, 1.0)
# Synthetic levels: every number below is a level plus 0.01 times the seed.
TEST_ERROR = {("sgd", "sgd"): 0.4, ("sgd", "sam"): 0.3, ("sam", "sgd"): 0.2, ("sam", "sam"): 0.1}
TOW = {"sgd": 0.6, "sam-0.1": 0.7, "minmax-sam-0.1": 0.8}
GROUPS = ("active_retain_match", "active_forget_match", "active_retain_oppose", "active_forget_oppose")
METRICS = ("test_error", "forget_error", "kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget")


def save_theory(
    store: Store, pretrain: str, unlearn: str, strength: float, *, predicted: float | None = None, **settings: Any
) -> Record:
    level = TEST_ERROR[pretrain, unlearn] / strength / 2
    values = level + 0.01 * np.arange(SEEDS)
    trajectory = values[:, None] * np.linspace(0.5, 1.0, len(EPOCHS))
    active = {f"{group}{end}": trajectory for group in GROUPS for end in ("", "_perturbed")}
    arrays = {f"trajectory_{name}": trajectory for name in METRICS} | {f"trajectory_{k}": v for k, v in active.items()}
    arrays |= {} if predicted is None else {"predicted_test_error": trajectory.mean(axis=0) + predicted}
    config = {"type": "TheoryConfig", "signal_strength": strength, "pretrain": pretrain, "unlearn": unlearn}
    config |= {"method": "neggrad", "d": 100, "n": 4, "n_forget": 1, "m": 2, "alpha": 0.9, "rho_scale": 0.1} | settings
    stages = {name: values.tolist() for name in METRICS}
    result = {"seeds": list(range(SEEDS)), "epochs": EPOCHS, "final": stages, "pretrained": stages,
              "diverged_at": [None] * SEEDS}  # fmt: skip
    return store.save("theory", config, result=result, arrays=arrays, provenance={"study": "golden"})


def network_config(**settings: Any) -> dict[str, Any]:
    base = {"type": "RunConfig", "dataset": "digits", "dataset_options": "", "model": "resnet8", "method": "neggrad"}
    base |= {"rule": "sgd", "pretrain": "sgd", "difficulty": "low", "seed": 0, "alpha": 0.9, "epochs": 5}
    return base | settings


def save_network(
    store: Store, tow: float, *, kind: str = "unlearn", status: str = "ok", extra: Any = None, arrays: Any = None,
    epochs: Any = (), study: str = "golden", **settings: Any,
) -> Record:  # fmt: skip
    config = network_config(**settings)
    names = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "alpha", "epochs")
    labels = {
        name: config[name] for name in (*names, *({"mask_fraction", "switches", "lr", "forget_seed"} & set(config)))
    }
    levels = {"": 0.8, "retrained_": 0.7, "original_": 0.9}
    # Models retrained with another seed differ by 0.01 a seed on each of the three sets; that is the noise floor.
    accuracies = {f"{role}{name}_accuracy": level + 0.01 * config["seed"] * (role == "retrained_")
                  for role, level in levels.items() for name in ("retain", "forget", "test")}  # fmt: skip
    numbers = accuracies | {"tow": tow + 0.01 * config["seed"], "original_tow": 0.5} | (extra or {})
    result = {"labels": labels} | (numbers if status == "ok" else {"diverged_at": 1})
    result = {"parents": {"forget_set": f"set {config['difficulty']}"}} | result
    return store.save(kind, config, result=result, status=status, arrays=arrays, epochs=epochs,
                      provenance={"study": study})  # fmt: skip


def trajectory(rule: str) -> list[dict[str, Any]]:
    """Return the epochs of a run whose forget accuracy falls from 0.9 by 0.1 a point; SAM's steps cost double."""
    cost = 100 if rule == "sgd" else 200
    points = [{"progress": epoch, "gradient_evaluations": cost * epoch, "retain": 0.8, "forget": 0.9 - 0.1 * epoch,
               "test": 0.8} for epoch in range(4)]  # fmt: skip
    return [{"epoch": 1, "accuracies": points[:2]}, {"epoch": 2, "accuracies": points[2:]}, {"epoch": 3}]


def attack_arrays(seed: int, shift: float) -> dict[str, np.ndarray]:
    """Return synthetic arrays of a run: margins, ROC, landscapes, and features whose forget part moves by `shift`."""
    generator = np.random.default_rng(seed)
    axis = np.linspace(-1.0, 1.0, 5)
    bowl = axis[:, None] ** 2 + axis[None, :] ** 2
    arrays = {"landscape_axis": axis, "attack_roc_fpr": np.array([0.001, 0.01, 0.1, 1.0])}
    labels, is_forget = np.arange(60) % 3, np.arange(60) % 5 == 0
    arrays |= {"labels": labels, "is_forget": is_forget}
    centres = 3.0 * np.eye(3, 8)[labels] + 0.3 * generator.standard_normal((60, 8))
    for place, model in enumerate(("original", "retrained", "unlearned")):
        arrays |= {f"landscape_{model}_{name}": (1.0 + place) * bowl for name in ("forget", "test")}
        arrays[f"attack_roc_tpr_{model}"] = np.array([0.01, 0.05, 0.3, 1.0]) / (1 + place * shift)
        arrays[f"margin_{model}"] = generator.standard_normal(50) - place
        arrays[f"features_{model}"] = centres + shift * place * is_forget[:, None]
    return arrays


EXTRA = {
    "mia_correctness": 0.5, "retrained_mia_correctness": 0.4, "attack_loss_auc": 0.6,
    "entanglement_wp": 0.6, "original_entanglement_wp": 0.8, "hessian_top": 2.0, "original_hessian_top": 3.0,
    "seconds_unlearn": 1.0, "seconds_retrain": 10.0, "gradient_evaluations": 200, "retrain_gradient_evaluations": 1000,
    "relearning_steps": [0, 1, 2], "relearning_forget": [0.2, 0.5, 0.8], "retrained_relearning_forget": [0.2, 0.3, 0.4],
} | {
    f"{head}lira_{name}": level + shift
    for head, shift in (("", 0.0), ("retrained_", -0.1), ("original_", 0.2))
    for name, level in (("auc", 0.6), ("tpr_at_1_percent", 0.11), ("tpr_at_01_percent", 0.101), ("member_share", 0.3))
}  # fmt: skip
SEARCHED = {"choice": "edge", "choice_details": {"name": "lr", "value": 0.1, "curve": [[0.1, 0.7], [0.2, 0.6]],
                                                "seed": 9, "original_tow": None}}  # fmt: skip
RUN_METRICS = [
    "accuracy", "tow", "mia", "attacks", "entanglement", "margins", "landscape", "hessian", "relearning", "features",
    "lira",
]  # fmt: skip


def save_sweeps(store: Store) -> None:
    """Save sweeps of alpha, mask cutoff and rate, with ToW by the swept value, and three draws of the forget set.

    And a variant of Sharp MinMax, and cells without augmentation, of a study that extends the golden one.
    """
    for rule, value, seed in itertools.product(("sgd", "sam-0.1"), (0.3, 0.6, 0.8), range(2)):
        tow = value if rule == "sgd" else value + 0.25
        save_network(store, tow, rule=rule, alpha=value, seed=seed, difficulty="random", model="swept")
    for switches, value, seed in itertools.product(("", "mask_polarity=low"), (0.1, 0.3, 0.5), range(2)):
        save_network(store, value, rule="minmax-sam-0.1", mask_fraction=value, switches=switches, seed=seed,
                     difficulty="random", model="masked")  # fmt: skip
    for rule, seed in itertools.product(("sgd", "sam-0.1"), range(2)):
        save_network(store, TOW[rule] - 0.2, rule=rule, seed=seed, augment="none", study="golden-plain")
    for rule, rate, seed in itertools.product(("sgd", "sam-0.1"), (0.01, 0.02, 0.04), range(2)):
        save_network(store, TOW[rule] + rate, rule=rule, lr=rate, seed=seed, difficulty="high", model="rated")
    for rule, seed in itertools.product(("sgd", "asam-1.0", "minmax-asam-1.0"), range(2)):
        save_network(store, 0.9 - 0.01 * len(rule), rule=rule, seed=seed, difficulty="random", model="scattered")
    for rule, seed in itertools.product(("asam-1.0", "minmax-asam-1.0"), range(2)):
        save_network(store, 0.9 - 0.01 * len(rule), rule=rule, preset="correct", mask_fraction=0.05, seed=seed,
                     difficulty="random", model="varied")  # fmt: skip
    for rule, forget_seed in itertools.product(("sgd", "sam-0.1"), range(3)):
        save_network(store, TOW[rule] + 0.1 * forget_seed, rule=rule, forget_seed=forget_seed, model="drawn")


def save_klom(store: Store) -> None:
    """Save 24 seeds whose unlearned margins are the retrained ones (SAM), or far from them (SGD), and their pools."""
    pools: dict[str, list[tuple[str, dict[str, Any]]]] = {"sgd": [], "sam-0.1": []}
    for rule, seed in itertools.product(pools, range(24)):
        generator = np.random.default_rng(seed)
        found = {f"klom_retrained_{name}": generator.standard_normal(5) for name in ("retain", "forget", "test")}
        found |= {key.replace("retrained", "original"): value + 50 for key, value in found.items()}
        found |= {key.replace("retrained", "unlearned"): value + (50 if rule == "sgd" else 0)
                  for key, value in found.items() if "retrained" in key}  # fmt: skip
        extra = {"klom_images": 5, "parents": {"forget_set": "same"}}
        extra |= {"choice": "interior" if rule == "sgd" else "no better than doing nothing"}
        run = save_network(store, 0.5, rule=rule, seed=seed, arrays=found, model="klom", difficulty="high", extra=extra)
        pools[rule].append((run.run_id, found))
    for rule, members in pools.items():
        values = klom(SeedArrays([arrays for _, arrays in members]))
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        config = {"metric": "klom", "version": 2, "stages": [rule], "forget_set": "same", "pooled": True}
        labels = {"pretrain": "sgd", "rule": rule, "difficulty": "high", "model": "klom"}
        result = {name: value for name, value in values.items() if name not in arrays}
        result |= {"labels": labels, "runs": [identity for identity, _ in members]}
        store.save_evaluation(config, result=result, arrays=arrays)
        save_ulira(store, config, labels, [identity for identity, _ in members])


def save_ulira(store: Store, config: dict[str, Any], labels: dict[str, Any], runs: list[str]) -> None:
    """Save U-LiRA of a pool: 0.03 true positives at 1 % for the original, 0.1 after SAM and 0.02 after SGD."""
    levels = {"original": 0.03, "unlearned": 0.02 if labels["rule"] == "sgd" else 0.1}
    numbers = {"auc": lambda rate: 0.5 + rate, "tpr_at_1_percent": float, "tpr_at_01_percent": lambda rate: rate / 10}
    ends = (("", 0.0), ("_low", -0.002), ("_high", 0.002))
    found = {f"ulira_{role}_{name}{end}": make(rate) + shift
             for role, rate in levels.items() for name, make in numbers.items() for end, shift in ends}  # fmt: skip
    samples = {f"ulira_{role}_tpr_at_1_percent_resampled": rate + np.linspace(-width, width, 401)
               for (role, rate), width in zip(levels.items(), (0.01, 0.03), strict=True)}  # fmt: skip
    result = {"labels": labels, "runs": runs, "resampled": "models and images", **found}
    store.save_evaluation(config | {"metric": "ulira"}, result=result, arrays=samples)


def claim_rows() -> dict[str, list[dict[str, Any]]]:
    """Return the tables of synthetic claims: boundaries that follow exact powers, and made-up thresholds."""
    dimensions = [100, 400, 1600]
    power = {"axis": dimensions, "along": "d", "forget_error_there": [0.1, 0.2, 0.3], "stage": "pretrained"}
    quarter = power | {"boundary": [float(d**0.25) for d in dimensions]} | exponent(0.25)
    quarter |= {"boundary_strength": [0.9, 1.0, 1.1], "start_there": [0.1, 0.5, 3.0], "crossover": [0.9, 1.0, 1.1]}
    flat = power | {"boundary": [1.0, 1.0, 1.0]} | exponent(0.0)
    flat |= {"stage": "pretrained by SAM, 30 epochs", "predicted": [0.8, 1.0, 1.2], "inside": False}
    norms = {"norms": [1.0, 2.0, 4.0], "stage": "pretraining", "start": "initialization", "d": 100, "epochs": 10,
             "branch": "linear", "exponent_closed": 2.0, "misfit": 0.0}  # fmt: skip
    norms |= {"difference": [1.0, 4.0, 16.0], "difference_closed": [1.0, 4.0, 12.0], "ratio": [2.0, 2.0, 2.0],
              "ratio_closed": [2.0, 2.0, 2.5]} | exponent(2.0)  # fmt: skip
    tows = [{"pretrain": before, "signal_strength": s, "alpha": alpha, "rule": rule, "tow": s / 2,
             "tow_low": s / 2 - 0.1, "tow_high": s / 2 + 0.1, "untouched": 0.3, "epoch": 5.0, "epochs": [0, 5],
             "curve": [0.3, s / 2], "minus_sgd": 0.0, "minus_sgd_low": -0.1, "minus_sgd_high": 0.1}
            for before, s, alpha, rule in itertools.product(("sgd", "sam"), (0.5, 1.0), (0.7, 0.9),
                                                            ("SGD", "ASAM 0.1"))]  # fmt: skip
    threshold = {"strength": 2.0, "pretrain": "sgd", "clock": "eta ~ 1/d", "every_alpha_sgd": False, "n": 40,
                 "every_alpha_sam": True, "forget_error_sgd": 0.5, "forget_error_sam": 0.1}  # fmt: skip
    gaps = [threshold | exponent(0.5) | {"along": along, "d": 400 * place, "alpha_sgd": 0.1 * place, "alpha_sam": 0.0}
            | ({"n": 10 * place, "d": 800} if along == "n" else {})
            for along in ("d", "n") for place in (2, 3, 4)]  # fmt: skip
    compared = [{"pretrain": pretrain, "matched": matched, "rule": rule, "signal_strength": strength, "alpha": 0.9,
                 "method": "neggrad", "test_error": 0.2, "test_error_low": 0.1, "test_error_high": 0.3,
                 "forget_error": 0.5}
                for pretrain, matched, rule, strength in itertools.product(
                    ("sgd", "sam"), ("epochs", "forgetting"), ("SGD", "SAM 0.1"), (0.5, 1.0))]  # fmt: skip
    return {
        "theorem-3.2-sgd-boundary": [quarter],
        "theorem-3.3-sam-boundary": [flat],
        "lemma-3.4-surplus-difference": [norms],
        "tug-of-war": tows,
        "lemma-3.4-alpha-gap": gaps,
        "theorem-3.3-matched-forgetting": compared,
    }


BESIDE = ("test_error", "forget_error", "kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget",
          "active_retain_match", "active_forget_match")  # fmt: skip


def beside_curves(seeds: int, shift: float = 0.0) -> np.ndarray:
    """Return synthetic theory `(metrics, seeds, epochs)`: 0.2, 0.25, 0.3 over the epochs, plus 0.01 a seed.

    Forget error is 0, 0.25, 0.5 for every seed; `shift` is added to the last test error.
    """
    curve = np.array([0.2, 0.25, 0.3]) + 0.01 * np.arange(seeds)[:, None]
    values = np.stack([curve] * len(BESIDE))
    values[1] = [0.0, 0.25, 0.5]
    values[0, :, -1] += shift
    return values.astype(np.float32)


def save_signal_noise(store: Store) -> None:
    """Save a two-layer network, one with momentum and a ResNet on patch images, the theory beside them, and twins.

    Test error is 0.5 at strength 0.5 and 0 at 1, kappa 0.6; the theory knows the plain two-layer network alone.
    """
    facts = {"metrics": BESIDE, "epochs": [0, 1, 2], "departures": []}
    facts["theory"] = dict.fromkeys(("d", "n", "n_forget", "m", "patches", "alpha", "pretrain_epochs", "epochs",
                                     "batch_size", "eta_scale"), 10)  # fmt: skip
    made = [("patch-cnn", 0.0, "sam-0.05"), ("patch-cnn", 0.9, "sam-0.05"), ("resnet8-narrow", 0.9, "sam-0.1")]
    for (model, momentum, sam), strength, seed in itertools.product(made, (0.5, 1.0), range(2)):
        for pretrain, rule in itertools.product(("sgd", sam), repeat=2):
            run = save_network(
                store, 0.5, dataset="signal-noise", model=model, pretrain=pretrain, rule=rule, seed=seed,
                momentum=momentum, dataset_options=f"signal_strength={strength}, draw={seed}",
                epochs=seen_along(strength), extra=seen_of(strength, seed, (model, pretrain, rule)),
            )  # fmt: skip
            lacks = [] if model == "patch-cnn" and not momentum else [f"momentum = {momentum}"]
            key, result = {"network": setting_of(run.config)}, {"departures": lacks} if lacks else facts | {"seeds": 3}
            store.save("beside", key, result=result, arrays=None if lacks else {"curves": beside_curves(3)})
            if not lacks:
                labels = {"labels": run.result["labels"]}
                store.save("twin", {"network": run.run_id}, result=facts | labels, arrays={"curves": beside_curves(1)})


def seen_of(strength: float, seed: int, names: tuple[str, str, str]) -> dict[str, Any]:
    accuracy = 0.5 if strength < 1 else 1.0
    found: dict[str, Any] = {f"{role}{name}_accuracy": accuracy for role in ("", "original_")
                             for name in ("test", "forget")}  # fmt: skip
    found |= {f"{role}{name}": 0.6 for role in ("", "original_") for name in ("kappa", "zeta_retain", "zeta_forget")}
    labels = dict(zip(("model", "pretrain", "rule"), names, strict=True)) | {"dataset": "signal-noise", "seed": seed}
    labels |= {"alpha": 0.9}
    return found | {"n_test_measured": 100, "labels": labels | {"signal_strength": strength, "draw": seed}}


def seen_along(strength: float) -> list[dict[str, Any]]:
    """Return what was seen after two epochs of unlearning: a quarter of F is wrong after the second."""
    points = [{"progress": epoch, "gradient_evaluations": 10 * epoch, "retain": 1.0, "test": 0.5 + 0.1 * epoch,
               "forget": 1.0 - 0.125 * epoch, "kappa": 0.6 * strength} for epoch in (1, 2)]  # fmt: skip
    return [{"epoch": point["progress"], "accuracies": [point]} for point in points]


def exponent(value: float) -> dict[str, float]:
    return {"exponent": value, "exponent_low": value - 0.01, "exponent_high": value + 0.01}


def measurement_rows() -> dict[str, list[dict[str, Any]]]:
    """Return the tables of synthetic measurements: exact powers at four corners, and the same attacks twice."""
    dimensions = [1000, 4000]
    corners = [
        {"rule": rule, "a": a, "b": b, "c": 0.0, "derived": 0.5, "mean_field": 0.4, "mean_field_far": 0.45,
         "axis": dimensions, "boundary": [d**0.25 for d in dimensions], "boundary_strength": [0.9, 0.9],
         "start_there": [0.1, 0.1], "predicted": [1.1 * d**0.25 for d in dimensions], "predicted_far": [9.0, 9.0]}
        | exponent(0.25) for rule, a, b in itertools.product(("sgd", "sam"), (0.5, 1.0), (0.0, 0.5))
    ]  # fmt: skip
    levels = {"start": 0.5, "pretrained": 0.9, "retrained": 0.55, "SGD": 0.4, "SAM 0.1": 0.6}
    attacks = [
        {"pretrain": before, "signal_strength": s, "stage": "unlearned" if "S" in name else name,
         "rule": name if "S" in name else "", "value": level, "value_low": level - 0.1, "value_high": level + 0.1}
        for before, s, (name, level) in itertools.product(("sgd", "sam"), (0.5, 1.0), levels.items())
    ]  # fmt: skip
    return {"scaling": corners, "membership": attacks, "relearning": attacks}


def save_claims(
    store: Store, tables: dict[str, list[dict[str, Any]]] | None = None, kind: str = "theory_claim"
) -> None:
    for name, rows in (tables or claim_rows()).items():
        for seeds in (2, 5):
            result = {"claim": name, "title": name, "regime": "everywhere", "estimate": 0.25,
                      "interval": [0.2, 0.3], "seeds": seeds, "rows": rows, "parts": [],
                      "sentence": f"{name} in one sentence", "change": "another clock"}  # fmt: skip
            store.save(kind, {"claim": name, "seeds": seeds, "first_seed": 0}, result=result)


def save_phase_diagrams(store: Store) -> None:
    """Save the three sweeps of phase diagrams, on a grid of three strengths and three values of the other axis."""
    strengths, seeds = (0.5, 1.0, 2.0), {"seeds": 3}
    base = {"n": 4, "d": 100, "patches": 2, "sigma_p": 1.0, "m": 2, "batch_size": 2, "eta_scale": 10.0} | seeds
    grids = {
        "drive": [{"pretrain": rule, "pretrain_epochs": epochs} for rule in ("sgd", "sam") for epochs in (1, 2, 4)],
        "survival": [{"pretrain": "sgd", "pretrain_epochs": 0, "probe_rho_scale": rho, "depth_retain_match": 1 / rho,
                      "active_retain_match": 0.5, "active_retain_match_joint": 0.5 * (rho < 1),
                      "active_retain_match_predicted": 0.5 * (rho < 1) + 0.005} for rho in (0.1, 0.5, 2.0)],
        "odds": [{"pretrain": rule, "unlearn": unlearn, "rho_scale": rho, "alpha": alpha}
                 for rule in ("sgd", "sam") for unlearn, rho in (("sgd", 0.1), ("sam", 0.1), ("sam", 1.0))
                 for alpha in (0.2, 0.5, 0.8)],
    }  # fmt: skip
    for name, points in grids.items():
        rows = [point | {"signal_strength": s} for point in points for s in strengths]
        arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        error = np.where(arrays["signal_strength"] > 1, 0.05, 0.4)
        arrays |= dict.fromkeys(
            ("test_error", "pretrained_test_error", "test_error_se", "pretrained_test_error_se"), error
        )
        arrays["forget_error"] = 1 - arrays.get("alpha", error)
        result = {"sweep": name, "rows": len(rows), "boundaries": []}
        store.save("theory_sweep", {"sweep": name, "base": base}, result=result, arrays=arrays)


def save_phase(store: Store) -> None:
    """Save a phase sweep whose test error is 0.05 above strength 1 and 0.5 below."""
    cells = list(itertools.product((100, 400), (0.5, 1.5), ("sgd", "sam"), (("sgd", 0.1), ("sam", 0.1), ("sam", 1.0))))
    error = np.array([0.05 if strength > 1 else 0.5 for _, strength, _, _ in cells])
    table = {"d": [cell[0] for cell in cells], "n": [4] * len(cells), "signal_strength": [cell[1] for cell in cells],
             "pretrain": [cell[2] for cell in cells], "unlearn": [cell[3][0] for cell in cells],
             "rho_scale": [cell[3][1] for cell in cells]}  # fmt: skip
    names = ("test_error", "pretrained_test_error", "forget_error")
    arrays = {key: np.array(values) for key, values in table.items()} | dict.fromkeys(names, error)
    arrays |= {f"{name}_se": 0.01 * error for name in names}
    base = {"n": 4, "patches": 2, "sigma_p": 1.0, "m": 2, "seeds": 3}
    result = {"sweep": "phase", "rows": len(cells), "boundaries": []}
    store.save("theory_sweep", {"sweep": "phase", "base": base}, result=result, arrays=arrays)


def studies_in(store: Store, *instead: str) -> Studies:
    """Return the studies of a store beside which nothing is published."""
    return Studies(store, Published([]), [load_study(name) for name in instead])


def panels(drawing: Drawing) -> list[Any]:
    """Return the axes of a figure, in the order in which they were made."""
    assert drawing.figure is not None
    return drawing.figure.axes


def texts(drawing: Drawing) -> list[str]:
    """Return what is written in the panels of a figure."""
    return [text.get_text() for panel in panels(drawing) for text in panel.texts]


def made_run(*, number: Any = None, kind: str = "unlearn", status: str = "ok", **settings: Any) -> Record:
    """Return a network run with nothing in it but the given numbers; its id is the digest of both."""
    config, numbers = network_config(**settings), dict(number or {})
    labels = {name: value for name, value in config.items() if name not in ("type", "metrics")}
    identity = digest([config, numbers])[:16]
    return Record(identity, kind, status, config, {"labels": labels} | numbers, {"study": "made"})


@pytest.fixture
def run() -> Callable[..., Record]:
    """Make one network run from its settings and its numbers."""
    return made_run


@pytest.fixture
def runs() -> Callable[..., Records]:
    """Make a study: cell settings to the values that seeds 0, 1, ... have of some numbers."""

    def make(cells: list[tuple[dict[str, Any], dict[str, Sequence[float]]]]) -> Records:
        found = [made_run(number={name: float(values[seed]) for name, values in numbers.items()}, seed=seed, **settings)
                 for settings, numbers in cells for seed in range(len(next(iter(numbers.values()))))]  # fmt: skip
        return Records(found)

    return make


@pytest.fixture
def records_of() -> Callable[[Sequence[Record]], Records]:
    """Read records made by hand as figures do."""
    return Records


# The studies of the golden store, by the model or the data set of their runs.
GOLDEN = {"resnet8": "cifar10", "swept": "alpha", "masked": "mask", "drawn": "cifar10-draws", "klom": "klom",
          "patch-cnn": "signal-noise", "rated": "cifar10-rates", "scattered": "cifar10-random",
          "varied": "cifar10-variants", "resnet8-narrow": "ladder"}  # fmt: skip


def save_lists(store: Store) -> None:
    """Write down which runs each study of the golden store has."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    runs = store.records("unlearn")
    networks = {setting_of(run.config): run for run in runs} | {run.run_id: run for run in runs}
    for record in store.records("unlearn", "evaluation", "beside", "twin"):
        part = {"unlearn": "runs"}.get(record.kind, "more")
        about = networks.get(
            record.config.get("network", ""), record
        )  # theory is of the network beside which it stands
        model = (about.result.get("labels") or {}).get("model") or about.config.get("model")
        study = "cifar10-plain" if record.config.get("augment") == "none" else GOLDEN[str(model)]
        found[study][part].append(record.run_id)
    for study, parts in found.items():
        store.lists.put(study, RunList(tuple(parts["runs"]), more=tuple(parts["more"])))


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of synthetic theory cells and network runs."""
    store = Store(tmp_path_factory.mktemp("golden") / "runs")
    for (pretrain, unlearn), strength in itertools.product(TEST_ERROR, STRENGTHS):
        save_theory(store, pretrain, unlearn, strength)
    cells = itertools.product(TOW, ("sgd", "sam-0.1"), ("low", "mid", "high"), range(SEEDS))
    for rule, pretrain, difficulty, seed in cells:
        save_network(store, TOW[rule], rule=rule, pretrain=pretrain, difficulty=difficulty, seed=seed,
                     extra=EXTRA | (SEARCHED if (rule, pretrain) == ("sgd", "sgd") else {}),
                     arrays=attack_arrays(seed, 0.1 + 0.2 * len(rule)), metrics=RUN_METRICS,
                     epochs=trajectory(rule))  # fmt: skip
    save_sweeps(store)
    save_klom(store)
    save_claims(store)
    save_claims(store, measurement_rows(), "theory_measurement")
    save_phase(store)
    save_phase_diagrams(store)
    save_signal_noise(store)
    save_lists(store)
    return store


@pytest.fixture(scope="session")
def drawn_folder(golden: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every figure and table of the golden store, drawn once."""
    folder = tmp_path_factory.mktemp("figures")
    draw(list(FIGURES), studies_in(golden), folder)
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "empty")


@pytest.fixture(scope="session")
def drawing(golden: Store) -> Callable[[str], Drawing]:
    """Draw one figure or table of the golden store, once."""
    studies = studies_in(golden)
    return cache(lambda name: drawing_of(name, studies, Theme()))
