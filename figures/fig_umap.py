"""Features of retain and forget samples before and after unlearning, all classes and the largest forget class."""

from typing import Any

import numpy as np
import pandas as pd

from figures.commands import EMBEDDING
from figures.drawing import Drawing, frame
from figures.embedding import embed, entanglement_wp, forget_purity, normalize, trust, umap_installed, uses_umap
from figures.networks import label
from figures.panels import panel_grid
from figures.records import Records
from figures.snapshots import Snapshot, snapshots, used_records
from figures.style import WIDE, Theme

MOST = 1500  # samples drawn; more would only cover each other
ROWS = {"all classes": 40, "largest forget class": 5}  # and UMAP's neighbours, as in the released code


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw one map for all models: fitted on the original's features, the others sent through it."""
    shown = [one for one in snapshots(records, "features") if f"features_{one.model}" in one.record.arrays()]
    if not shown:
        return frame(theme, missing=f"feature records: {EMBEDDING}")
    arrays = [one.record.arrays() for one in shown]
    kept = _subset(arrays[0])
    features = [normalize(found[f"features_{one.model}"])[kept] for one, found in zip(shown, arrays, strict=True)]
    labels, is_forget = arrays[0]["labels"][kept], arrays[0]["is_forget"][kept].astype(bool)
    figure, axes = panel_grid(2, len(shown), width=WIDE, height=4.4, sharex="row", sharey="row")
    largest = pd.Series(labels[is_forget]).mode()[0]
    members = {"all classes": np.ones(len(labels), dtype=bool), "largest forget class": labels == largest}
    parts = []
    for row, (name, neighbours) in zip(axes, ROWS.items(), strict=True):
        chosen = members[name]
        pictures = embed(features[0][chosen], [part[chosen] for part in features[1:]], neighbours=neighbours,
                         cache=records.cache)  # fmt: skip
        row[0].set_ylabel(f"{name}\n({'UMAP' if uses_umap(int(chosen.sum())) else 'principal components'})")
        for panel, one, part, picture in zip(row, shown, features, pictures, strict=True):
            view = View(part[chosen], picture, labels[chosen], is_forget[chosen])
            start = pictures[0] if name == "all classes" and panel is not row[0] else None
            parts.append(
                view.draw(panel, theme, start=start).assign(row=name, title=one.title, run_id=one.record.run_id)
            )
    for panel, one in zip(axes[0], shown, strict=True):
        panel.set_title(one.title)
    _key(figure, theme)
    missing = () if umap_installed() else ("UMAP in place of principal components: repro doctor (extra `figures`)",)
    data = pd.concat(parts, ignore_index=True)
    return Drawing(data, _caption(shown, len(labels)), _alt(data), used_records(shown), missing, figure)


class View:
    """One panel: a model's features, their picture, and which samples are which.

    Args:
        features: shape `(n, f)`; picture: `(n, 2)`; labels: `(n,)`; is_forget: boolean `(n,)`.
    """

    def __init__(self, features: np.ndarray, picture: np.ndarray, labels: np.ndarray, is_forget: np.ndarray) -> None:
        self.features, self.picture, self.labels, self.is_forget = features, picture, labels, is_forget

    def draw(self, axes: Any, theme: Theme, *, start: np.ndarray | None) -> Any:
        """Draw the samples, the numbers, and an arrow from each class mean in `start`; return the numbers drawn."""
        from matplotlib import colormaps

        classes = np.unique(self.labels)
        place = np.searchsorted(classes, self.labels) / max(len(classes) - 1, 1)
        colors = colormaps["viridis"](0.05 + 0.85 * place)
        kept = ~self.is_forget
        axes.scatter(*self.picture[kept].T, s=4, c=colors[kept], alpha=0.45, linewidths=0, rasterized=True)
        edge = {"edgecolors": theme.ink, "linewidths": 0.25}
        axes.scatter(*self.picture[~kept].T, s=10, c=colors[~kept], marker="X", alpha=0.8, rasterized=True, **edge)
        if start is not None:
            self._arrows(axes, start, theme)
        axes.grid(False)
        axes.tick_params(length=0, labelbottom=False, labelleft=False)
        numbers = self.numbers()
        text = (
            f"E_Wp {numbers['entanglement_wp']:.2f}  kNN F {numbers['forget_purity']:.2f}  trust {numbers['trust']:.2f}"
        )
        axes.set_xlabel(text, fontsize=7)
        return pd.DataFrame({"x": self.picture[:, 0], "y": self.picture[:, 1], "label": self.labels,
                             "is_forget": self.is_forget}).assign(**numbers)  # fmt: skip

    def numbers(self) -> dict[str, float]:
        """Return what the picture cannot lie about, from the feature space."""
        return {
            "entanglement_wp": entanglement_wp(self.features, self.is_forget),
            "forget_purity": forget_purity(self.features, self.is_forget),
            "trust": trust(self.features, self.picture),
        }

    def _arrows(self, axes: Any, start: np.ndarray, theme: Theme) -> None:
        for name in np.unique(self.labels[self.is_forget]):
            members = self.is_forget & (self.labels == name)
            ends = start[members].mean(axis=0), self.picture[members].mean(axis=0)
            axes.annotate("", xy=ends[1], xytext=ends[0],
                          arrowprops={"arrowstyle": "->", "color": theme.ink, "linewidth": 0.8})  # fmt: skip


def _subset(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the rows to draw: every forget sample that fits, and a fixed draw of retain samples."""
    forget = np.flatnonzero(arrays["is_forget"])
    retain = np.random.default_rng(0).permutation(np.flatnonzero(~arrays["is_forget"].astype(bool)))
    forget = forget[: MOST // 2]
    return np.sort(np.concatenate([forget, retain[: MOST - len(forget)]]))


def _key(figure: Any, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    marks = [("retain", {"marker": ".", "markersize": 6}), ("forget", {"marker": "X", "markersize": 5}),
             ("mean of a class in F, moved", {"marker": r"$\rightarrow$", "markersize": 9})]  # fmt: skip
    handles = [Line2D([], [], color=theme.ink, linestyle="none", label=text, **look) for text, look in marks]
    title = "colour: class; one seed a panel"
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=7)


def _caption(shown: list[Snapshot], count: int) -> str:
    first = shown[0].record
    spread = "; ".join(f"{one.title} {text}" for one in shown if (text := one.number("entanglement_wp")))
    seeds = f" E_Wp over seeds, mean ± standard deviation (seeds): {spread}." if spread else ""
    return (
        f"Penultimate features of {count} samples of {label(first, 'dataset')} in two dimensions by UMAP (seed 42), or "
        "by principal components in a row of under 100 samples; fitted on the original model's features; the others go "
        "through the same map, with the same limits and colours. Top: all classes; arrows move each class mean of "
        "forget samples. Bottom: the largest class of F. Numbers are from the feature space: E_Wp (1: R and F "
        "indistinguishable), the share of the 10 nearest neighbours of forget samples that are in F, and the picture's "
        f"trustworthiness. Distances in such maps mean little.{seeds} "
        f"Setting: model {label(first, 'model')}, forget set {label(first, 'difficulty')}, seed {label(first, 'seed')}."
    )


def _alt(data: Any) -> str:
    rows = data.drop_duplicates(["row", "title"])
    parts = [f"{row.title}, {row.row}: E_Wp {row.entanglement_wp:.2f}, kNN purity of F {row.forget_purity:.2f}"
             for row in rows.itertuples()]  # fmt: skip
    return "Scatter plots of features, forget samples as crosses. " + "; ".join(parts) + "."
