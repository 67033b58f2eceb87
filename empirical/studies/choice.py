"""A hyper-parameter chosen before a study, on a training seed outside it, by a rule that its recipe states."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from empirical.settings.run_config import CHOICE, RunConfig
from empirical.studies.finished import Finished
from repro.records.settings import check, reject, setting

METRICS = ("accuracy", "tow")


@dataclass(frozen=True)
class Choice:
    """Each method, rule and forget set gets the candidate with the highest ToW on a seed of its own; ties, the smaller.

    ToW needs the retrained model, which unlearning in earnest has not: the choice shows each method at its best. It is
    made for every forget set, because the rate that forgets a hard one destroys what the model knows of an easy one.
    """

    name: str = setting("lr", "the setting that is chosen", choices=("lr", "epochs"))
    values: tuple[int | float, ...] = setting((0.003, 0.01, 0.03, 0.1), "its candidates", low=0, open_low=True)
    seed: int = setting(9, "training seed of the runs that choose, not one of the study's", low=0)
    pretrain: str = setting("sgd", "pretraining rule of the runs that choose")

    def __post_init__(self) -> None:
        check(self)
        if not self.values:
            raise reject("values", [], "a list of at least one")

    def candidates(self, cells: Iterable[RunConfig]) -> list[RunConfig]:
        """Return the runs that choose for these cells, each once, those that share trained stages together.

        Raises:
            ConfigError: when the seed is one of the study's own, or a candidate is out of range.
        """
        same = {"seed": self.seed, "pretrain": self.pretrain, "metrics": METRICS}
        cases: dict[RunConfig, None] = {}
        for cell in cells:
            if cell.seed == self.seed:
                raise reject("choose.seed", self.seed, "a seed outside the study", "the study must not see its choice")
            cases[replace(cell, **same)] = None
        found = [replace(case, **{self.name: value}) for case in cases for value in self.values]
        return sorted(found, key=lambda cell: (cell.pretrain, cell.difficulty))

    def apply(self, cells: Iterable[RunConfig], finished: Finished) -> list[RunConfig]:
        """Return the cells with the chosen value in place.

        Args:
            cells: those whose setting is to be chosen.
            finished: what the candidates left behind; a candidate with a run that diverged loses to any other.
        """
        scores: dict[tuple[str, ...], dict[int | float, list[float]]] = defaultdict(lambda: defaultdict(list))
        cells = list(cells)
        for run in self.candidates(cells):
            record = finished.find(CHOICE, run)
            tow = record.result.get("tow") if record else None
            scores[_case(run)][getattr(run, self.name)].append(float("-inf") if tow is None else tow)
        return [replace(cell, **{self.name: best(scores[_case(cell)])}) for cell in cells]


def _case(cell: RunConfig) -> tuple[str, ...]:
    return cell.method, cell.rule, cell.difficulty


def best(scores: dict[int | float, list[float]]) -> int | float:
    """Return the candidate with the highest mean, the smaller of two equal ones.

    Args:
        scores: ToW of each run, by candidate.
    """
    return max(sorted(scores), key=lambda value: sum(scores[value]) / len(scores[value]))
