"""Features of retain and forget samples before and after unlearning (fig-umap), with numbers that no map distorts."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun, empty_figure
from figures.drawing.panels import label_panels, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.marks import scatter
from figures.tables.names import family
from figures.tables.records import Records, Studies
from figures.tables.runs import original_accuracy, tag, unlearn_table
from figures.tables.snapshots import Snapshot, snapshots, used_records
from figures.tables.texts import alt_text
from repro.base.files import replace_file
from repro.base.places import compiled_folder
from repro.records.published import Published
from repro.records.record import npz
from repro.statistics.effects import Table

SEED = 42
NEIGHBOURS = 10
FEWEST = 100  # samples; UMAP's neighbourhoods mean nothing among a handful
MOST = 1500  # samples drawn; more would only cover each other
# Petroff's ten colours (arXiv 2107.02270), told apart by the colour-blind; an eleventh class has the first again.
CLASSES = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
NAMED = 12  # classes that can still be named on the map
ROWS = {"all classes": 40, "largest forget class": 5}  # and UMAP's neighbours, as in the released code
# Coordinates of the published features, by `write_coordinates`: umap-learn compiles for 17 s before it maps anything.
COORDINATES = Path(__file__).with_name("umap.npz")


@figure("fig-umap", place=10, shows="UMAP of features, all classes and the largest forget class",
        studies=("cifar10",), claims=("5b",))  # fmt: skip
def feature_maps(records: Records, theme: Theme) -> Drawing:
    """Draw one map for all models: fitted on the original's features, the others sent through it."""
    try:
        return _feature_maps(records, theme)
    except ModuleNotFoundError as error:  # of an extra
        return empty_figure(f"{error.name} is not installed: repro doctor (extra `figures`)", theme)


def _feature_maps(records: Records, theme: Theme) -> Drawing:
    shown = snapshots(records, "features")
    if not shown:
        raise NotRun("feature records")
    figure, axes = panel_grid(2, len(shown), width=WIDE, height=4.4, sharex="row", sharey="row")
    parts = []
    for line, (name, neighbours) in zip(axes, ROWS.items(), strict=True):
        samples, features = _samples(shown, name)
        pictures = _pictures(shown, features, neighbours=neighbours)
        for panel, one, part, picture in zip(line, shown, features, pictures, strict=True):
            found = samples.assign(x=picture[:, 0], y=picture[:, 1])[["x", "y", "label", "is_forget"]]
            _scatter(panel, found, theme)
            wp = np.nan
            if name == "all classes":
                wp = one.value("entanglement_wp")
                if one.model == "unlearned":
                    _class_arrows(panel, (pictures[0], picture), found, theme)
            numbers = {"entanglement_wp": wp} | feature_numbers(part, picture, samples["is_forget"].to_numpy())
            whole = "" if np.isnan(wp) else f"E_Wp {wp:.2f}, "
            panel.set_xlabel("{}kNN F {forget_purity:.2f}\ntrust {trust:.2f}".format(whole, **numbers), fontsize=7)
            parts.append(found.assign(**numbers, row=name, title=one.title, run_id=one.record.run_id))
        line[0].set_ylabel(f"{name}\n({'UMAP' if len(samples) >= FEWEST else 'principal components'})")
    label_panels(axes, titles=[one.title for one in shown])
    notes = [("retain", {"marker": ".", "markersize": 6}), ("forget", {"marker": "X", "markersize": 5}),
             ("mean of a class in F, moved", {"marker": r"$\rightarrow$", "markersize": 9})]  # fmt: skip
    rule_key(figure, theme, [], notes=notes, head="colour and number: class; one seed per panel")
    data = pd.concat(parts, ignore_index=True)
    alt = alt_text("Scatter plots of features, forget samples as crosses", data.drop_duplicates(["row", "title"]),
                   "{title}, {row}: kNN purity of F {forget_purity:.2f}")  # fmt: skip
    return Drawing(data, _caption(shown, len(_samples(shown)[0])), alt, used_records(shown), (), figure)


