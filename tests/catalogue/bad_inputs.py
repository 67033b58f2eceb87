"""The catalogue of bad inputs: what a user gives, the exit code, and a part of the one line that answers.

About 60 rows are written by hand, for ways to fail that no test of a part has; the rest comes from the fields of the
configs.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import typer

from empirical.settings.run_config import MemorizationConfig, RunConfig, Runtime
from repro.commands.cli import app
from theory.config import SweepConfig, TheoryConfig

Content = str | bytes | Callable[[Path], None]
DIGITS = "9" * 400


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        group: CLI, recipe, data, store, device, plug-in, environment or terminal; what: in words.
        words: the command line behind `repro`; code: its exit code; line: a part of the line it gives.
        files: what lies in the working directory: contents, or functions that make them.
        environment: variables that are set; plugins: entry points by `kind:name`.
    """

    group: str
    what: str
    words: tuple[str, ...]
    code: int
    line: str
    files: Mapping[str, Content] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)


def bad(group: str, what: str, words: str, code: int, line: str, **more: Any) -> Bad:
    return Bad(group, what, tuple(words.split("|")) if "|" in words else tuple(words.split()), code, line, **more)


RUN = "empirical run"
GRID = "empirical grid r.toml"


def recipe(text: str) -> dict[str, Content]:
    return {"r.toml": text}


def cells(text: str) -> dict[str, Content]:
    return recipe(f"[[runs]]\n{text}\n")


def options_of(command: str) -> set[str]:
    """Return the options of a command; rarer settings are given as `--set name=value`."""
    found: Any = typer.main.get_command(app)
    for word in command.split():
        found = getattr(found, "commands", {}).get(word, found)  # behind a command stand its arguments
    return {option for parameter in found.params for option in parameter.opts}


def settings(command: str, cls: type, skip: tuple[str, ...] = ()) -> Iterator[Bad]:
    """Yield bad values for every numeric setting of a command: not a number, infinite, too long, out of range, a word."""
    known = options_of(command)
    for one in fields(cls):
        if one.name in skip:
            continue
        option = "--" + one.name.replace("_", "-")
        flag, given = (option, f"{option}=") if option in known else (one.name, f"--set {one.name}=")
        kind = str(one.type)
        if "float" in kind:
            yield bad("CLI", f"{flag} that is not a number", f"{command} {given}nan", 2, "must be")
            yield bad("CLI", f"{flag} that is infinite", f"{command} {given}inf", 2, "must be")
        if "int" in kind or "float" in kind:
            yield bad("CLI", f"{flag} that is a word", f"{command} {given}many", 2, one.name.rpartition("_")[2])
            yield bad("CLI", f"{flag} of 400 digits", f"{command} {given}{DIGITS}", 2, "")
        if one.metadata.get("low") is not None:
            yield bad("CLI", f"{flag} below its range", f"{command} {given}-1", 2, "must be")
        if one.metadata.get("choices"):
            yield bad("CLI", f"{flag} that is none of its choices", f"{command} {given}nonsense", 2, "must be one of")


