"""Images a second from a tree of JPEGs: ours against a plain ImageFolder in a DataLoader.

python benchmarks/reading.py [--images 2048] [--readers 2] [--rounds 5] [--store runs] [--json]

Both cut a random part of each image, scale it to 224 pixels and mirror half of them, with as many processes. The plain
one is what torchvision's own example does (Pillow, tensors of floats, normalized by the readers). Ours hands over
uint8, which a GPU normalizes in its own time: `ratio` is about that. `ratio_ready` counts the normalization too, by
this process on a CPU. They take turns in one process; ratios are medians over rounds; `limit` is what decoding alone
would allow.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from empirical.augmentation.augment import PLANS
from empirical.data.folders import IMAGENET
from empirical.data.stream import StreamedImages, decoded
from empirical.models.network import Network
from empirical.training.batches import Arranger, Feed, Rows, Segment
from repro.records.provenance import collect
from repro.records.store import Store

EDGE, BATCH, CLASSES = 224, 64, 16


def make_tree(root: Path, count: int) -> list[str]:
    """Write `count` smooth, noisy pictures of 224 pixels into a folder a class, and return their names."""
    generator, names = np.random.default_rng(0), []
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((EDGE, EDGE), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(pixels + generator.integers(-12, 13, pixels.shape), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(noisy).save(data, "JPEG", quality=90)
        folder = root / f"n{number * CLASSES // count:08d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.JPEG").write_bytes(data.getvalue())
        names.append(f"{folder.name}/{number}.JPEG")
    return names


def plain(root: Path, readers: int) -> Callable[[], Iterable[torch.Tensor]]:
    """Return what starts an epoch of torchvision's example."""
    steps = [transforms.RandomResizedCrop(EDGE), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
             transforms.Normalize(*IMAGENET)]  # fmt: skip
    tree = datasets.ImageFolder(str(root), transforms.Compose(steps))
    loader = DataLoader(tree, BATCH, shuffle=True, num_workers=readers, pin_memory=torch.cuda.is_available())
    return lambda: (images for images, _ in loader)


def ours(
    root: Path, names: list[str], readers: int, device: torch.device, *, ready: bool
) -> Callable[[], Iterable[torch.Tensor]]:
    """Return what starts an epoch of the pipeline; `ready` normalizes every batch on the device, too."""
    images = StreamedImages(root, tuple(names), EDGE, readers=readers, pinned=device.type == "cuda")
    rows = Rows(torch.arange(len(names)), torch.zeros(len(names), dtype=torch.long), torch.zeros(len(names)) > 0, BATCH)
    network = Network(torch.nn.Linear(1, 1).to(device), *IMAGENET)
    feed = Feed(images, crops=True, device=device, own=lambda size: slice(0, size))
    arranger, epochs = Arranger(0, PLANS["resized-crop"].columns, device), iter(range(10**6))

    def start() -> Iterable[torch.Tensor]:
        segment = Segment({"": rows})
        orders = arranger.arrange(segment, "epoch", next(epochs))
        read = (feed(orders, number)[""][0] for number in range(segment.steps))
        return (network.prepare(batch) for batch in read) if ready else read

    return start


def rate(start: Callable[[], Iterable[torch.Tensor]], count: int) -> float:
    """Return the images a second of one epoch, the start of its readers included."""
    began = time.perf_counter()
    for batch in start():
        assert batch.shape[1:] == (3, EDGE, EDGE)
    return count / (time.perf_counter() - began)


def decoding_limit(root: Path, names: list[str], readers: int) -> float:
    """Return the images a second that as many processes would decode if they did nothing else."""
    some = names[:256]
    began = time.process_time()
    for name in some:
        decoded(root / name)
    return readers * len(some) / (time.process_time() - began)


def main() -> None:
    """Measure, print, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("images", 2048), ("readers", 2), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = make_tree(root, chosen.images)
        ways = {"plain": plain(root, chosen.readers)}
        for name in ("ours", "ready"):
            ways[name] = ours(root, names, chosen.readers, device, ready=name == "ready")
        rows: list[dict[str, Any]] = []
        for _ in range(chosen.rounds):
            row = {name: rate(start, len(names)) for name, start in ways.items()}
            ratios = {"ratio": row["ours"] / row["plain"], "ratio_ready": row["ready"] / row["plain"]}
            rows.append(row | ratios)
        limit = decoding_limit(root, names, chosen.readers)
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    result = {"benchmark": "reading", "rows": rows, "limit": limit, **found}
    config = {"benchmark": "reading", "images": chosen.images, "readers": chosen.readers, "rounds": chosen.rounds}
    card = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    facts = collect(study="scale", device=card, threads=1)
    Store(Path(chosen.store)).save("benchmark", config, result=result, provenance=facts)
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    for row in rows:
        print(f"plain {row['plain']:7.0f} images/s, ours {row['ours']:7.0f}, ratio {row['ratio']:.2f}, "
              f"normalized {row['ready']:7.0f}, ratio {row['ratio_ready']:.2f}")  # fmt: skip
    print(f"median ratios {found['ratio']:.2f} and {found['ratio_ready']:.2f}; "
          f"decoding alone allows {limit:.0f} images/s with {chosen.readers} readers")  # fmt: skip


if __name__ == "__main__":
    main()
