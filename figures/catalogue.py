"""The one list: every figure and table by name: its function, what it shows, its studies, the claims it illustrates.

It imports none of them, so that anything may look up the command that brings a figure's records.
"""

import importlib
import importlib.metadata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from repro.base.errors import ConfigError
from repro.base.settings import choose
from repro.study.study import LOOSE, load_study

if TYPE_CHECKING:
    from figures.drawing.drawing import Drawing
    from figures.drawing.style import Theme
    from figures.tables.records import Records

DrawFunction = Callable[["Records", "Theme"], "Drawing"]


class Entry(NamedTuple):
    """A figure or table.

    Attributes:
        draw: its function, `module:name` in this package.
        shows: what is on it.
        studies: whose records it is drawn from, each in panels of its own.
        claims: claims of the paper that it illustrates, by their keys (`figures.answers`).
        made_by: the command that makes its records, where it is not that of its first study.
    """

    draw: str
    shows: str
    studies: tuple[str, ...]
    claims: tuple[str, ...] = ()
    made_by: str = ""

    @property
    def command(self) -> str:
        """The command that makes its records, that of its first study where no other is named."""
        return self.made_by or load_study(self.studies[0]).command


# The study that has every method, rule and forget set of the paper, and NegGrad in every crossing of them.
MAIN = ("cifar10",)
THEORY, CLAIMS, SWEEPS, MEASUREMENTS = ("theory",), ("claims",), ("sweeps",), ("measurements",)
PATCHES, LADDER, KLOM = ("signal-noise",), ("ladder", "signal-noise"), ("klom",)
BOUNDARIES = ("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary")