def _samples(shown: Sequence[Snapshot], row: str = "all classes") -> tuple[Table, list[np.ndarray]]:
    """Return the samples of a row, and their features in each model, as they are stored."""
    known = shown[0].record.arrays("labels", "is_forget")
    is_forget = known["is_forget"].astype(bool)
    shown_rows = _subset(is_forget)
    samples: Table = pd.DataFrame({"label": known["labels"][shown_rows], "is_forget": is_forget[shown_rows]})
    largest = samples["label"][samples["is_forget"]].mode()[0]
    chosen = ((samples["label"] == largest) | (row == "all classes")).to_numpy()
    features = [one.record.arrays(name := f"features_{one.model}")[name][shown_rows][chosen] for one in shown]
    return samples[chosen].reset_index(drop=True), features


def _subset(is_forget: np.ndarray) -> np.ndarray:
    """Return the rows to draw: every forget sample that fits, and a fixed draw of retain samples."""
    forget = np.flatnonzero(is_forget)[: MOST // 2]
    retain = np.random.default_rng(0).permutation(np.flatnonzero(~is_forget))
    return np.sort(np.concatenate([forget, retain[: MOST - len(forget)]]))


def _pictures(shown: Sequence[Snapshot], features: list[np.ndarray], *, neighbours: int) -> list[np.ndarray]:
    """Return each model's picture, shape `(n, 2)`."""
    found = {}
    for places in _sharing(shown):
        found |= dict(zip(places, embed([features[k] for k in places], neighbours=neighbours), strict=True))
    return [found[k] for k in range(len(features))]


def _sharing(shown: Sequence[Snapshot]) -> list[list[int]]:
    """Return the places of the models that share a map: all but a retrained one, whose features have other axes."""
    retrained = [k for k, one in enumerate(shown) if one.model == "retrained"]
    return [[k for k in range(len(shown)) if k not in retrained], *([k] for k in retrained)]


def _scatter(axes: Any, samples: Table, theme: Theme) -> None:
    """Draw retain samples as dots and forget samples as crosses, one colour per class, with its name on top."""
    from matplotlib.patheffects import withStroke

    looks = {False: {"s": 5, "alpha": 0.45, "linewidth": 0}, True: {"s": 12, "alpha": 0.8, "linewidth": 0.25}}
    colors = {name: CLASSES[int(name) % len(CLASSES)] for name in samples["label"].unique()}
    for is_forget, look in looks.items():
        scatter(axes, samples[samples["is_forget"] == is_forget], x="x", y="y", hue="label", palette=colors,
                marker="X" if is_forget else "o", edgecolor=theme.ink, rasterized=True, **look)  # fmt: skip
    halo = [withStroke(linewidth=2, foreground=theme.paper)]
    if len(colors) <= NAMED:
        for name, (x, y) in samples.groupby("label")[["x", "y"]].median().iterrows():
            axes.text(x, y, str(name), ha="center", va="center", weight="bold", color=theme.ink, path_effects=halo,
                      zorder=5)  # fmt: skip
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)


def _class_arrows(axes: Any, pictures: tuple[np.ndarray, np.ndarray], samples: Table, theme: Theme) -> None:
    """Draw an arrow from the mean of each class in F before unlearning to its mean after."""
    for _, members in samples[samples["is_forget"]].groupby("label"):
        start, end = (picture[members.index].mean(axis=0) for picture in pictures)
        axes.annotate("", xy=end, xytext=start,
                      arrowprops={"arrowstyle": "->", "color": theme.ink, "linewidth": 0.8})  # fmt: skip


def _caption(shown: Sequence[Snapshot], count: int) -> str:
    first = shown[0].record
    numbers = [f"{' '.join(one.title.split())} {text}" for one in shown if (text := one.number("entanglement_wp"))]
    seeds = f" E_Wp over seeds, mean ± standard deviation (seeds): {'; '.join(numbers)}." if numbers else ""
    minmax = any(one.model == "unlearned" and family(tag(one.record, "rule")) == "minmax" for one in shown)
    lacking_panel = "" if minmax else " The paper also shows Sharp MinMax; these records have no features of it."
    return (
        "Where unlearning moves the features of forget images (crosses) among those of retain images (dots): "
        f"penultimate features of {count} samples of {tag(first, 'dataset')} in two dimensions. Top: all classes, "
        "with arrows from each class mean of forget images before to the mean after. Bottom: the largest class of F. "
        "The map is UMAP with seed 42, or principal components for under 100 samples. It is fitted on the original "
        "model and used for the unlearned ones; the features of the retrained model have other axes and a map of "
        "their own. Distances in such maps mean little, so the numbers come from the features themselves. E_Wp is 1 "
        "where retain and forget images cannot be told apart. kNN F is the fraction of the 10 nearest neighbours of "
        f"forget images that are in F. Trust: how far the picture keeps neighbours.{seeds}{lacking_panel} "
        f"Setting: model {tag(first, 'model')}, forget set {tag(first, 'difficulty')}, seed "
        f"{tag(first, 'seed')}. {original_accuracy(unlearn_table(used_records(shown)))}"
    )


