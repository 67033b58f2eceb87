"""Time one training step: the engine against the released code's step, as it is and as one would write it today.

Beside it stands how much could still be won: the arithmetic a second of the step over that of a matrix product.

python benchmarks/train_step.py [--json] [--device cuda] [--store runs]
"""

import json
from contextlib import nullcontext
from itertools import cycle
from typing import Any

import torch
from released_path import Trainer, released_flags
from torch.utils.flop_counter import FlopCounterMode
from training_cases import Case, build_stage, engine_steps, median_seconds, random_images, random_mask
from training_command import arguments, measure_each, prepare

SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices of the product


def baseline_seconds(case: Case, device: torch.device, *, modern: bool = False, warm_up: int, steps: int) -> float:
    """Return the median time of the released code's step on batches that are ready in memory.

    Args:
        case: what is trained; device: on what; warm_up, steps: how many steps are not timed, and are.
        modern: in bf16 with channels last and torch.compile on a GPU, instead of float32 as it was released.
    """
    network, _ = build_stage(case, device, "fp32")
    trainer = Trainer(network.model, random_mask(network), modern=modern)
    images, labels = random_images(case)
    parts = zip(images.split(case.batch_size)[:8], labels.split(case.batch_size)[:8], strict=True)
    ready = [(part.float() / 255, label) for part, label in parts]
    batches = cycle([{"retain": batch, "forget": batch} for batch in ready])
    with nullcontext() if modern else released_flags():
        return median_seconds(lambda _: trainer.step(case.rule, next(batches)), device, warm_up=warm_up, steps=steps)


def operations(case: Case, device: torch.device, precision: str) -> int:
    """Return the operations of a step, two a multiplication with its addition, in products and convolutions alone."""
    with FlopCounterMode(display=False) as counter:
        engine_steps(case, device, precision=precision, engine="eager")(0)
    return counter.get_total_flops()


def product_rate(device: torch.device, precision: str) -> float:
    """Return the operations a second of a product of two square matrices in this arithmetic."""
    side, kind = SIDE[device.type], torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda _: left @ right, device, warm_up=3, steps=20)


def measure(case: Case, device: torch.device, precision: str) -> dict[str, Any]:
    """Return one row: images a second of both, their ratio, and the step's share of a matrix product's arithmetic."""
    gpu = device.type == "cuda"
    count = {"warm_up": 8 if gpu else 3, "steps": 60 if gpu else 15}
    engine = "graph" if gpu else "eager"
    ours = median_seconds(engine_steps(case, device, precision=precision, engine=engine), device, **count)
    base, modern = (baseline_seconds(case, device, modern=modern, **count) for modern in (False, True))
    share = operations(case, device, precision) / ours / product_rate(device, precision)
    return {
        "case": case.name, "batch_size": case.batch_size, "precision": precision, "engine": engine,
        "images_per_second": case.batch_size / ours, "released_images_per_second": case.batch_size / base,
        "ratio": base / ours, "ratio_to_modern": modern / ours, "share_of_matrix_product": share,
    }  # fmt: skip


def show(row: dict[str, Any]) -> str:
    """Return the line of a row."""
    return (f"{row['case']:18} {row['images_per_second']:9.0f} images/s, released path "
            f"{row['released_images_per_second']:9.0f}, ratio {row['ratio']:.2f}, "
            f"to plain bf16 {row['ratio_to_modern']:.2f}, "
            f"{row['share_of_matrix_product']:.0%} of a matrix product")  # fmt: skip


def main() -> None:
    """Measure every case, print a table or JSON, and write a record of each."""
    chosen = arguments(__doc__).parse_args()
    device, cases = prepare(chosen)
    by_name = {case.name: case for case in cases}
    result = measure_each(
        chosen, "train_step", by_name, lambda name: measure(by_name[name], device, chosen.precision), show=show
    )
    if chosen.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
