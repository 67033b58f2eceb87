"""What the training benchmarks' command lines share: arguments, cases, device, one record a case."""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from training_cases import CPU_CASES, GPU_CASES, TINY_CASES, Case, fast_precision

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store

ROOT = Path(__file__).resolve().parents[1]
CODE = ("benchmarks/*.py", "empirical/**/*.py", "repro/base/*.py", "tests/gpu/*.py", "tests/empirical/*.py")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every training benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--store", default="runs", help="store of the records")
    parser.add_argument(
        "--precision", default=fast_precision(), choices=("fp32", "bf16"), help="the engine's arithmetic"
    )
    parser.add_argument("--only", default="", help="only cases whose name contains one of these texts, set off by ','")
    parser.add_argument("--missing", action="store_true", help="skip what is recorded for this card, torch and code")
    parser.add_argument("--tiny", action="store_true", help="cases of seconds, to see that a benchmark runs")
    return parser


def prepare(chosen: argparse.Namespace) -> tuple[torch.device, list[Case]]:
    """Return the device and the cases to measure, with cuDNN free to look for its fastest kernels."""
    torch.backends.cudnn.benchmark = True
    device = torch.device(chosen.device)
    cases = TINY_CASES if chosen.tiny else GPU_CASES if device.type == "cuda" else CPU_CASES
    return device, [case for case in cases if any(text in case.name for text in chosen.only.split(","))]


def measure_each(
    chosen: argparse.Namespace, benchmark: str, names: Iterable[str], measure: Callable[[str], dict[str, Any]],
    *, show: Callable[[dict[str, Any]], str], **identity: Any,
) -> dict[str, Any]:  # fmt: skip
    """Measure case after case, write a record of each as soon as it is measured, and return all rows together.

    A case that fails is named on standard error and stops no other.

    Args:
        chosen: the parsed arguments.
        benchmark: name of the benchmark; with a case, the device, the precision and `identity` what a record is about.
        names: of the cases.
        measure: returns the row of a case; its `ratio`, if it has one, is what the benchmark is about.
        show: returns the line to print for a row.

    Raises:
        SystemExit: with code 1 after the last case, when one failed.
    """
    store, rows, failed = Store(Path(chosen.store)), [], []
    for name in names:
        config = {"benchmark": benchmark, "device": device_name(chosen.device), "cases": [name],
                  "precision": chosen.precision, **identity}  # fmt: skip
        known = recorded(store, config) if chosen.missing else None
        try:
            row = known.result["rows"][0] if known else measure(name)
        except RuntimeError as error:
            failed.append(name)
            print(f"{name}: {(str(error).splitlines() or [type(error).__name__])[0]}", file=sys.stderr)
            continue
        if known is None:
            save(store, config, {"benchmark": benchmark, "rows": [row]})
        rows.append(row)
        if not chosen.json:
            print(show(row) + (" (recorded)" if known else ""), flush=True)
    if failed:
        raise SystemExit(1)
    return with_ratios({"benchmark": benchmark, "rows": rows})


def device_name(device: str) -> str:
    """Return the card's name, or `cpu`."""
    return torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu"


def code_digest() -> str:
    """Return 16 hex digits for the source files that a measurement rests on.

    Like a commit, it names a state of the code; a copy without its git history has one too.
    """
    total = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in ROOT.glob(pattern)):
        total.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return total.hexdigest()[:16]


def recorded(store: Store, config: dict[str, Any]) -> Record | None:
    """Return the record of a measurement on this card, if this torch and this code made it."""
    found = store.find("benchmark", config)
    if found is None:
        return None
    facts = found.provenance
    same = (facts["versions"].get("torch"), facts.get("code")) == (torch.__version__, code_digest())
    return found if same else None


def save(store: Store, config: dict[str, Any], result: dict[str, Any]) -> None:
    """Write the record of a measurement."""
    facts = collect(study="speed", device=config["device"], threads=torch.get_num_threads(), code=code_digest())
    store.save("benchmark", config, result=with_ratios(result), provenance=facts)


def with_ratios(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with the `ratios` map of its rows."""
    return result | {"ratios": {str(row["case"]): row["ratio"] for row in result["rows"] if "ratio" in row}}