def feature_numbers(features: np.ndarray, picture: np.ndarray, is_forget: np.ndarray) -> dict[str, float]:
    """Return the purity of F among nearest neighbours in the features, and the picture's trustworthiness, in [0, 1].

    Args:
        features: shape `(n, f)`; picture: `(n, 2)`; is_forget: boolean, `(n,)`.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    features, count = normalize(features), min(NEIGHBOURS, (len(features) - 1) // 2)
    nearest = NearestNeighbors(n_neighbors=count).fit(features).kneighbors(return_distance=False)
    trust = trustworthiness(features, picture, n_neighbors=count)
    return {"forget_purity": float(is_forget[nearest[is_forget]].mean()), "trust": float(trust)}


def normalize(features: np.ndarray) -> np.ndarray:
    """Return rows scaled to unit length, float64; distances then measure angles, shape unchanged."""
    features = np.asarray(features, dtype=float)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def embed(features: Sequence[np.ndarray], *, neighbours: int) -> list[np.ndarray]:
    """Fit a map to two dimensions on the first features and send the others through the same map.

    UMAP (McInnes et al. 2018, arXiv 1802.03426) with a fixed seed, on rows of unit length; principal components for
    fewer than 100 samples. The coordinates of published features come with the toolkit.

    Args:
        features: of each model, shape `(n, f)`.
        neighbours: UMAP's n_neighbors.

    Returns:
        Coordinates in each model, shape `(n, 2)`.

    Raises:
        ImportError: without umap-learn, for other features.
    """
    if len(features[0]) < FEWEST:
        from sklearn.decomposition import PCA

        components = PCA(n_components=2).fit(normalize(features[0]))
        return [components.transform(normalize(part)) for part in features]
    key = _digest(features, neighbours)
    with np.load(COORDINATES) as saved:
        known = [saved[name] for name in saved.files if name.startswith(key)]
    return known or _umap([normalize(part) for part in features], neighbours)


def write_coordinates() -> None:
    """Map the published features anew, once they have changed: `python -m figures.networks.umap`."""
    shown, saved = snapshots(Studies(None, Published()).of("cifar10"), "features"), {}
    for row, neighbours in ROWS.items():
        features = _samples(shown, row)[1]
        for parts in ([features[k] for k in places] for places in _sharing(shown)):
            key, found = _digest(parts, neighbours), _umap([normalize(part) for part in parts], neighbours)
            saved |= {f"{key}_{place}": part.astype(np.float32) for place, part in enumerate(found)}
    replace_file(COORDINATES, npz(saved))


def _digest(parts: Sequence[np.ndarray], neighbours: int) -> str:
    content = hashlib.sha256(f"{neighbours} {SEED}".encode())
    for part in parts:
        content.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return content.hexdigest()[:16]


def _umap(features: Sequence[np.ndarray], neighbours: int) -> list[np.ndarray]:
    os.environ.setdefault("NUMBA_CACHE_DIR", compiled_folder())  # umap-learn compiles, too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's notes on its own dependencies tell our user nothing
        from umap import UMAP

        count = min(neighbours, len(features[0]) - 1)
        mapper = UMAP(n_neighbors=count, min_dist=0.1, random_state=SEED, n_jobs=1)
        first = mapper.fit_transform(features[0])
        return [np.asarray(first), *(np.asarray(mapper.transform(other)) for other in features[1:])]


if __name__ == "__main__":
    write_coordinates()