COMMAND_LINES = [
    bad("CLI", "an unknown command", "nonsense", 2, "No such command"),
    bad("CLI", "an option without its value", f"{RUN} --alpha", 2, "--alpha"),
    bad("CLI", "show without a run", "show", 2, "Missing argument"),
    bad("CLI", "a run that is not there", "show ffffffffffffffff", 3, "no such run"),
    bad("CLI", "a run id with escape codes", "show|\x1b[2J\x1b[31m", 3, "no such run"),
    bad("CLI", "an output folder that is a file", "figures fig-tow --out file", 2, "file", files={"file": "x"}),
    bad(
        "CLI", "options of a sweep before its name", "theory --d 5000 sweep drive", 2, "--d: must stand behind `sweep`"
    ),
    bad("CLI", "a signal in both units", "theory --signal-strength 1 --signal-norm 2", 2, "give one of the two"),
    bad("CLI", "more to forget than there is", "theory --n-forget 40", 2, "n_forget = 40: must be in [1, n - 1 = 39]"),
    bad("CLI", "a noise nobody predicts", "theory predict --noise plain", 2, "the prediction needs noise orthogonal"),
    bad("CLI", "a prediction in one dimension", "theory predict --d 1", 2, "d = 1: must be in [2, 1000000000000]"),
    bad("CLI", "validity of one seed", "theory validity --seeds 1", 2, "--seeds"),
    bad("CLI", "a radius in both units", "theory --rho 0.5 --rho-scale 0.1", 2, "rho = 0.5 and rho_scale = 0.1"),
    bad("CLI", "claims of 10^12 seeds", "theory claims --seeds 1000000000000", 2, "would take"),
    bad("CLI", "directions that are no power of two", "theory --directions 100", 2, "a power of two"),
    bad("CLI", "explicit vectors of 10^9 numbers", "theory --draw dense --d 1000000000", 2, "would not fit"),
    bad("CLI", "10^15 epochs of unlearning", f"{RUN} --epochs 1000000000000000", 2, "would take"),
    bad("CLI", "an unknown rule", f"{RUN} --rule smm-0.1", 2, "did you mean"),
    bad("CLI", "a rule without its radius", f"{RUN} --rule sam-", 2, "such as sam-0.1"),
    bad("CLI", "a rule nested a thousand times", f"{RUN} --rule {'masked-' * 1000}sgd", 2, "rule"),
    bad("CLI", "an option the method does not have", f"{RUN} --method-options beta=1", 2, "unknown setting 'beta'"),
    bad("CLI", "an unknown switch", f"{RUN} --switches tower=signed", 2, "tower"),
    bad("CLI", "a corruption of severity 9", f"{RUN} --corruption snow-9", 2, "severity 1-5"),
    bad("CLI", "a shard past the last", "empirical grid digits --shard 5/4", 2, "must be i/n"),
    bad("CLI", "another digest of the data", f"{RUN} --data 0123456789abcdef", 2, "the digest of digits"),
    bad("CLI", "a condition that fits no run", f"{GRID} --where seed=7", 2, "must fit a run", files=cells("seed = 0")),
    bad(
        "CLI",
        "a condition of 5,000 digits",
        f"{GRID} --where seed={'9' * 5000}",
        2,
        "at most 4300 digits",
        files=cells("seed = 0"),
    ),
    bad("CLI", "an original that is a path", f"{RUN} --original ../runs/x", 3, "no model of that name"),
    bad("CLI", "authors of a pack without a citation", "pack mine --creator Doe", 2, "given with --zenodo"),
    bad("CLI", "a store to verify that is a file", "verify --store runs", 2, "is a file", files={"runs": "x"}),
    bad("CLI", "no figure", "figures|", 2, "names of figures"),
    bad("CLI", "a study that is the folder itself", "study status .", 3, "no such file"),
    bad("CLI", "a page that is a folder", "claims --write .", 2, "the name of a file"),
    bad("CLI", "a rate that the search is to find", "study run digits --where lr=0.02", 2, "[search] finds the lr"),
    bad("CLI", "a seed that is a switch", f"{GRID} --where seed=true", 2, "must fit a run", files=cells("seed = 1")),
    bad(
        "CLI",
        "a prediction that is not finite",
        "theory predict --d 100 --n 6 --n-forget 2 --m 2 --epochs 4 --pretrain-epochs 4 --batch-size 4 --set sigma_p=1e150",
        2,
        "mean field is not finite",
    ),
    bad("CLI", "a folder of data that is not there", "doctor --data-root nowhere", 3, "missing: data"),
    bad("CLI", "a card without limits", "empirical plan digits --images-per-second inf", 2, "images_per_second = inf"),
]