# In the order of the paper; then what its reviewers asked for.
FIGURES = {
    "fig-umap": Entry("networks.umap:draw", "UMAP of features, all classes and the largest forget class", MAIN,
                      ("5b",)),
    "fig-tow": Entry("networks.strips:draw_tow", "ToW per method, rule and forget set, with the noise floor", MAIN,
                     ("1a", "1b")),
    "fig-forest": Entry("networks.forest:draw", "ToW by SAM or ASAM minus SGD, setting by setting", MAIN, ("1a",)),
    "fig-accuracies": Entry("networks.strips:draw_accuracies", "the three accuracies under ToW", MAIN, ("3",)),
    "fig-trajectories": Entry("networks.trajectories:draw", "ToW and forget accuracy while unlearning", MAIN),
    "fig-alpha": Entry("networks.sweeps:draw_alpha", "ToW and its accuracies against alpha",
                       ("cifar10-alpha", "alpha"), ("4",)),
    "fig-entanglement": Entry("networks.strips:draw_entanglement",
                              "E_Var and E_Wp, global and class-wise, before and after", MAIN, ("5b",)),
    "fig-mia": Entry("networks.strips:draw_mia", "membership inference on F, with the retrained model's value", MAIN,
                     ("5a",)),
    "fig-landscape": Entry("networks.landscape:draw", "loss landscapes on F and test", MAIN, ("6a", "6b")),
    "fig-theory-trajectories": Entry("theory.trajectories:draw", "kappa and zeta on R and F while unlearning", THEORY,
                                     ("lemma-3.4-surplus-difference",)),
    "fig-theory-activation": Entry("theory.lemma_3_1_activation:draw", "activation fractions at W and W + eps", THEORY,
                                   ("lemma-3.1-activation", "lemma-3.1-sgd-on-forget")),
    "fig-theory-phase": Entry("theory.theorem_3_2_boundary:draw",
                              "boundary of benign overfitting, fitted and theoretical", CLAIMS, BOUNDARIES),
    "fig-theory-map": Entry("theory.phase_map:draw", "phase diagrams of test error over d and |phi|",
                            SWEEPS, BOUNDARIES, "repro theory sweep phase"),
    "fig-theory-drive": Entry("theory.regimes:draw_drive", "test error over signal strength and noise drive X",
                              SWEEPS, BOUNDARIES, "repro theory sweep drive"),
    "fig-theory-survival": Entry("theory.regimes:draw_survival", "surviving neurons over signal strength and V / V_c",
                                 SWEEPS, ("lemma-3.1-activation",), "repro theory sweep survival"),
    "fig-theory-odds": Entry("theory.regimes:draw_odds", "test error over the odds of alpha and signal strength",
                             SWEEPS, ("lemma-3.4-alpha-tolerance", "lemma-3.4-alpha-gap"), "repro theory sweep odds"),
    "fig-theory-surplus": Entry("theory.lemma_3_4_surplus:draw", "signal surplus against |phi|", CLAIMS,
                                ("lemma-3.4-surplus-difference",)),
    "fig-theory-alpha": Entry("theory.lemma_3_4_alpha:draw", "alpha thresholds against d/n", CLAIMS,
                              ("lemma-3.4-alpha-tolerance", "lemma-3.4-alpha-gap")),
    "fig-theory-matched": Entry("theory.theorem_3_3_matched:draw",
                                "SAM against SGD at matched epochs and matched forgetting", CLAIMS,
                                ("theorem-3.3-matched-forgetting", "sharp-minmax")),
    "fig-theory-tow": Entry("theory.tow:draw", "ToW in theory, at each rule's best epoch and along unlearning", CLAIMS,
                            ("tug-of-war",)),
    "fig-theory-scaling": Entry("theory.scaling:draw", "how the boundary moves with d, n, epochs and the start",
                                MEASUREMENTS, BOUNDARIES, "repro theory claims scaling"),
    "fig-theory-attacks": Entry("theory.attacks:draw", "membership attack and relearning at equal forgetting",
                                MEASUREMENTS, (), "repro theory claims membership relearning"),
    "fig-theory-vs-empirical": Entry("theory.beside_networks:draw",
                                     "networks on the theory's lines, at their own setting",
                                     PATCHES, BOUNDARIES),
    "fig-theory-twin": Entry("theory.beside_networks:draw_twin",
                             "networks and the theory on the same data, weights and batches, along unlearning",
                             PATCHES),
    "tab-agreement": Entry("theory.beside_networks:draw_agreement",
                           "how many points of networks lie within 95 % of the theory, and how far twins are",
                           ("signal-noise", "ladder")),
    "fig-ladder": Entry("theory.ladder:draw", "leaving the theory step by step: how far each step leads away",
                        LADDER),
    "tab-ladder": Entry("theory.ladder:draw_table", "the distance of each step from the theory, in numbers",
                        LADDER),
    "fig-predictions": Entry("theory.predictions:draw", "what the theory predicts for networks, beside what was seen",
                             ("cifar10", "cifar10-alpha", "cifar10-radius", "sweeps")),
    "tab-neggrad": Entry("networks.tow_tables:draw_neggrad", "ToW of NegGrad by pretraining and unlearning rule", MAIN,
                         ("1a", "1b")),
    "tab-methods": Entry("networks.tow_tables:draw_methods", "ToW of every method", MAIN,
                         ("1a", "1b")),
    "tab-minmax": Entry("networks.tow_tables:draw_minmax", "Sharp MinMax beside SAM on R only and the plain rules",
                        MAIN, ("2",)),
    "tab-differences": Entry("networks.differences:draw", "each sharpness-aware rule minus SGD, setting by setting",
                             MAIN),
    "tab-matched": Entry("networks.trajectories:draw_matched", "rules at matched forgetting and at matched epochs",
                         MAIN),
    "tab-choice": Entry("networks.choice:draw", "how the learning rates were chosen", MAIN),
    "tab-draws": Entry("networks.draws:draw", "ToW on other draws of the forget set, beside other training seeds",
                       ("cifar10-draws",)),
    "tab-ablations": Entry("networks.ablations:draw", "ToW with a setting of the study changed, beside the study",
                           ("cifar10", "cifar10-plain", "cifar10-resnet18")),
    "fig-mask": Entry("networks.sweeps:draw_mask", "Sharp MinMax against the cutoff of its mask",
                      ("cifar10-mask", "mask")),
    "fig-pareto": Entry("networks.pareto:draw", "ToW against time and gradient evaluations", MAIN),
    "fig-relearning": Entry("networks.sweeps:draw_relearning", "how fast F comes back under tuning on R", MAIN),
    "fig-roc": Entry("networks.attacks:draw_roc", "ROC of the membership attack", MAIN),
    "tab-lira": Entry("networks.attacks:draw_lira", "the likelihood-ratio attack with shadow models", MAIN),
    "fig-margins": Entry("networks.margins:draw", "margins of forget samples", MAIN),
    "fig-klom": Entry("networks.klom:draw", "KLoM of each rule on F, R and test data",
                      KLOM),
    "tab-ulira": Entry("networks.klom:draw_ulira", "U-LiRA of each rule and of doing nothing",
                       KLOM),
    "fig-published": Entry("networks.published:draw", "the paper's ToW beside ours", MAIN),
}  # fmt: skip


def figure_names() -> list[str]:
    """Return every figure and table: the built-in ones, then those of installed packages (`repro.figures`)."""
    return [*FIGURES, *(name for name in _plugins() if name not in FIGURES)]


def find(name: str) -> DrawFunction:
    """Import and return the function that draws `name`.

    Raises:
        ConfigError: when no figure has this name, with the nearest one, or its package cannot be imported.
    """
    choose("figure", name, figure_names())
    if name not in FIGURES:
        point = _plugins()[name]
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            package = point.dist.name if point.dist else "the package that adds it"
            reason = f"{point.value} cannot be imported ({str(error)[:100]})"
            raise ConfigError(f"figure {name}: {reason}; install {package} again, or remove it") from error
    module, attribute = FIGURES[name].draw.split(":")
    return getattr(importlib.import_module(f"figures.{module}"), attribute)


def studies_of(name: str) -> tuple[str, ...]:
    """Return the studies that a figure names; one of an installed package without any is of the loose runs."""
    if name in FIGURES:
        return FIGURES[name].studies
    return tuple(getattr(find(name), "studies", ())) or (LOOSE,)


def lacking(name: str, what: str) -> str:
    """Return the line `what: command` for a part of a figure that is not run."""
    return f"{what}: {FIGURES[name].command}"


@cache
def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="repro.figures")}
