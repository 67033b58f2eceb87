"""Finished runs by their configs, from the store and the published studies; without the data, by the other settings."""

from collections import defaultdict
from collections.abc import Iterable

from empirical.data.source import data_digest
from empirical.settings.keys import complete
from empirical.settings.run_config import (
    ESTIMATE,
    FLOOR,
    KIND,
    SEARCH,
    MemorizationConfig,
    RunConfig,
    Runtime,
    altered,
    config_for,
)  # fmt: skip
from repro.base.places import published_files
from repro.base.settings import build
from repro.records.identity import digest, identifying
from repro.records.published import PublishedStudy
from repro.records.record import Reader, Record, read_records
from repro.records.stages import Stages
from repro.records.store import Store

READ = (KIND, SEARCH, FLOOR, ESTIMATE, "benchmark")
Known = dict[tuple[str, str], list[Record]]


class Finished:
    """Finished network runs of a store and of the published studies.

    Args:
        readers: where to look. A run of a store counts before a published one; of two published ones, the one with
            every metric that is asked for counts.

    Attributes:
        own: the records of the stores by their ids.
        unseen: digests of data sets that are not on this machine, of the records that `find` returned.
        benchmarks: records of how fast something is.
    """

    def __init__(self, readers: Iterable[Reader]) -> None:
        self.unseen: set[str] = set()
        readers = list(readers)
        self._stores = [one for one in readers if isinstance(one, Store)]
        own = read_records(self._stores, *READ)  # one look at a store of many
        self.own = {record.run_id: record for record in own}
        published = [one for one in readers if not isinstance(one, Store)]
        committed = [record for study in published for record in study.records(*READ)]
        self._own, self._committed = _by_config(own), _by_config(committed)
        every = {record.run_id: record for record in committed} | self.own
        self.benchmarks = [record for record in every.values() if record.kind == "benchmark"]

    def imported(self, name: str) -> str:
        """Return the id of an imported model by its name or id; an empty text if there is none."""
        return next((one for store in self._stores if (one := store.stages.imported(name))), "")

    def find(self, kind: str, config: RunConfig) -> Record | None:
        """Return the finished run of a config, with every metric it names; without a data digest, on any data."""
        record = self.look(kind, config)
        return record if record and complete(record, config) else None

    def look(self, kind: str, config: RunConfig) -> Record | None:
        """Return the run of a config, if possible one with every metric that the config names."""
        own, committed = (_matching(known, kind, config) for known in (self._own, self._committed))
        matching = [*own, *(record for record in committed if record.run_id not in self.own)]
        whole = next((record for record in matching if complete(record, config)), None)
        if whole and not config.data:
            self.unseen.add(str(whole.identity.get("data", "")))
        return whole or next(iter(matching), None)

    def usable(self, configs: Iterable[RunConfig]) -> list[Record]:
        """Return the finished runs of these configs, in the store or published, whichever study ran them.

        A run that lacks some of its metrics is among them if the others are measured as its config asks.
        """
        found = []
        for config in configs:
            if record := self.look(KIND, config):
                there = tuple(name for name in config.metrics if name in record.result.get("evaluations", {}))
                found += [record] if complete(record, altered(config, metrics=there) if there else config) else []
        return found

    def in_store(self, config: RunConfig) -> bool:
        """Return whether the store itself has the run, with every metric it names."""
        return any(complete(record, config) for record in _matching(self._own, KIND, config))

    def in_a_committed_study(self, config: RunConfig) -> bool:
        """Return whether a published study has the run, with every metric it names."""
        return any(complete(record, config) for record in _matching(self._committed, KIND, config))

    def estimated(self, config: MemorizationConfig) -> bool:
        """Return whether the scores of an estimate are there, so that its subset models are not needed."""
        found = (_matching(known, ESTIMATE, config) for known in (self._own, self._committed))
        return any("reliability" in one.result for records in found for one in records)


def hard_to_forget(config: RunConfig, runtime: Runtime) -> RunConfig:
    """Return the config with the forget set `high` where published memorization scores give it without any training.

    The settings of the subset models become those of the published estimate. Without such an estimate of the same
    images the config stays as it is.
    """
    published = read_records(map(PublishedStudy, published_files()), ESTIMATE)
    estimates = [build(MemorizationConfig, one.config) for one in published if "reliability" in one.result]
    for found in (one for one in estimates if one.dataset == config.dataset):
        hard = altered(
            config, difficulty="high", subsets=found.subsets, subset_model=found.model, subset_epochs=found.epochs,
            subset_precision=found.precision, subset_portable=found.portable,
        )  # fmt: skip
        if config_for(altered(hard, data=config.data or data_digest(config, runtime))) == found:
            return hard
    return config


def _by_config(records: Iterable[Record]) -> Known:
    """Return records by their kind and by the digest of their settings without the data."""
    found: Known = defaultdict(list)
    for record in records:
        found[record.kind, _rest(record.identity)].append(record)
    return found


def _matching(known: Known, kind: str, config: RunConfig | MemorizationConfig) -> list[Record]:
    """Return the runs of a config; without a data digest, on any data."""
    found = known.get((kind, _rest(identifying(config))), [])
    return [record for record in found if config.data in ("", record.identity.get("data"))]


def _rest(identity: dict[str, object]) -> str:
    return digest({name: value for name, value in identity.items() if name != "data"})


def with_data(configs: Iterable[RunConfig], runtime: Runtime, models: Finished | Stages) -> list[RunConfig]:
    """Return the configs with what identifies a run: the digest of its data set, and the id of an imported model.

    Those whose files are not here keep theirs empty, and those whose model is not here its name.
    """
    digests: dict[tuple[str, str], str] = {}
    originals: dict[str, str] = {}
    found = []
    for config in configs:
        key = config.dataset, config.dataset_options
        if key not in digests:
            digests[key] = data_digest(config, runtime)
        if config.original not in originals:
            originals[config.original] = models.imported(config.original) or config.original
        found.append(altered(config, data=config.data or digests[key], original=originals[config.original]))
    return found