RECIPES = [
    bad("recipe", what, GRID, 2, line, files=recipe(text))
    for what, text, line in [
        ("an unknown section", "[defualts]\n[[runs]]\nseed = 0\n", "did you mean 'defaults'"),
        ("lists nested 2,000 deep", f"[[runs]]\nseed = {'[' * 2000}{']' * 2000}\n", ""),
        ("extending a path", "extends = '../x.toml'\n[[runs]]\nseed = 0\n", "in its folder"),
        ("an unknown rule in a list", "[[runs]]\nrule = ['sgd', 'smm-0.1']\n", "did you mean"),
        ("an empty list in one of two groups", "[[runs]]\nseed = 0\n[[runs]]\nrule = []\n", "block 2, rule = []"),
        ("extending a number", "extends = 0\n[[runs]]\nseed = 0\n", "extends = 0: must name"),
        ("more parts than images of a batch", "[[runs]]\nbatch_parts = 100000\n", "batch_parts = 100000: must be in"),
        ("10^8 subset models", "[[runs]]\nsubsets = 100000000\n", "subsets = 100000000: must be in [4, 10000]"),
        ("expecting of an unknown label", "[[runs]]\nseed = 0\n[[expected]]\nwhere = {methud = 'x'}\n", "'method'"),
        ("expecting of no run", "[[runs]]\nseed = 0\n[[expected]]\nwhere = {seed = '0'}\n", "of a run of this study"),
        ("subset models in bf16", "[[runs]]\nportable = true\nsubset_precision = 'bf16'\n", "subset_precision = 'bf16'"),
    ]
] + [
    bad("recipe", "extending a file that is not there", GRID, 3, "no such file",
        files=recipe("extends = 'no.toml'\n[[runs]]\nseed = 0\n")),
    bad("recipe", "a circle of two", GRID, 2, "in its folder",
        files={"r.toml": "extends = 's.toml'\n", "s.toml": "extends = 'r.toml'\n"}),
    bad("recipe", "bytes that are no text", GRID, 2, "not readable as TOML", files={"r.toml": b"\xff\xfe[[runs]]"}),
]  # fmt: skip


def images(**columns: Any) -> Content:
    """Return a function that writes a Parquet file with the given columns."""

    def write(path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path)

    return write


def png(side: int = 8) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
GOOD = images(img=[{"bytes": PNG}] * 20, label=[0, 1] * 10)
CIFAR = f"{RUN} --dataset cifar10 --data-root data"


def cifar(train: Content, test: Content = GOOD) -> dict[str, Content]:
    return {"data/cifar10-train.parquet": train, "data/cifar10-test.parquet": test}


def array(value: Any) -> Content:
    def write(path: Path) -> None:
        np.save(path, value)

    return write


def archive(**arrays: Any) -> Content:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return write


SCORES = "empirical import-scores s.npz --dataset digits"
INDEX = "empirical import-index rows.npy"
LABELS = np.zeros(3, np.int64)
IMAGES = [
    bad("data", what, CIFAR, code, line, files=cifar(train))
    for what, train, code, line in [
        ("a Parquet file cut in half", b"PAR1 and then nothing", 6, "not a complete Parquet file"),
        ("no image column", images(picture=[PNG], label=[0]), 2, "needs an image"),
        ("a label outside the classes", images(img=[{"bytes": PNG}] * 20, label=[0, 10] * 10), 2, "label of row 1"),
        ("an image that cannot be decoded", images(img=[{"bytes": b"nonsense"}], label=[0]), 6, "cannot be decoded"),
    ]
] + [
    bad("data", "no data at all", CIFAR, 3, "cifar10-train.parquet"),
    bad("data", "a class that does not exist", f"{RUN} --difficulty class --forget-class 99", 2, "label in [0, 9]"),
    bad("data", "a folder outside the data root", f"{RUN} --dataset folder --dataset-options folder=../x", 2, "'..'"),
    bad("data", "an index of objects (a pickle)", INDEX, 2, "not readable", files={"rows.npy": array(np.array([{}], object))}),
    bad("data", "a text index with a word", "empirical import-index rows.txt", 2, "line 2", files={"rows.txt": "1\ntwo\n"}),
    bad("data", "an infinite score", SCORES, 2, "row 1", files={"s.npz": archive(tr_mem=np.array([0, np.inf, 0]), tr_labels=LABELS)}),
    bad("data", "scores of another size", SCORES, 2, "rows", files={"s.npz": archive(tr_mem=np.zeros(3), tr_labels=LABELS)}),
]  # fmt: skip


