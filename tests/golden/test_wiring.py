"""Bugs in the wiring, each patched by its symbol, and the golden run or contract that notices it.

A bug is a change of one function, method or class while a check runs: the check must then fail. Nothing quotes source
text, so a reformat moves no row, and a rename only the rows of what was renamed. Bugs inside formulas are the business
of `make mutation`.
"""

import importlib
import json
from collections.abc import Callable, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from empirical.runs.resources import Resources
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.settings import build
from repro.records.stages import CHECKSUM
from repro.records.store import Store
from tests.empirical import (
    test_checkpoint,
    test_data,
    test_exchange,
    test_fidelity,
    test_models,
    test_pooled,
    test_stages,
)
from tests.empirical.conftest import small_resnet
from tests.golden import commands, ids, small, tables

ROOT = Path(__file__).parents[2]


Check = Callable[[Path], Iterable[str]]  # yields what it notices, given an empty folder


def small_part(name: str) -> Check:
    return lambda folder: small.moved(name)


def figure(name: str) -> Check:
    def check(folder: Path) -> list[str]:
        return tables.differences(tables.drawn(name, tables.published_studies()), name)

    return check


def command(line: str) -> Check:
    def check(folder: Path) -> list[str]:
        frozen, found = json.loads(commands.FILE.read_text())[line], commands.answer(line, folder)
        return [] if found == frozen else [f"{line}: was {frozen}, is {found}"]

    return check


def some_ids(folder: Path) -> list[str]:
    """Compare the ids of every fiftieth committed run, and of its stages."""
    records = [one for one in ids.committed_records().values() if one.kind in ids.RUNS][::50]
    lines = []
    for record in records:
        found = ids.stage_ids(build(RunConfig, record.config)) | {"run": ids.id_of(record.kind, record.config)}
        parents = {name: one for name, one in record.result["parents"].items() if not name.endswith(CHECKSUM)}
        wanted = parents | {"run": record.run_id}
        lines += [
            f"{record.run_id} {name}: {wanted[name]}, {found[name]}" for name in wanted if wanted[name] != found[name]
        ]
    return lines


def damage_is_named(folder: Path) -> list[str]:
    """A store gives back what it was given, and names a file that was changed."""
    store = Store(folder / "runs")
    record = store.save("kind", {"a": 1}, result={"b": 2.5}, arrays={"x": np.arange(4)}, provenance={})
    found = Store(folder / "runs").find("kind", {"a": 1})
    lines = (
        [] if found and found.result == {"b": 2.5} and found.arrays()["x"].tolist() == [0, 1, 2, 3] else ["not found"]
    )
    lines += ["whole, and called damaged"] if store.verify() else []
    lines += ["found under another config"] if store.find("kind", {"a": 2}) else []
    arrays = folder / "runs" / "runs" / record.run_id / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"?")
    return lines + ([] if store.verify() else ["damaged, and called whole"])


def holds(test: Callable[..., None], *arguments: Any) -> Check:
    """Take a test of another file as a check, and give it the fixtures that it asks for."""

    def check(folder: Path) -> list[str]:
        store = Store(folder / "runs")
        with pytest.MonkeyPatch.context() as monkeypatch:
            fixtures = {"tmp_path": folder, "store": store, "monkeypatch": monkeypatch,
                        "resources": Resources(store, Runtime(device="cpu")),
                        "small": small_resnet}  # fmt: skip
            asked = {name: fixtures[name] for name in signature(test).parameters if name in fixtures}
            try:
                test(*arguments, **asked)
            except AssertionError as error:
                return [str(error)]
        return []

    return check


