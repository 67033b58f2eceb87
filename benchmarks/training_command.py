"""What the training benchmarks' command lines share: arguments, cases, device, record."""

import argparse
from pathlib import Path
from typing import Any

import torch
from training_cases import CPU_CASES, GPU_CASES, Case, fast_precision

from repro.records.provenance import collect
from repro.records.store import Store


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every training benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--store", default="runs", help="store of the record")
    parser.add_argument(
        "--precision", default=fast_precision(), choices=("fp32", "bf16"), help="the engine's arithmetic"
    )
    parser.add_argument("--only", default="", help="only cases whose name contains this text")
    return parser


def prepare(chosen: argparse.Namespace) -> tuple[torch.device, list[Case]]:
    """Return the device and the cases to measure, with cuDNN free to look for its fastest kernels."""
    torch.backends.cudnn.benchmark = True
    device = torch.device(chosen.device)
    cases = GPU_CASES if device.type == "cuda" else CPU_CASES
    return device, [case for case in cases if chosen.only in case.name]


def keep(chosen: argparse.Namespace, result: dict[str, Any], **identity: Any) -> dict[str, Any]:
    """Write the record of a benchmark and return its result, with the `ratios` map added."""
    ratios = {str(row["case"]): row["ratio"] for row in result["rows"]}
    name = torch.cuda.get_device_name() if torch.device(chosen.device).type == "cuda" else "cpu"
    config: dict[str, Any] = {
        "benchmark": result["benchmark"],
        "device": name,
        "cases": list(ratios),
        "precision": chosen.precision,
    }
    config |= identity
    result = result | {"ratios": ratios}
    Store(Path(chosen.store)).save(
        "benchmark",
        config,
        result=result,
        provenance=collect(study="speed", device=name, threads=torch.get_num_threads()),
    )
    return result
