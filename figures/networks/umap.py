"""Features of retain and forget samples before and after unlearning (fig-umap), with numbers that no map distorts."""

import hashlib
import io
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import panel_grid
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, original_accuracy, unlearn_table
from figures.tables.intervals import Table
from figures.tables.records import Records
from figures.tables.snapshots import Snapshot, snapshots, used_records
from repro.records.folder import read_sealed, write_sealed
from repro.records.record import npz
from repro.records.shipped import compiled_folder

SEED = 42
NEIGHBOURS = 10
FEWEST = 100  # samples; UMAP's neighbourhoods mean nothing among a handful
MOST = 1500  # samples drawn; more would only cover each other
# Petroff's ten colours (arXiv 2107.02270), told apart by the colour-blind; an eleventh class has the first again.
CLASSES = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
NAMED = 12  # classes that can still be named on the map
ROWS = {"all classes": 40, "largest forget class": 5}  # and UMAP's neighbours, as in the released code


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw one map for all models: fitted on the original's features, the others sent through it."""
    shown = [one for one in snapshots(records, "features") if f"features_{one.model}" in one.record.arrays()]
    if not shown:
        return empty_figure(lacking("fig-umap", "feature records"), theme)
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
        pictures = _pictures(shown, [part[chosen] for part in features], neighbours=neighbours, cache=records.cache)
        row[0].set_ylabel(f"{name}\n({'UMAP' if uses_umap(int(chosen.sum())) else 'principal components'})")
        samples = pd.DataFrame({"label": labels[chosen], "is_forget": is_forget[chosen]})
        for panel, one, part, picture in zip(row, shown, features, pictures, strict=True):
            found = samples.assign(x=picture[:, 0], y=picture[:, 1])[["x", "y", "label", "is_forget"]]
            _scatter(panel, found, theme)
            if name == "all classes" and one.model == "unlearned":
                _arrows(panel, (pictures[0], picture), found, theme)
            numbers = feature_numbers(part[chosen], picture, is_forget[chosen])
            panel.set_xlabel("E_Wp {:.2f}, kNN F {:.2f}\ntrust {:.2f}".format(*numbers.values()), fontsize=7)
            parts.append(found.assign(**numbers, row=name, title=one.title, run_id=one.record.run_id))
    for panel, one in zip(axes[0], shown, strict=True):
        panel.set_title(one.title)
    _key(figure, theme)
    missing = () if umap_installed() else ("UMAP in place of principal components: repro doctor (extra `figures`)",)
    data = pd.concat(parts, ignore_index=True)
    return Drawing(data, _caption(shown, len(labels)), _alt(data), used_records(shown), missing, figure)


def _pictures(
    shown: list[Snapshot], features: list[np.ndarray], *, neighbours: int, cache: Path | None
) -> list[np.ndarray]:
    """Return each model's picture: the original's map, and for a retrained one, whose axes are its own, another."""
    others = [k for k, one in enumerate(shown) if one.model == "unlearned"]
    mapped = embed(features[0], [features[k] for k in others], neighbours=neighbours, cache=cache)
    found = dict(zip([0, *others], mapped, strict=True))
    alone = [k for k in range(len(shown)) if k not in found]
    found |= {k: embed(features[k], [], neighbours=neighbours, cache=cache)[0] for k in alone}
    return [found[k] for k in range(len(shown))]