CHECKS: dict[str, Check] = {
    **{name: small_part(name) for name in small.PARTS}, "ids": some_ids, "store": damage_is_named,
    "bf16": holds(test_models.test_a_model_trained_in_bf16_computes_its_loss_in_fp32),
    "both branches": holds(test_fidelity.test_d5_double_follows_the_schedule_with_the_optimizers_of_both_branches),
    "resuming": holds(test_checkpoint.test_the_released_presets_resume_with_the_optimizers_of_both_branches,
                      "official-paper", "sgd"),
    "klom": holds(test_pooled.test_klom_is_the_divergence_of_a_roles_margins_from_those_of_retrained_models,
                  "original", "forget"),
    "klom_easydub": holds(test_pooled.test_klom_easydub_pools_every_model_of_a_role_on_a_set, "original", "retain"),
    "ulira": holds(test_pooled.test_ulira_counts_a_roles_models_among_the_false_alarms_of_retrained_ones, "unlearned"),
    "pools": holds(test_pooled.test_models_that_forgot_other_images_are_no_pool),
    "export": holds(test_exchange.test_each_exported_file_holds_the_weights_of_its_own_model),
    "corrupted": holds(test_stages.test_every_model_of_a_corrupted_run_and_its_mask_see_the_corrupted_images),
    "cifar100": holds(test_data.test_the_hubs_cifar100_is_read_by_its_hundred_classes),
    **{name: figure(name) for name in ("tab-ulira", "tab-neggrad", "fig-theory-drive", "tab-draws")},
    **{line: command(line) for line in ("figures fig-toww", "show zzzz --json", "check digits --published --json",
       "list --kind theory_claim --json", "empirical plan digits --json", "empirical grid digits --dry-run --json",
       f"theory {commands.SMALL} --json", "show c4581923 --json", "figures tab-methods --strict --json",
       "theory claims --json", "explain tow --json")},
}  # fmt: skip


class Bug(NamedTuple):
    """A bug: where it sits (`module:attribute`), what becomes of the attribute, and the check that notices."""

    symbol: str
    name: str
    change: Callable[[Any], Any]
    check: str


def given(**fixed: Any) -> Callable[[Any], Any]:
    """Call with these arguments, whatever was asked for."""
    return lambda real: lambda *args, **kwargs: real(*args, **{**kwargs, **fixed})


def instead(value: Any) -> Callable[[Any], Any]:
    return lambda real: value


