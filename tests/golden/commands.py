"""Commands that users run, their exit codes and what they print with `--json`, as they are frozen.

They run one after another in one folder: first where nothing was ever run, then beside a study of two tiny runs. Words
for people are not frozen. Of a long answer are kept the number of rows and a digest of every column.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from tests.command import repro

FILE = Path(__file__).parent / "commands.json"
RECIPE = """
title = "Two tiny runs"
[defaults]
n_train = 200
difficulty = "random"
pretrain_epochs = 1
epochs = 1
[[runs]]
rule = ["sgd", "sam-0.1"]
"""
SMALL = "--seeds 2 --d 200 --n 10 --n-forget 2 --m 2 --epochs 5 --pretrain-epochs 5 --batch-size 5"
FIRST, SECOND = "b80e7040bf468c4a", "03f7f91c8831144d"  # ids of the two tiny runs
EMPTY = [
    "list --json", "list --kind theory_claim --json", "list --kind nosuch --json", "show 00aa2936 --json",
    "show c4581923 --json", "show zzzz --json", "verify --json", "theory claims --json", "compare --json",
    "explain tow --json", "explain nosuch --json", "schema recipe", "figures tab-ulira --json", "figures fig-toww",
    "figures tab-methods --strict --json", "check digits --json", "check digits --published --json",
    "empirical recipes --json",
    "empirical plan digits --json", "empirical grid digits --dry-run --json", "empirical grid nosuch.toml",
    "empirical run --method neg_grad", "empirical run --method neggrad --epochs 0", "theory --alpha 1.5",
    "theory --json", f"theory {SMALL} --json", f"theory --method random_label {SMALL} --json",
    "theory predict --d 1000000 --n 20 --directions 64 --json", "tidy --json", "pack nosuch",
    "export nosuch --to out",
]  # fmt: skip
TINY = [
    "empirical plan tiny.toml --json", "empirical grid tiny.toml --workers 1 --quiet --json",
    "empirical status tiny.toml --json", "empirical run --n-train 200 --difficulty random --pretrain-epochs 1 "
    "--epochs 1 --json", f"show {FIRST} --json", f"empirical diff {FIRST} {SECOND} --json",
    f"empirical evaluate {FIRST} --metrics gap --json", "models list --json", "models prune --dry-run",
    "figures tab-minmax --json", "export tiny --to out", "pack tiny", "verify --json",
]  # fmt: skip
SLOW = ["claims --json", "compare --study cifar10 --json", "empirical status cifar10 --json", "summary"]
TRAINED = {*TINY} - {"verify --json"}  # the processor moves their numbers and weights: only that they are there counts
OTHERWISE = re.compile("seconds|hours|^finished$|memory|provenance|^sha|bytes|^size|^files?$|megabytes|disk|until")
SETTINGS = ("config", "labels")  # of a run: exact, whoever trained it
LONG = 1200  # characters of an answer that is kept whole


def answer(line: str, folder: Path, *, trained: bool = False) -> dict[str, Any]:
    """Run a command in `folder`, without data sets, and return its exit code and what it said where it prints JSON."""
    words = [*line.split(), *(["--store", "runs"] if _has_store(line) else [])]
    code, out, _ = repro(folder, *words)
    text = out.replace(str(folder), "FOLDER")
    if "--json" not in words or code or not text.strip():
        return {"exit": code}
    return {"exit": code, "json": _compact(_plain(json.loads(text), trained=trained))}


def _has_store(line: str) -> bool:
    return not line.startswith(("explain", "schema", "empirical recipes", "theory predict"))


def answers(folder: Path, lines: list[str]) -> dict[str, dict[str, Any]]:
    """Return what the commands answer, one after another in a folder with the tiny recipe."""
    (folder / "tiny.toml").write_text(RECIPE)
    return {line: answer(line, folder, trained=line in TRAINED) for line in lines}


def _plain(value: Any, *, trained: bool) -> Any:
    if isinstance(value, dict):
        return {key: _plain_field(key, one, trained=trained and key not in SETTINGS) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, trained=trained) for one in value]
    if isinstance(value, float):
        return "a number" if trained else float(f"{value:.6g}") if abs(value) > 1e-9 else 0.0
    return value


def _plain_field(key: str, value: Any, *, trained: bool) -> Any:
    if OTHERWISE.search(key):
        return "..."
    if trained and value and key.endswith("_checksum"):
        return "a checksum"
    return _plain(value, trained=trained)


def _compact(value: Any) -> Any:
    if len(json.dumps(value)) <= LONG:
        return value
    if isinstance(value, dict):
        return {key: _compact(one) for key, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        table = pd.DataFrame([{key: json.dumps(one) for key, one in row.items()} for row in value]).fillna("-")
        return {"rows": len(value), "columns": {str(column): _short("\n".join(table[column])) for column in table}}
    return {"values": len(value), "digest": _short(json.dumps(value))}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