def run_folder(**changes: Any) -> dict[str, Content]:
    """Return the files of a finished run, one of them changed."""

    def write(path: Path) -> None:
        from repro.records.store import Store

        record = Store(path.parents[2]).save("benchmark", {"a": 1}, result={"x": 1.0}, arrays={"w": np.arange(9)})
        folder = path.parents[1] / record.run_id
        for name, content in changes.items():
            target = folder / name.replace("_", ".")
            if content is None:
                target.unlink()
            else:
                target.write_bytes(content)

    return {"runs/runs/made/x": write}


def pack_file(change: Callable[[list[dict[str, Any]]], None]) -> dict[str, Content]:
    def write(path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from repro.records.publish import write_published
        from repro.records.store import Store

        store = Store(path.parent / "other")
        write_published([store.save("benchmark", {"a": n}, result={"x": n}) for n in range(2)], path)
        table = pq.read_table(path)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    return {"results/p.parquet": write}


STORES = [
    bad("store", f"a {name.replace('_', '.')} that is cut", "verify --store runs", 6, "damaged", files=run_folder(**{name: b'{"a": '}))
    for name in ("result_json", "arrays_npz")
] + [
    bad("store", f"a store below a file, for {command}", f"{command} --store file/runs", 2, "file", files={"file": "x"})
    for command in (RUN, "theory")
] + [
    bad("store", f"a pack with {what}", "verify", 6, "damaged", files=pack_file(change))
    for what, change in (
        ("a number changed", lambda rows: rows[0].update({"result.x": 9})),
    )
] + [
    bad("store", "a pack that is cut", "list", 6, "damaged", files={"results/p.parquet": b"PAR1"}),
    bad("store", "a room that is a file", "verify --store runs", 6, "damaged", files={"runs/runs": "x"}),
    bad("store", "a room of models that is a file", GRID, 2, "models/ cannot be written", files=cells("seed = 0") | {"runs/models": "x"}),
    bad("store", "lists of runs that are cut", "verify", 6, "damaged", files={"results/studies.json": "{"} | pack_file(lambda rows: None)),
    bad("store", "runs of another kind given as an index", f"{RUN} --difficulty index --forget-index {{made}}", 2, "imported index", files=run_folder()),
]  # fmt: skip

PLUGINS = [
    bad("plug-in", what, f"{RUN} --method mine --n-train 100 --epochs 1 --pretrain-epochs 1", 2, line, plugins={"methods:mine": target})
    for what, target, line in (
        ("a module that is not there", "no_such_module_anywhere:Thing", "cannot be imported"),
        ("a module that raises", "mine_raises:Thing", "cannot be imported"),
        ("a method that is a text", "string:ascii_letters", "no "),
    )
]  # fmt: skip

SURROUNDINGS = [
    bad("environment", "a store variable that is a file", RUN, 2, "file", files={"file": ""}, environment={"REPRO_STORE": "file/x"}),
    bad("device", "a GPU that is not there", f"{RUN} --device cuda", 3, "no GPU"),
    bad("terminal", "escape codes in a method", f"{RUN}|--method|\x1b[31mneggrad".replace(" run", "|run"), 2, "method"),
    bad("terminal", "half a surrogate in a name", f"{RUN}|--dataset|\udcff".replace(" run", "|run"), 2, "dataset"),
]  # fmt: skip

CATALOGUE: list[Bad] = [
    *COMMAND_LINES, *RECIPES, *IMAGES, *STORES, *PLUGINS, *SURROUNDINGS,
    *settings("theory", TheoryConfig, skip=("pretrain", "unlearn", "mask_fraction", "mask_refresh")), *settings(RUN, RunConfig),
    *settings("theory sweep phase", SweepConfig, skip=("sweep",)),
    *settings("empirical memorization", MemorizationConfig), *settings(RUN, Runtime, skip=("study", "kind")),
]  # fmt: skip