def first_as(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Call with the first argument changed."""
    return lambda real: lambda first, *args, **kwargs: real(change(first), *args, **kwargs)


def result_as(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Change what comes back."""
    return lambda real: lambda *args, **kwargs: change(real(*args, **kwargs))


def swapped(first: int, second: int) -> Callable[[Any], Any]:
    """Call with two positional arguments exchanged."""

    def change(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            order = list(args)
            order[first], order[second] = order[second], order[first]
            return real(*order, **kwargs)

        return call

    return change


def field(**values: Any) -> Callable[[Any], Any]:
    """Read a dataclass, such as a method or a config, with other values of its fields."""
    return first_as(lambda one: replace(one, **values))


def without_root(real: Any) -> Any:
    return lambda root, *names: real(0, *names)


def without_last_name(real: Any) -> Any:
    return lambda root, *names: real(root, *names[:-1])


def moved_for_good(real: Any) -> Any:
    @contextmanager
    def shifted(weights: Any, shift: Any) -> Any:
        with torch.no_grad():
            for weight, change in zip(weights, shift, strict=True):
                weight.add_(change)
        yield

    return shifted


def descends_on_forget(real: Any) -> Any:
    def loss(self: Any, part: str, batch: Any, logits: Any) -> Any:
        return -real(self, part, batch, logits) if part == "forget" else real(self, part, batch, logits)

    return loss


def other_part(real: Any) -> Any:
    names = {"retain": "forget", "forget": "retain", "all": "all"}
    return lambda self, part, batch, logits: real(self, names[part], batch, logits)


def all_rows(real: Any) -> Any:
    def row_sets(images: Any, settings: Any, retain: Any, forget: Any, **kwargs: Any) -> Any:
        return real(images, settings, np.arange(len(images.train_labels)), forget, **kwargs)

    return row_sets


def of_the_first(real: Any) -> Any:
    known: dict[str, Any] = {}
    return lambda experiment, stage, **kwargs: real(experiment, known.setdefault("first", stage), **kwargs)


def everybody(real: Any) -> Any:
    return lambda config, labels, rng, *, members: real(config, labels, rng, members=np.arange(config.n))


def at_the_start(real: Any) -> Any:
    from theory.training import start_state

    return lambda config, drawn, state, probing=None: real(config, drawn, start_state(drawn.start), probing)


def not_cast(real: Any) -> Any:
    def logits(self: Any, prepared: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            return self._forward(prepared)

    return logits


def of_the_first_optimizer(real: Any) -> Any:
    return lambda model, optimizers, *rest: real(model, optimizers[:1], *rest)


def first_follows(real: Any) -> Any:
    def set_rate(self: Any, lr: float) -> None:
        for group in self.optimizers[0].param_groups:
            group["lr"].fill_(lr)

    return set_rate


def reverse_resampled(real: Any) -> Any:
    def halves(reference: Any, model: Any, drawn: Any = None) -> Any:
        return real(reference, model) if drawn is None else real(model, reference, drawn)

    return halves


def unlearned_as_original(real: Any) -> Any:
    return lambda self, role, name: real(self, "unlearned" if role == "original" else role, name)


def trained_on_clean(real: Any) -> Any:
    return lambda data: real(replace(data, config=replace(data.config, corruption="none")))


def hash_of_one(real: Any) -> Any:
    return lambda *args, hashes, **more: real(*args, hashes=dict.fromkeys(hashes, hashes["unlearned"]), **more)


RULES, STEP, LOOP = "empirical.training.rules", "empirical.training.step", "empirical.training.loop"
UNLEARNING, EXPERIMENT = "empirical.runs.unlearning", "empirical.runs.experiment"
POOLED, EXCHANGE, FILES = "empirical.metrics.pooled", "empirical.exchange.models", "empirical.data.files"
CLOSENESS, ATTACKS = "empirical.metrics.closeness", "empirical.metrics.attacks"
ENGINE = "theory.engine"
BUGS = [
    # gradient rules
    Bug(f"{RULES}:perturbation", "against the gradient", result_as(lambda eps: [-one for one in eps]), "stages"),
    Bug(f"{RULES}:perturbation", "never adaptive", given(adaptive=False), "stages"),
    Bug(f"{RULES}:perturbation", "radius forgotten", given(rho=1.0), "stages"),
    Bug(f"{RULES}:norm", "of the first tensor alone", first_as(lambda tensors: list(tensors)[:1]), "stages"),
    Bug(f"{RULES}:shifted", "weights not put back", moved_for_good, "stages"),
    Bug(f"{RULES}:frozen_statistics", "both passes move BatchNorm", instead(lambda model: nullcontext()), "stages"),
    Bug(f"{RULES}:where", "mask inverted", first_as(lambda mask: [~one for one in mask]), "stages"),
    Bug(f"{RULES}:Branches.__call__", "no forget branch",
        instead(lambda self, model, loss: self.retain(model, loss)), "stages"),
    Bug(f"{RULES}:Scope.clip", "owns everything", instead(lambda self, gradient, stage: gradient), "stages"),
    # methods
    Bug("empirical.methods.forget:NegGrad.loss", "descends on F", descends_on_forget, "stages"),
    Bug("empirical.methods.forget:NegGrad.loss", "alpha and 1 - alpha exchanged",
        first_as(lambda one: replace(one, alpha=1 - one.alpha)), "stages"),
    Bug("empirical.methods.forget:GradientAscent.loss", "descends", result_as(lambda loss: -loss), "stages"),
    Bug("empirical.methods.relabel:RandomLabel.phases", "true labels", field(relabel=False), "stages"),
    Bug("empirical.methods.relabel:RandomLabel.loss", "the other part", other_part, "stages"),
    Bug("empirical.methods.forget:Scrub.distance", "models exchanged", swapped(1, 2), "stages"),
    Bug("empirical.methods.forget:Scrub.phases", "F after R", result_as(lambda found: found[::-1]), "stages"),
    Bug("empirical.methods.retain:L1Sparse.loss", "no penalty", field(strength=0.0), "stages"),
    # a step, a loop, its batches
    Bug(f"{STEP}:make_optimizer", "no momentum", field(momentum=0.0), "stages"),
    Bug(f"{STEP}:make_optimizer", "no weight decay", field(weight_decay=0.0), "stages"),
    Bug(f"{STEP}:Step.set_rate", "the rate stays", instead(lambda self, lr: None), "stages"),
    Bug(f"{STEP}:Masked", "weight decay moves masked weights", instead(type("Nothing", (), {})), "stages"),
    Bug(f"{STEP}:Logits.original", "the model as its own teacher",
        instead(lambda self, images: self.network.logits(images).detach()), "stages"),
    Bug(f"{LOOP}:learning_rate", "the schedule counts epochs only",
        lambda real: lambda recipe, epoch, progress: real(recipe, epoch, 0.0), "stages"),
    Bug("empirical.augmentation.augment:crop_and_flip", "no augmentation",
        instead(lambda images, draws, **_: images), "stages"),
    Bug("empirical.training.batches:Arranger.generator", "every epoch in one order",
        lambda real: lambda self, *names: real(self, names[-1]), "stages"),
    Bug("empirical.training.saliency:saliency_mask", "the least salient weights", given(polarity="low"), "stages"),
    # a run, from config to record
    Bug("empirical.runs.stages:derive_seed", "the seed is not passed on", without_root, "runs"),
    Bug("empirical.runs.stages:row_sets", "the retrained model sees F", all_rows, "runs"),
    Bug(f"{UNLEARNING}:derive_seed", "the unlearning seed is not passed on", without_last_name, "runs"),
    Bug(f"{UNLEARNING}:row_sets", "R and F exchanged", swapped(2, 3), "runs"),
    Bug(f"{UNLEARNING}:build_method", "alpha is not passed on", field(alpha=0.9), "runs"),
    Bug(f"{UNLEARNING}:build_rule", "the rule is not passed on",
        lambda real: lambda label, context: real("sgd", context), "runs"),
    Bug(f"{UNLEARNING}:method_rule", "SalUn without its mask",
        instead(lambda method, rule, context: rule), "runs"),
    Bug(f"{UNLEARNING}:saliency_mask", "mask inverted", result_as(lambda mask: [~one for one in mask]), "runs"),
    Bug(f"{UNLEARNING}:saliency_mask", "the fraction is not passed on",
        lambda real: lambda magnitude, fraction, **kwargs: real(magnitude, 0.3, **kwargs), "runs"),
    Bug("empirical.settings.run_config:RunConfig.unlearning", "unlearns by the recipe of pretraining",
        instead(RunConfig.pretraining), "runs"),
    Bug("empirical.runs.evaluations:_outputs", "every metric sees the first model asked for", of_the_first, "runs"),
    Bug("empirical.runs.evaluations:_network", "every metric reaches the first model asked for",
        lambda real: lambda stage, known={}: known.setdefault("first", real(stage)), "runs"),
    Bug("empirical.metrics.evaluation:Evaluation.on", "attacks see the original",
        lambda real: lambda self, role, name: real(self, "original", name), "runs"),
    Bug("empirical.metrics.evaluation:halves", "the wrong half",
        result_as(lambda found: {"validation": found["report"], "report": found["validation"]}), "runs"),
    Bug(f"{CLOSENESS}:share_correct", "share of errors", result_as(lambda share: 1 - share), "runs"),
    Bug(f"{CLOSENESS}:tow", "always signed", given(signed=True), "runs"),
    Bug(f"{CLOSENESS}:weight_distances", "models exchanged", swapped(0, 1), "runs"),
    Bug(f"{ATTACKS}:forgotten_share", "share of members", result_as(lambda share: 1 - share), "runs"),
    Bug(f"{ATTACKS}:losses", "gains instead of losses", result_as(lambda found: -found), "runs"),
    # arithmetic, and both optimizers of the released presets
    Bug("empirical.models.network:Network.logits", "logits stay in bf16", not_cast, "bf16"),
    Bug(f"{LOOP}:to_bytes", "a state without the moments of the forget branch", of_the_first_optimizer, "resuming"),
    Bug(f"{STEP}:Step.set_rate", "the rate of the forget branch stays", first_follows, "both branches"),
    # many models
    Bug(f"{POOLED}:divergence_of_halves", "model and reference exchanged", swapped(0, 1), "klom"),
    Bug(f"{POOLED}:divergence_of_halves", "intervals of the reverse", reverse_resampled, "klom"),
    Bug(f"{POOLED}:SeedArrays.margins", "the unlearned models as the originals", unlearned_as_original, "klom"),
    Bug(f"{POOLED}:SeedArrays.margins", "EasyDUB's KLoM of the unlearned models as the originals'",
        unlearned_as_original, "klom_easydub"),
    Bug(f"{POOLED}:easydub_divergence", "model and reference exchanged", swapped(0, 1), "klom_easydub"),
    Bug(f"{POOLED}:likelihood_ratios", "retrained models as the members", swapped(0, 1), "ulira"),
    Bug("empirical.studies.measure:digest", "models that forgot other images in one pool",
        first_as(lambda parts: [parts[0], *parts[2:]]), "pools"),
    # corrupted images
    Bug(f"{EXPERIMENT}:train_retrained", "the retrained model sees clean images", trained_on_clean, "corrupted"),
    Bug(f"{UNLEARNING}:forget_mask", "the mask of clean images",
        lambda real: lambda config, images, held, *rest: real(config, images, images.train_images, *rest),
        "corrupted"),
    # files of images, files of models
    Bug(f"{FILES}:LABELS", "the coarse labels of CIFAR-100", instead(("label", "coarse_label")), "cifar100"),
    Bug(f"{FILES}:STATISTICS", "CIFAR-100 normalized as CIFAR-10",
        lambda real: {**real, "cifar100": real["cifar10"]}, "cifar100"),
    Bug(f"{EXCHANGE}:ROLE_STAGES", "the unlearned weights in every file",
        lambda real: dict.fromkeys(real, "unlearn"), "export"),
    Bug(f"{EXCHANGE}:model_card", "one hash for every file", hash_of_one, "export"),
    # forget sets and memorization
    Bug("empirical.data.memorization:estimate", "inside and outside exchanged",
        lambda real: lambda inside, correct: real(~inside, correct), "choosing"),
    Bug("empirical.data.memorization:draw_subsets", "always the seed 0",
        first_as(lambda config: replace(config, seed=0)), "choosing"),
    Bug("empirical.data.forget:Candidates.ranked", "the least memorized last",
        result_as(lambda found: (found[0][::-1], found[1][::-1])), "choosing"),
    Bug("empirical.data.forget:Candidates.of_class", "another class",
        instead(lambda self: self.rows[self.labels[self.rows] == 0]), "choosing"),
    Bug("empirical.data.forget:derive_seed", "the forget seed is not passed on", without_root, "choosing"),
    # identities and the store
    Bug("empirical.settings.keys:_key", "the seed is no part of a stage",
        first_as(lambda config: replace(config, seed=0)), "ids"),
    Bug("empirical.settings.keys:_key", "the data set is no part of a stage",
        first_as(lambda config: replace(config, data="")), "ids"),
    Bug("repro.records.identity:_fields", "a default is hashed too",
        lambda real: lambda cls: [(one[0], one[1], None if one[0] == "momentum" else one[2]) for one in real(cls)],
        "ids"),
    Bug("empirical.settings.run_config:RunConfig.retrain_rule", "retrains by the rule of unlearning",
        instead(property(lambda self: self.rule)), "ids"),
    Bug("repro.records.folder:read_checked", "hashes are not compared",
        lambda real: lambda path, sha=None: real(path), "store"),
    Bug("repro.records.store:Store.find", "one record for all configs",
        lambda real: lambda self, kind, config: real(self, kind, {"a": 1}), "store"),
    # theory
    Bug(f"{ENGINE}:generator", "the seed is not passed on", without_root, "theory"),
    Bug(f"{ENGINE}:draw", "one draw for all seeds", lambda real: lambda config, seed: real(config, 0), "theory"),
    Bug(f"{ENGINE}:pretrain_schedule", "the oracle sees F", everybody, "theory"),
    Bug(f"{ENGINE}:make_rule", "no radius", given(rho=0.0), "theory"),
    Bug(f"{ENGINE}:make_rule", "always SGD", lambda real: lambda name, config, *, rho: real("sgd", config, rho=rho),
        "theory"),
    Bug(f"{ENGINE}:copy_state", "cells unlearn one after another", instead(lambda state: state), "theory"),
    Bug(f"{ENGINE}:unlearn_schedule", "alpha and 1 - alpha exchanged",
        first_as(lambda config: config.changed(alpha=1 - config.alpha)), "theory"),
    Bug(f"{ENGINE}:unlearn_schedule", "random labels push away",
        first_as(lambda config: config.changed(method="neggrad")), "theory"),
    Bug("theory.measures.measure:measure_network", "measured at the start", at_the_start, "theory"),
    Bug(f"{ENGINE}:Probe", "no radius", lambda real: lambda schedule, rho: real(schedule, 0.0), "theory"),
    Bug(f"{ENGINE}:start_state", "no noise in the initial weights",
        first_as(lambda start: start._replace(V=0 * start.V)), "theory"),
    # figures
    Bug("figures.tables.floor:tug_of_war", "distances with their signs",
        instead(lambda ours, reference: np.prod(1 - (ours - reference), axis=-1)), "tab-neggrad"),
    Bug("figures.networks.tow_tables:noise_floors", "floor of half the models",
        first_as(lambda table: table[table["seed"] > 0]), "tab-neggrad"),
    Bug("figures.tables.runs:study_runs", "one seed is left out",
        result_as(lambda runs: [one for one in runs if one.config["seed"] > 0]), "tab-neggrad"),
    Bug("figures.networks.klom:ulira_table", "one pool is left out", first_as(lambda pools: pools[1:]), "tab-ulira"),
    Bug("figures.theory.regimes:ACTIVE", "another share of active neurons", instead(0.5), "fig-theory-drive"),
    Bug("figures.networks.variations:over_draws", "seeds instead of draws",
        lambda real: lambda table: real(table.assign(forget_seed=table["forget_seed"].max())), "tab-draws"),
    # commands
    Bug("repro.base.errors:ConfigError.exit_code", "bad input ends like an unknown error", instead(1),
        "figures fig-toww"),
    Bug("repro.base.errors:MissingDataError.exit_code", "what is missing ends like bad input", instead(2),
        "show zzzz --json"),
    Bug("empirical.studies.compare:check_study", "nothing is compared", result_as(lambda rows: rows[:1]),
        "check digits --published --json"),
    Bug("empirical.studies.plan:cost_of", "SAM costs as much as SGD", instead(lambda label: 1),
        "empirical grid digits --dry-run --json"),
    Bug("empirical.studies.recipe:_ordered", "the last cell is left out", result_as(lambda cells: list(cells)[:-1]),
        "empirical grid digits --dry-run --json"),
    Bug("theory.study:run_study", "seeds are not passed on", field(seeds=3), f"theory {commands.SMALL} --json"),
    Bug("repro.commands.theory:claim_row", "the estimate is left out",
        result_as(lambda row: {**row, "estimate": None}), "theory claims --json"),
    Bug("repro.commands.records:published_files", "committed records are not read", instead(lambda *_: []),
        "list --kind theory_claim --json"),
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_passes_without_a_bug(check: str, tmp_path: Path) -> None:
    assert [*CHECKS[check](tmp_path)] == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.symbol.partition(':')[2]}: {bug.name}")
def test_a_bug_is_noticed(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, path = bug.symbol.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    monkeypatch.setattr(owner, name, bug.change(getattr(owner, name)))
    monkeypatch.setattr(ids, "_ROWS", {})
    assert any(CHECKS[bug.check](tmp_path))