def _subset(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the rows to draw: every forget sample that fits, and a fixed draw of retain samples."""
    forget = np.flatnonzero(arrays["is_forget"])[: MOST // 2]
    retain = np.random.default_rng(0).permutation(np.flatnonzero(~arrays["is_forget"].astype(bool)))
    return np.sort(np.concatenate([forget, retain[: MOST - len(forget)]]))


def _scatter(axes: Any, samples: Table, theme: Theme) -> None:
    """Draw retain samples as dots and forget samples as crosses, a colour a class, and its name amid its own."""
    colors = np.array([CLASSES[int(one) % len(CLASSES)] for one in samples["label"]])
    forget = samples["is_forget"].to_numpy()
    dots = {"s": 4, "alpha": 0.45, "linewidths": 0}
    crosses = {"s": 10, "marker": "X", "alpha": 0.8, "edgecolors": theme.ink, "linewidths": 0.25}
    for members, look in ((~forget, dots), (forget, crosses)):
        axes.scatter(samples["x"][members], samples["y"][members], c=colors[members], rasterized=True, **look)
    if samples["label"].nunique() <= NAMED:
        for one, members in samples[~forget].groupby("label"):
            axes.annotate(str(one), members[["x", "y"]].median().to_numpy(), xytext=(0, 5), textcoords="offset points",
                          ha="center", fontsize=7, weight="bold", color=theme.ink)  # fmt: skip
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)


def _arrows(axes: Any, pictures: tuple[np.ndarray, np.ndarray], samples: Table, theme: Theme) -> None:
    """Draw an arrow from the mean of each class in F before unlearning to its mean after."""
    for _, members in samples[samples["is_forget"]].groupby("label"):
        start, end = (picture[members.index].mean(axis=0) for picture in pictures)
        axes.annotate("", xy=end, xytext=start,
                      arrowprops={"arrowstyle": "->", "color": theme.ink, "linewidth": 0.8})  # fmt: skip


def _key(figure: Any, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    marks = [("retain", {"marker": ".", "markersize": 6}), ("forget", {"marker": "X", "markersize": 5}),
             ("mean of a class in F, moved", {"marker": r"$\rightarrow$", "markersize": 9})]  # fmt: skip
    handles = [Line2D([], [], color=theme.ink, linestyle="none", label=text, **look) for text, look in marks]
    title = "colour and number: class; one seed a panel"
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=7)


def _caption(shown: list[Snapshot], count: int) -> str:
    first = shown[0].record
    spread = "; ".join(
        f"{' '.join(one.title.split())} {text}" for one in shown if (text := one.number("entanglement_wp"))
    )
    seeds = f" E_Wp over seeds, mean ± standard deviation (seeds): {spread}." if spread else ""
    return (
        f"Penultimate features of {count} samples of {label(first, 'dataset')} in two dimensions by UMAP (seed 42), or "
        "by principal components in a row of under 100 samples; fitted on the original model's features; the unlearned "
        "ones go through the same map, and the retrained one, whose features have axes of their own, through one of "
        "its own; colours are the same. Top: all classes; numbers name them, arrows move each class mean of forget "
        "samples. Bottom: the largest class of F. Numbers are from the feature space: E_Wp (1: R and F "
        "indistinguishable), the share of the 10 nearest neighbours of forget samples that are in F, and the picture's "
        f"trustworthiness. Distances in such maps mean little.{seeds} "
        f"Setting: model {label(first, 'model')}, forget set {label(first, 'difficulty')}, seed "
        f"{label(first, 'seed')}. {original_accuracy(unlearn_table(used_records(shown)))}"
    )


def _alt(data: Any) -> str:
    rows = data.drop_duplicates(["row", "title"])
    parts = [f"{row.title}, {row.row}: E_Wp {row.entanglement_wp:.2f}, kNN purity of F {row.forget_purity:.2f}"
             for row in rows.itertuples()]  # fmt: skip
    return "Scatter plots of features, forget samples as crosses. " + "; ".join(parts) + "."


def feature_numbers(features: np.ndarray, picture: np.ndarray, is_forget: np.ndarray) -> dict[str, float]:
    """Return what a picture cannot lie about: entanglement, purity of F and trustworthiness, each in [0, 1].

    Args:
        features: shape `(n, f)`; picture: `(n, 2)`; is_forget: boolean, `(n,)`.
    """
    return {
        "entanglement_wp": entanglement_wp(features, is_forget),
        "forget_purity": forget_purity(features, is_forget),
        "trust": trust(features, picture),
    }


def normalize(features: np.ndarray) -> np.ndarray:
    """Return rows scaled to unit length, float64; distances then measure angles, shape unchanged."""
    features = np.asarray(features, dtype=float)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def forget_purity(features: np.ndarray, is_forget: np.ndarray) -> float:
    """Return the share of the nearest neighbours of forget samples that are forget samples, in [0, 1].

    Args:
        features: shape `(n, f)`; neighbours are found in this space, not in a picture.
        is_forget: boolean, shape `(n,)`.
    """
    distances = cdist(features[is_forget], features)
    distances[np.arange(len(distances)), np.flatnonzero(is_forget)] = np.inf
    nearest = np.argpartition(distances, min(NEIGHBOURS, len(features) - 2), axis=1)[:, :NEIGHBOURS]
    return float(is_forget[nearest].mean())


def entanglement_wp(features: np.ndarray, is_forget: np.ndarray, *, most: int = 300) -> float:
    """Return `E_Wp = max(0, 1 - W1)` of retain and forget features, cost scaled by its largest value.

    W1 is exact: with equally many samples a side the optimal plan is a matching. A fixed draw of at most `most` samples
    a side is used. 1 means that R and F cannot be told apart, 0 that they lie as far apart as any two samples.
    """
    generator = np.random.default_rng(SEED)
    size = min(most, int(is_forget.sum()), int((~is_forget).sum()))
    sides = [generator.permutation(np.flatnonzero(side))[:size] for side in (is_forget, ~is_forget)]
    cost = cdist(features[sides[0]], features[sides[1]])
    cost = cost / max(float(cost.max()), 1e-12)
    rows, columns = linear_sum_assignment(cost)
    return max(0.0, 1.0 - float(cost[rows, columns].mean()))


def trust(features: np.ndarray, picture: np.ndarray) -> float:
    """Return the trustworthiness of a picture (Venna and Kaski 2001), in [0, 1]; 1: neighbours are neighbours.

    `T = 1 - 2 / (n k (2 n - 3 k - 1)) sum_i sum_j max(0, r(i, j) - k)` over the k neighbours j of i in the picture,
    where r(i, j) is the rank of j among the neighbours of i in the features, the nearest being 1.

    Args:
        features: `(n, f)`.
        picture: `(n, 2)`.
    """
    n = len(features)
    k = min(NEIGHBOURS, (n - 1) // 2)
    ranks = cdist(features, features)
    np.fill_diagonal(ranks, -1.0)  # rank 0 is the sample itself
    ranks = np.argsort(np.argsort(ranks, axis=1, kind="stable"), axis=1, kind="stable")
    near = cdist(picture, picture)
    np.fill_diagonal(near, np.inf)
    neighbours = np.argsort(near, axis=1, kind="stable")[:, :k]
    excess = np.maximum(np.take_along_axis(ranks, neighbours, axis=1) - k, 0).sum()
    return float(1 - 2 * excess / (n * k * (2 * n - 3 * k - 1)))


def umap_installed() -> bool:
    """Return whether umap-learn, an extra, is there."""
    try:
        metadata.version("umap-learn")
    except metadata.PackageNotFoundError:
        return False
    return True


def uses_umap(count: int) -> bool:
    """Return whether so many samples are mapped by UMAP."""
    return count >= FEWEST and umap_installed()


def embed(
    reference: np.ndarray, others: Sequence[np.ndarray], *, neighbours: int, cache: Path | None
) -> list[np.ndarray]:
    """Fit a map to two dimensions on `reference` and send `others` through the same map.

    UMAP (McInnes et al. 2018, arXiv 1802.03426) with a fixed seed; principal components for fewer
    than 100 samples or without umap-learn.

    Args:
        reference: features of the reference model, shape `(n, f)`.
        others: features of further models, each of shape `(k, f)`.
        neighbours: UMAP's n_neighbors.
        cache: folder of finished embeddings, by digest of the features and settings; None keeps nothing.

    Returns:
        Coordinates of the reference and of each of the others, shapes `(n, 2)` and `(k, 2)`.
    """
    path = None if cache is None else cache / f"{_digest([reference, *others], neighbours)}.sealed"
    known = None if path is None else read_sealed(path)
    if known is not None:
        with np.load(io.BytesIO(known), allow_pickle=False) as kept:
            return [kept[name] for name in kept.files]
    method = _umap if uses_umap(len(reference)) else _principal_components
    found = method(reference, others, neighbours)
    if path is not None:
        write_sealed(path, npz({f"arr_{place}": part for place, part in enumerate(found)}))
    return found


def _digest(parts: Sequence[np.ndarray], neighbours: int) -> str:
    version = metadata.version("umap-learn") if uses_umap(len(parts[0])) else "pca"
    content = hashlib.sha256(f"{version} {neighbours} {SEED}".encode())
    for part in parts:
        content.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return content.hexdigest()[:16]


def _umap(reference: np.ndarray, others: Sequence[np.ndarray], neighbours: int) -> list[np.ndarray]:
    import os
    import warnings

    os.environ.setdefault("NUMBA_CACHE_DIR", compiled_folder())  # umap-learn compiles, too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's notes on its own dependencies tell our user nothing
        from umap import UMAP

        mapper = UMAP(n_neighbors=min(neighbours, len(reference) - 1), min_dist=0.1, random_state=SEED, n_jobs=1)
        first = mapper.fit_transform(reference)
        return [np.asarray(first), *(np.asarray(mapper.transform(other)) for other in others)]


def _principal_components(reference: np.ndarray, others: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
    centre = reference.mean(axis=0)
    axes = np.linalg.svd(reference - centre, full_matrices=False)[2][:2]
    # The sign of a component is arbitrary; fix it so that the same features give the same picture.
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
    return [(part - centre) @ axes.T for part in (reference, *others)]
