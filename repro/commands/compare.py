"""`repro compare`: the theory at each network's own setting and on its very data, and how far they agree."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from repro.base.progress import track
from repro.base.settings import setting
from repro.records.identity import run_id
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, draw_figures, emit, say, studies_in

if TYPE_CHECKING:
    import numpy as np

    from empirical.runs.resources import Resources
    from empirical.settings.run_config import RunConfig
    from figures.tables.records import Records, Studies
    from theory.engine import Trajectory

DRAW = r",?\s*\bdraw\s*=\s*\d+"  # in the options of a data set
SEEDS = 40  # of the theory at a network's setting
EXPRESSES = 2  # grows with what of a network the theory can express: what a lower one could not is tried again
METRICS = ("test_error", "forget_error", "retain_error", "kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget",
        "zeta_retain_oppose", "zeta_forget_oppose", "active_retain_match", "active_retain_oppose",
        "active_forget_match", "active_forget_oppose")  # fmt: skip
STUDY = Annotated[
    str, typer.Option(help="A study of signal-noise data, or of real images, to compare with the theory.")
]


@dataclass(frozen=True)
class Beside:
    """Identity of the theory at the setting of a network: the setting and how often it is simulated.

    The names of this class and of the next are part of ids.
    """

    VERSION: ClassVar[int] = 2  # that of `theory.config.TheoryConfig`, which is not loaded to name a record

    network: str = setting("", "digest of the network's setting without its seeds (`setting_of`)")
    seeds: int = setting(SEEDS, "independent seeds of the theory", low=2)


@dataclass(frozen=True)
class Twin:
    """Identity of the theory on the data, weights and batches of one network run."""

    VERSION: ClassVar[int] = 2

    network: str = setting("", "id of the run")


def compare(study: STUDY = "", store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Compare networks with the theory: on the same signal-noise data, or a study with its predictions.

    Without a study, your own networks on signal-noise data are compared, or the published ones if you have none.
    If the theory of your networks is missing, it is simulated and stored.
    """
    from figures.catalogue import FIGURES
    from figures.tables.matched_theory import networks

    studies = studies_in(store, [study] if study else ())
    if study and not networks(studies.of("signal-noise")):
        from figures.theory.predictions import rows as predictions

        emit(predictions(studies.of(*FIGURES["fig-predictions"].studies)), as_json=json)
        if not json:
            draw_figures(["fig-predictions"], studies, store / "figures")
        return
    names = [study] if study else [name for name in studies.own() if networks(studies.of(name))]
    for name in names:
        _bring_theory(name, studies, Store(store))
    if names:
        studies = studies_in(store, names)  # with the theory that was simulated now
    _show(studies.of(*FIGURES["tab-agreement"].studies), as_json=json)
    if not json:
        draw_figures(["fig-theory-vs-empirical", "fig-theory-twin", "fig-ladder"], studies, store / "figures")


def _show(records: "Records", *, as_json: bool) -> None:
    from figures.tables.matched_theory import agreement, agreement_row, share_within, without_theory

    table = agreement(records)
    rows = [agreement_row(row) for _, row in table.iterrows()]
    emit(rows, as_json=as_json, empty="no runs to compare; `repro study run recipes/signal-noise.toml` makes them")
    if as_json:
        return
    if rows:
        say(share_within(table))
    for name, missing in without_theory(records).items():
        say(f"not a pair: {name}: the theory has no {', no '.join(missing)}")


def _bring_theory(name: str, studies: "Studies", store: Store) -> None:
    """Simulate the matched theory that networks of a study in the store lack; load nothing where none does."""
    from figures.tables.matched_theory import lacking_settings
    from figures.tables.records import Records
    from figures.tables.steps_away import lacking_matched_theory

    records, made = studies.of(name), list[Record]()
    if settings := lacking_settings(records, EXPRESSES):
        store.ensure_writable()
        jobs = track(list(settings.items()), "theory at the networks' settings")
        made += [_at_setting(key, run, store) for key, run in jobs]
    # The theory on a network's data comes after the theory at its setting.
    if pairs := lacking_matched_theory(Records([*made, *records.all], study=name)):
        store.ensure_writable()
        from empirical.runs.resources import Resources
        from empirical.settings.run_config import Runtime

        resources = Resources(store, Runtime(device="cpu"))
        jobs = track(list(pairs.items()), "theory on the networks' data")
        made += [_on_own_data(run, resources, seed=seed, draw=draw) for (_, draw, seed, *_), run in jobs]
    store.lists.add(name, made)


def _config(run: Record) -> "RunConfig":
    from empirical.settings.run_config import RunConfig
    from repro.base.settings import build

    return build(RunConfig, run.config)


def _at_setting(key: str, run: Record, store: Store) -> Record:
    """Save the theory at the setting of a run, or what of the setting the theory cannot express."""
    from repro.commands.matched import departures, theory_config

    config = _config(run)
    study = str(run.provenance.get("study", ""))
    if missing := departures(config):
        found = {"departures": missing, "bridge": EXPRESSES}
        return store.save("beside", Beside(key), result=found, provenance=collect(study=study))
    from theory.engine import simulate_many

    found = simulate_many([theory_config(config, seeds=SEEDS)], oracle=False)[0]
    return store.save(
        "beside", Beside(key), result=_facts(found) | {"departures": []}, status=found.status,
        arrays={"curves": _curves(found)}, provenance=collect(study=study),
    )  # fmt: skip


def _on_own_data(run: Record, resources: "Resources", *, seed: int, draw: int) -> Record:
    """Save the theory on the data, weights and batches of a run, or of the same run with another seed and draw."""
    from empirical.runs.experiment import make_experiment
    from repro.commands.matched import on_own_data

    data, own = str(run.config["dataset_options"]), run.result["labels"].get("draw", 0)
    if draw != own:  # what a run leaves out is part of its identity: of the same draw the options stay as they are
        data = f"{re.sub(DRAW, '', data)}, draw={draw}".strip(", ")
    other = replace(_config(run), seed=seed, dataset_options=data, data="")
    same = (seed, draw) == (run.config["seed"], own)
    config = resources.identified(_config(run) if same else other)
    found = on_own_data(make_experiment(config, resources))
    return resources.store.save(
        "twin", Twin(run_id(run.kind, config)), result=_facts(found) | {"labels": config.tags()}, status=found.status,
        arrays={"curves": _curves(found)}, provenance=collect(study=str(run.provenance.get("study", ""))),
    )  # fmt: skip


def _facts(found: "Trajectory") -> dict[str, Any]:
    return {"theory": found.config, "seeds": found.seeds, "epochs": found.epochs, "metrics": METRICS}


def _curves(found: "Trajectory") -> "np.ndarray":
    """Return these metrics over the epochs of unlearning, shape `(metrics, seeds, epochs)`, single precision."""
    import numpy as np

    return np.stack([found.metrics[name] for name in METRICS]).astype(np.float32)
