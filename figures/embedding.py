"""Embeddings that can be trusted: fitted on one reference, kept by digest, with numbers from the feature space."""

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

SEED = 42
NEIGHBOURS = 10
FEWEST = 100


def umap_installed() -> bool:
    """Return whether umap-learn, an extra, is there."""
    try:
        metadata.version("umap-learn")
    except metadata.PackageNotFoundError:
        return False
    return True


def uses_umap(count: int) -> bool:
    """Return whether so many samples are mapped by UMAP; its neighbourhoods mean nothing among a handful."""
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
    path = None if cache is None else cache / f"{_key(reference, others, neighbours)}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return [kept[name] for name in kept.files]
    method = _umap if uses_umap(len(reference)) else _principal_components
    found = method(reference, others, neighbours)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, *found)
    return found


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
    """Return the trustworthiness of a picture (Venna and Kaski 2001): 1: neighbours are neighbours."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(features, picture, n_neighbors=min(NEIGHBOURS, (len(features) - 1) // 2)))


def _umap(reference: np.ndarray, others: Sequence[np.ndarray], neighbours: int) -> list[np.ndarray]:
    import warnings

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


def _key(reference: np.ndarray, others: Sequence[np.ndarray], neighbours: int) -> str:
    version = metadata.version("umap-learn") if uses_umap(len(reference)) else "pca"
    content = hashlib.sha256(f"{version} {neighbours} {SEED}".encode())
    for part in (reference, *others):
        content.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return content.hexdigest()[:16]
