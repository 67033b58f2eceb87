"""The catalogue of bad inputs: what a user gives, the exit code, and what the one line says. docs/bad-input.md shows it.

Every row is run by `test_bad_inputs.py`; `python -m tests.catalogue.page` writes the page anew.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from empirical.settings.run_config import MemorizationConfig, RunConfig, Runtime
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
    return recipe(f"[[cells]]\n{text}\n")


def settings(command: str, cls: type, skip: tuple[str, ...] = ()) -> Iterator[Bad]:
    """Yield bad values for every numeric setting of a command: not a number, infinite, too long, out of range, a word."""
    for one in fields(cls):
        if one.name in skip:
            continue
        flag = "--" + one.name.replace("_", "-")
        kind = str(one.type)
        if "float" in kind:
            yield bad("CLI", f"{flag} that is not a number", f"{command} {flag} nan", 2, "must be")
            yield bad("CLI", f"{flag} that is infinite", f"{command} {flag} inf", 2, "must be")
        if "int" in kind or "float" in kind:
            yield bad("CLI", f"{flag} that is a word", f"{command} {flag} many", 2, flag)
            yield bad("CLI", f"{flag} of 400 digits", f"{command} {flag} {DIGITS}", 2, "")
        if one.metadata.get("low") is not None:
            yield bad("CLI", f"{flag} below its range", f"{command} {flag}=-1", 2, "must be")
        if one.metadata.get("choices"):
            yield bad("CLI", f"{flag} that is none of its choices", f"{command} {flag} nonsense", 2, "must be one of")


COMMAND_LINES = [
    bad("CLI", "an unknown command", "nonsense", 2, "No such command"),
    bad("CLI", "an unknown option", f"{RUN} --alhpa 0.5", 2, "--alpha"),
    bad("CLI", "an option without its value", f"{RUN} --alpha", 2, "--alpha"),
    bad("CLI", "an argument too many", "list extra", 2, "extra"),
    bad("CLI", "an empty command word", "|", 2, "No such command"),
    bad("CLI", "show without a run", "show", 2, "Missing argument"),
    bad("CLI", "diff with one run", "empirical diff abc", 2, "Missing argument"),
    bad("CLI", "a run that is not there", "show ffffffffffffffff", 3, "no such run"),
    bad("CLI", "an empty run id", "show|", 3, "no such run"),
    bad("CLI", "a run id that is a path", "show ../../etc/passwd", 3, "no such run"),
    bad("CLI", "a run id of 5,000 letters", f"show {'a' * 5000}", 3, "no such run"),
    bad("CLI", "a run id with escape codes", "show|\x1b[2J\x1b[31m", 3, "no such run"),
    bad("CLI", "diff of runs that are not there", "empirical diff ff00 ff01", 3, "no such run"),
    bad("CLI", "an unknown figure", "figures fig-toww", 2, "did you mean 'fig-tow'"),
    bad("CLI", "a figure that is a path", "figures ../../fig-tow", 2, "must be one of"),
    bad("CLI", "figures of an unknown study", "figures fig-tow --study digitss", 2, "did you mean 'digits'"),
    bad("CLI", "figures of a study that is a path", "figures fig-tow --study ../digits", 2, "study"),
    bad("CLI", "an output folder that is a file", "figures fig-tow --out file", 2, "file", files={"file": "x"}),
    bad("CLI", "a page that is a folder", "claims --write folder", 2, "folder", files={"folder/x": ""}),
    bad("CLI", "an unknown claim", "theory claims theorem-9.9", 2, "must be one of"),
    bad(
        "CLI", "options of a sweep before its name", "theory --d 5000 sweep drive", 2, "--d: must stand behind `sweep`"
    ),
    bad(
        "CLI", "JSON asked for before the subcommand", "theory --json predict", 2, "--json: must stand behind `predict`"
    ),
    bad("CLI", "a landscape without a middle", f"{RUN} --landscape-points 10", 2, "landscape_points = 10: must be odd"),
    bad("CLI", "jobs of no time", "empirical grid digits --executor slurm --max-seconds 0", 2, "max_seconds"),
    bad("CLI", "claims of a single seed", "theory claims --seeds 1", 2, "seeds"),
    bad("CLI", "claims of a single seed for a cluster", "theory claims --seeds 1 --executor slurm", 2, "seeds"),
    bad("CLI", "a first seed past the last", f"theory --first-seed {2**63 - 1}", 2, "first_seed"),
    bad("CLI", "a claim past the last seed", f"theory claims --first-seed {2**63 - 1}", 2, "first_seed"),
    bad("CLI", "a sweep past the last seed", f"theory sweep phase --first-seed {2**63 - 1}", 2, "first_seed"),
    bad("CLI", "a radius in both units", "theory --rho 0.5 --rho-scale 0.1", 2, "rho = 0.5 and rho_scale = 0.1"),
    bad(
        "CLI",
        "a pretraining radius in both units",
        "theory predict --pretrain-rho 1 --pretrain-rho-scale 2",
        2,
        "pretrain_rho = 1.0 and pretrain_rho_scale = 2.0",
    ),
    bad("CLI", "a share of neurons that no rule reads", "theory --mask-fraction 0.1", 2, "--mask-fraction"),
    bad("CLI", "a probe that no prediction reads", "theory predict --probe-rho-scale 2", 2, "--probe-rho-scale"),
    bad("CLI", "noise beyond every signal", "theory --sigma-p 1e200", 2, "sigma_p = 1e+200: must be such that |phi|"),
    bad("CLI", "claims of 10^12 seeds", "theory claims --seeds 1000000000000", 2, "would take"),
    bad("CLI", "an unknown sweep", "theory sweep fase", 2, "did you mean 'phase'"),
    bad("CLI", "an axis a sweep does not have", "theory sweep phase --mask-refresh 3", 2, "no such axis"),
    bad("CLI", "a sweep of 10^12 seeds", "theory sweep phase --seeds 1000000000000", 2, "would take"),
    bad("CLI", "10^12 seeds", "theory --seeds 1000000000000", 2, "seeds = 1000000000000: would take"),
    bad("CLI", "2^40 directions", "theory --directions 1099511627776", 2, "would take"),
    bad("CLI", "10^15 epochs of theory", "theory --epochs 1000000000000000", 2, "would take"),
    bad("CLI", "10^15 epochs of pretraining", "theory --pretrain-epochs 1000000000000000", 2, "would take"),
    bad("CLI", "directions that are no power of two", "theory --directions 100", 2, "a power of two"),
    bad("CLI", "as many samples to forget as there are", "theory --n-forget 40", 2, "n - 1 = 39"),
    bad("CLI", "strength and norm together", "theory --signal-strength 1 --signal-norm 2", 2, "give one of the two"),
    bad("CLI", "a negative signal norm", "theory --signal-norm=-1", 2, "must be in [1e-161, 1e+154]"),
    bad("CLI", "a signal norm whose square is 0", "theory --signal-norm 1e-170", 2, "signal_norm = 1e-170: must be in"),
    bad("CLI", "weights whose square is infinite", "theory --sigma-0-scale 1e200", 2, "must be in (0.0, 1e+150]"),
    bad("CLI", "noise whose power is infinite", "theory --sigma-p 1e40 --activation-power 10", 2, "must be <= 1e+30"),
    bad("CLI", "a signal whose square is infinite", "theory --signal-strength 1e200", 2, "such that |phi| is in"),
    bad(
        "CLI",
        "more noise patches than directions have coordinates for",
        "theory --m 1000 --patches 13 --noise-patches independent",
        2,
        "patches = 13: must be at most 11 at m = 1000",
    ),
    bad(
        "CLI",
        "noise patches whose products fill no memory",
        "theory --m 1 --n 5000 --patches 5000 --noise-patches independent",
        2,
        "patches = 5000: would take about",
    ),
    bad("CLI", "a negative radius", "theory --rho=-1", 2, "must be >= 0"),
    bad("CLI", "a radius that is not a number", "theory --rho nan", 2, "rho"),
    bad("CLI", "an infinite radius", "theory --rho inf", 2, "rho = inf: must be >= 0 and finite"),
    bad("CLI", "explicit vectors of 10^9 numbers", "theory --draw dense --d 1000000000", 2, "would not fit"),
    bad("CLI", "10^15 epochs of unlearning", f"{RUN} --epochs 1000000000000000", 2, "would take"),
    bad("CLI", "10^15 epochs", f"{RUN} --pretrain-epochs 1000000000000000", 2, "would take"),
    bad("CLI", "10^12 subset models", f"{RUN} --subsets 1000000000000", 2, "would take"),
    bad("CLI", "a landscape of 10^9 points a side", f"{RUN} --landscape-points 1000000001", 2, "would take"),
    bad("CLI", "an unknown method", f"{RUN} --method neg_grad", 2, "did you mean 'neggrad'"),
    bad("CLI", "an unknown model", f"{RUN} --model resnet9", 2, "did you mean 'resnet8'"),
    bad("CLI", "an unknown data set", f"{RUN} --dataset cifar11", 2, "did you mean 'cifar10'"),
    bad("CLI", "an unknown metric", f"{RUN} --metrics towe", 2, "did you mean 'tow'"),
    bad("CLI", "an unknown forget set", f"{RUN} --difficulty hihg", 2, "did you mean 'high'"),
    bad("CLI", "an unknown rule", f"{RUN} --rule smm-0.1", 2, "did you mean"),
    bad("CLI", "an empty rule", f"{RUN}|--rule|".replace(" ", "|"), 2, "rule"),
    bad("CLI", "a rule without its radius", f"{RUN} --rule sam-", 2, "such as sam-0.1"),
    bad("CLI", "a rule with a word as radius", f"{RUN} --rule sam-big", 2, "such as sam-0.1"),
    bad("CLI", "a rule with a negative radius", f"{RUN} --rule sam--1", 2, "such as sam-0.1"),
    bad("CLI", "a rule with an infinite radius", f"{RUN} --rule sam-inf", 2, "such as sam-0.1"),
    bad("CLI", "a rule whose radius is no number", f"{RUN} --rule sam-nan", 2, "such as sam-0.1"),
    bad("CLI", "a rule nested twice", f"{RUN} --rule minmax-masked-sgd", 2, "nested at most once"),
    bad("CLI", "a rule nested a thousand times", f"{RUN} --rule {'masked-' * 1000}sgd", 2, "rule"),
    bad("CLI", "pretraining with a rule of two losses", f"{RUN} --pretrain minmax", 2, "no forget set"),
    bad("CLI", "retraining with a rule of two losses", f"{RUN} --retrain masked-sgd", 2, "no forget set"),
    bad(
        "CLI",
        "a rule of two losses for a method of one",
        f"{RUN} --method finetune --rule minmax",
        2,
        "rule of one loss",
    ),
    bad("CLI", "the method retrain with a mask", f"{RUN} --method retrain --rule masked-sgd", 2, "no forget set"),
    bad("CLI", "an option the method does not have", f"{RUN} --method-options beta=1", 2, "unknown setting 'beta'"),
    bad("CLI", "an option of the wrong type", f"{RUN} --method scrub --method-options beta=high", 2, "beta"),
    bad("CLI", "a method option without a value", f"{RUN} --method-options beta=", 2, "must be name=value"),
    bad("CLI", "a switch that is set twice", f"{RUN} --switches tow=signed,tow=absolute", 2, "stands already"),
    bad(
        "CLI",
        "method options that are a sentence",
        f"{RUN}|--method-options|be good".replace(" run", "|run"),
        2,
        "name=value",
    ),
    bad("CLI", "an option of a data set without any", f"{RUN} --dataset-options size=3", 2, "size"),
    bad("CLI", "an unknown preset", f"{RUN} --preset offical-paper", 2, "official-paper"),
    bad("CLI", "an unknown switch", f"{RUN} --switches tower=signed", 2, "tower"),
    bad("CLI", "a switch with an unknown value", f"{RUN} --switches tow=sined", 2, "signed"),
    bad("CLI", "an unknown corruption", f"{RUN} --corruption rain-3", 2, "severity 1-5"),
    bad("CLI", "a corruption of severity 9", f"{RUN} --corruption snow-9", 2, "severity 1-5"),
    bad("CLI", "a shift of signal-noise images", f"{RUN} --dataset signal-noise --augment shift", 2, "mix its patches"),
    bad("CLI", "an index without its file", f"{RUN} --difficulty index", 2, "imported index file"),
    bad("CLI", "a class that does not exist", f"{RUN} --difficulty class --forget-class 99", 2, "label in [0, 9]"),
    bad("CLI", "a subset larger than the data set", f"{RUN} --n-train 100000000", 2, "n_train"),
    bad("CLI", "a forget set of nothing but everything", f"{RUN} --forget-fraction 1", 2, "forget_fraction"),
    bad("CLI", "an unknown device", f"{RUN} --device tpu", 2, "must be one of"),
    bad("CLI", "a shard past the last", "empirical grid digits --shard 5/4", 2, "must be i/n"),
    bad("CLI", "a shard that is no share", "empirical grid digits --shard half", 2, "must be i/n"),
    bad("CLI", "jobs without a cluster", "empirical grid digits --tasks 4", 2, "it is for --executor slurm"),
    bad("CLI", "a time limit in words", "empirical grid digits --executor slurm --time hour", 2, "H:MM:SS"),
    bad("CLI", "an option of sbatch without a value", "theory claims --executor slurm --slurm mem", 2, "KEY=VALUE"),
    bad("CLI", "an unknown claim for a cluster", "theory claims lema --executor slurm", 2, "must be one of"),
    bad("CLI", "another digest of the data", f"{RUN} --data 0123456789abcdef", 2, "the digest of digits"),
    bad("CLI", "a name of 300 letters", f"{RUN} --method {'m' * 300}", 2, "method"),
    bad("CLI", "a name with a null character", f"{RUN}|--dataset|a\x00b".replace(" run", "|run"), 2, "dataset"),
    bad("CLI", "negative processes", "empirical grid r.toml --workers=-1", 2, "workers", files=cells("seed = 0")),
    bad("CLI", "processes that are a word", "empirical grid r.toml --workers many", 2, "workers"),
    bad("CLI", "a time limit of nothing", f"{GRID} --max-seconds 0", 2, "> 0", files=cells("seed = 0")),
    bad("CLI", "a negative time limit", f"{GRID} --max-seconds=-5", 2, "> 0", files=cells("seed = 0")),
    bad("CLI", "a time limit that is not a number", f"{GRID} --max-seconds nan", 2, "finite", files=cells("seed = 0")),
    bad("CLI", "an endless time limit", f"{GRID} --max-seconds inf", 2, "finite", files=cells("seed = 0")),
    bad("CLI", "a condition without =", f"{GRID} --where seed", 2, "SETTING=VALUE", files=cells("seed = 0")),
    bad("CLI", "a condition on nothing", f"{GRID} --where sede=0", 2, "did you mean 'seed'", files=cells("seed = 0")),
    bad(
        "CLI", "a condition that fits no cell", f"{GRID} --where seed=7", 2, "must fit a cell", files=cells("seed = 0")
    ),
    bad(
        "CLI",
        "two conditions on a setting",
        f"{GRID} --where seed=0 --where seed=1",
        2,
        "seed = 0 stands already",
        files=cells("seed = [0, 1]"),
    ),
    bad("CLI", "no metric to leave out", f"{GRID} --without to", 2, "did you mean 'tow'", files=cells("seed = 0")),
    bad(
        "CLI",
        "a condition of 5,000 digits",
        f"{GRID} --where seed={'9' * 5000}",
        2,
        "at most 4300 digits",
        files=cells("seed = 0"),
    ),
    bad(
        "CLI", "a condition of 5,000 brackets", f"{GRID} --where seed={'[' * 5000}", 2, "value", files=cells("seed = 0")
    ),
    bad("CLI", "a card without limits", "empirical plan digits --images-per-second inf", 2, "images_per_second = inf"),
    bad(
        "CLI",
        "a schedule of 5,000 digits",
        f"{RUN}|--pretrain|sam:{'9' * 5000}, sgd".replace(" run", "|run"),
        2,
        "rules with",
    ),
    bad(
        "CLI",
        "a time limit of 5,000 digits",
        f"empirical grid digits --executor slurm --time {'9' * 5000}",
        2,
        "H:MM:SS",
    ),
    bad("CLI", "a word of 5,000 letters", f"explain {'w' * 5000}", 2, "not in the glossary"),
    bad("CLI", "a word whose owner has 1,000 owners", f"explain {'original_' * 1000}", 2, "not in the glossary"),
    bad("CLI", "a study of 5,000 letters", f"export {'s' * 5000} --to out", 2, "study"),
    bad(
        "CLI",
        "a checkpoint of any size",
        "models import m.pth --as m --model resnet8 --dataset digits --largest nan",
        2,
        "--largest = nan: must be > 0",
    ),
    bad("CLI", "an original that is a path", f"{RUN} --original ../runs/x", 3, "no model of that name"),
    bad("CLI", "endless memory", "empirical plan r.toml --memory inf", 2, "in [0, 1e+09] GB", files=cells("seed = 0")),
    bad("CLI", "memory that is no number", "empirical plan r.toml --memory nan", 2, "memory", files=cells("seed = 0")),
    bad(
        "CLI",
        "tables beside a README of the user's own",
        "export digits --to out",
        2,
        "choose another",
        files={"out/README.md": "# mine"},
    ),
    bad("CLI", "a grid of a recipe that is not there", "empirical grid no.toml", 3, "no such file"),
    bad("CLI", "a grid of a folder", "empirical grid folder", 3, "no such file", files={"folder/x": ""}),
    bad("CLI", "a recipe with a name too long for a file", f"empirical grid {'r' * 300}.toml", 2, "name too long"),
    bad("CLI", "check of a recipe that is not there", "check no.toml", 3, "no such file"),
    bad("CLI", "metrics added to a run that is not there", "empirical evaluate ffff --metrics tow", 3, "no such run"),
    bad("CLI", "an unknown metric added", "empirical evaluate ffff --metrics towe", 3, "no such run"),
    bad("CLI", "pruning of an unknown stage", "models prune --stage unlern", 2, "did you mean 'unlearn'"),
    bad("CLI", "pack to a path", "pack ../outside", 2, "no path"),
    bad("CLI", "pack to an absolute path", "pack /tmp/outside", 2, "no path"),
    bad("CLI", "pack without a name", "pack|", 2, "no path"),
    bad("CLI", "pack to a hidden file", "pack .hidden", 2, "no path"),
    bad("CLI", "pack to a name of 300 letters", f"pack {'p' * 300}", 2, "at most 100"),
    bad("CLI", "pack of a study without runs", "pack nothing", 3, "no runs"),
    bad("CLI", "authors of a pack without a citation", "pack mine --creator Doe", 2, "given with --zenodo"),
    bad("CLI", "a list of an unknown kind", "list --kind unlern", 2, "did you mean 'unlearn'"),
    bad("CLI", "a store to verify that is not there", "verify --store rusn", 3, "store = 'rusn': no such folder"),
    bad("CLI", "a store to verify that is a file", "verify --store runs", 3, "no such folder", files={"runs": "x"}),
    bad("CLI", "a folder of data that is not there", "doctor --data-root nowhere", 3, "missing: data"),
]

RECIPES = [
    bad("recipe", what, GRID, 2, line, files=recipe(text))
    for what, text, line in [
        ("an empty file", "", "at least one cell"),
        ("no cells", "[defaults]\nseed = 0\n", "at least one cell"),
        ("not TOML", "[[cells\n", "not readable as TOML"),
        ("a key twice", "title = 'a'\ntitle = 'b'\n", "not readable as TOML"),
        ("an unknown section", "[defualts]\n[[cells]]\nseed = 0\n", "did you mean 'defaults'"),
        ("an unknown setting", "[[cells]]\nmethd = 'neggrad'\n", "did you mean 'method'"),
        ("an unknown setting among the defaults", "[defaults]\nmethd = 'x'\n[[cells]]\nseed = 0\n", "did you mean"),
        ("a word for a number", "[[cells]]\nepochs = 'many'\n", "must be of type int"),
        ("a fraction for a whole number", "[[cells]]\nepochs = 1.5\n", "must be of type int"),
        ("yes for a number", "[[cells]]\nepochs = true\n", "must be of type int"),
        ("a number for a word", "[[cells]]\nmethod = 3\n", "must be of type str"),
        ("a table for a word", "[[cells]]\nmethod = {a = 1}\n", "must be of type str"),
        ("a list in a list", "[[cells]]\nseed = [[0, 1]]\n", "must be of type int"),
        ("a date for a number", "[[cells]]\nepochs = 2024-01-01\n", "must be of type int"),
        ("nan for a rate", "[[cells]]\nlr = nan\n", "finite"),
        ("inf for a rate", "[[cells]]\nlr = inf\n", "finite"),
        ("a rate of 0", "[[cells]]\nlr = 0.0\n", "must be > 0"),
        ("a number of 400 digits", f"[[cells]]\nseed = {DIGITS}\n", "digits"),
        ("a rate of 400 digits", f"[[cells]]\nlr = {DIGITS}\n", "digits"),
        ("a number of 5,000 digits", f"[[cells]]\nseed = {'9' * 5000}\n", "not readable as TOML"),
        ("10^15 epochs", "[[cells]]\nepochs = 1000000000000000\n", "would take"),
        ("10^9 cells", "[[cells]]\n" + "".join(f"{n} = {list(range(1, 1001))}\n" for n in ("seed", "epochs", "n_test")), "would take"),
        ("lists nested 2,000 deep", f"[[cells]]\nseed = {'[' * 2000}{']' * 2000}\n", ""),
        ("tables nested 2,000 deep", f"[{'.'.join('a' * 2000)}]\n", ""),
        ("defaults that are a number", "defaults = 3\n[[cells]]\nseed = 0\n", "defaults"),
        ("defaults that are a list", "defaults = [1]\n[[cells]]\nseed = 0\n", "defaults"),
        ("cells that are a word", "cells = 'all'\n", "cells"),
        ("cells that are numbers", "cells = [1, 2]\n", "cells"),
        ("a choice that is a list", "choose = [1]\n[[cells]]\nseed = 0\n", "choose"),
        ("a choice without values", "[choose]\nvalues = []\nseed = 5\n[[cells]]\nseed = 0\n", "values"),
        ("a choice of an unknown key", "[choose]\nvalus = [0.1]\n[[cells]]\nseed = 0\n", "did you mean 'values'"),
        ("a choice on a seed of the study", "[choose]\nvalues = [0.1, 0.2]\nseed = 0\n[[cells]]\nseed = 0\n", "seed"),
        ("a choice of words", "[choose]\nvalues = ['a', 'b']\nseed = 5\n[[cells]]\nseed = 0\n", "values"),
        ("a choice below the range", "[choose]\nvalues = [-0.1, 0.2]\nseed = 5\n[[cells]]\nseed = 0\n", ""),
        ("a choice at an unknown setting", "[choose]\nseed = 5\nat = { alhpa = 0.9 }\n[[cells]]\nseed = 0\n", "did you mean 'alpha'"),
        ("a choice at another data set", "[choose]\nseed = 5\nat = { dataset = 'digits' }\n[[cells]]\nseed = 0\n", "choose.at"),
        ("a choice at a value out of range", "[choose]\nseed = 5\nat = { alpha = 2.0 }\n[[cells]]\nseed = 0\n", "in [0, 1]"),
        ("a choice at a number", "[choose]\nseed = 5\nat = 3\n[[cells]]\nseed = 0\n", "expected a table"),
        ("guesses that are a word", "guessed = 'lr'\n[[cells]]\nseed = 0\n", "guessed"),
        ("a guess of an unknown setting", "guessed = ['rate']\n[[cells]]\nseed = 0\n", "guessed"),
        ("a title that is a number", "title = 3\n[[cells]]\nseed = 0\n", "title"),
        ("keep_models that is a word", "keep_models = 'no'\n[[cells]]\nseed = 0\n", "keep_models"),
        ("expected values that are a number", "expected = 3\n[[cells]]\nseed = 0\n", "expected"),
        ("expected values that are numbers", "expected = [3]\n[[cells]]\nseed = 0\n", "expected"),
        ("an expected value of a word", "[[cells]]\nseed = 0\n[[expected]]\nwhere = 'neggrad'\n", "a table of labels"),
        ("a choice of cells", "only = { sede = 0 }\n[[cells]]\nseed = 0\n", "only: is no key"),
        ("a shard", "shard = '1/2'\n[[cells]]\nseed = 0\n", "shard: is no key"),
        ("blocks beside cells", "[[cells]]\nseed = 0\n[[blocks]]\nseed = 1\n", "blocks: is no key"),
        ("extending a path", "extends = '../x.toml'\n[[cells]]\nseed = 0\n", "beside it"),
        ("extending itself", "extends = 'r.toml'\n[[cells]]\nseed = 0\n", "beside it"),
        ("extending a number", "extends = 3\n[[cells]]\nseed = 0\n", "beside it"),
        ("escape codes in a name", "[[cells]]\nmethod = \"\\u001b[2Jneggrad\"\n", "method"),
        ("a rule without its radius", "[[cells]]\nrule = 'sam-'\n", "such as sam-0.1"),
        ("an unknown rule in a list", "[[cells]]\nrule = ['sgd', 'smm-0.1']\n", "did you mean"),
        ("metrics that are a word", "[[cells]]\nmetrics = 'tow'\n", "metrics"),
        ("an unknown metric", "[[cells]]\nmetrics = ['towe']\n", "did you mean 'tow'"),
        ("a method and a rule that do not go together", "[[cells]]\nmethod = 'finetune'\nrule = 'minmax'\n", "rule of one loss"),
        ("an option the method does not have", "[[cells]]\nmethod_options = 'beta=1'\n", "unknown setting 'beta'"),
        ("a preset nobody knows", "[[cells]]\npreset = 'offical'\n", "official"),
    ]
] + [
    bad("recipe", "extending a file that is not there", GRID, 3, "no such file",
        files=recipe("extends = 'no.toml'\n[[cells]]\nseed = 0\n")),
    bad("recipe", "a circle of two", GRID, 2, "beside it",
        files={"r.toml": "extends = 's.toml'\n", "s.toml": "extends = 'r.toml'\n"}),
    bad("recipe", "a chain of 60", GRID, 2, "a chain of more than",
        files={"r.toml": "extends = 'r0.toml'\n"} | {f"r{n}.toml": f"extends = 'r{n + 1}.toml'\n" for n in range(60)}),
    bad("recipe", "bytes that are no text", GRID, 2, "not readable as TOML", files={"r.toml": b"\xff\xfe[[cells]]"}),
    bad("recipe", "null bytes", GRID, 2, "not readable as TOML", files={"r.toml": b"\0" * 100}),
    bad("recipe", "a Parquet file", GRID, 2, "not readable as TOML", files={"r.toml": b"PAR1\x15\x04PAR1"}),
    bad("recipe", "expected values of an unknown key", "check r.toml", 2, "unknown setting",
        files=recipe("[[cells]]\nseed = 0\n[[expected]]\nmetrik = 'tow'\n")),
    bad("recipe", "an expected value that is a word", "check r.toml", 2, "value",
        files=recipe("[[cells]]\nseed = 0\n[[expected]]\nvalue = 'high'\n")),
    bad("recipe", "a folder of recipes of which one is broken", "empirical recipes folder", 2, "not readable as TOML",
        files={"folder/a.toml": "[[cells"}),
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
        ("a Parquet file cut in half", b"PAR1 and then nothing", 6, "not a whole Parquet file"),
        ("an empty file", b"", 6, "not a whole Parquet file"),
        ("a text file", "image,label\n", 6, "not a whole Parquet file"),
        ("no rows", images(img=[], label=[]), 2, ""),
        ("no image column", images(picture=[PNG], label=[0]), 2, "needs an image"),
        ("no label column", images(img=[{"bytes": PNG}]), 2, "needs an image"),
        ("text labels", images(img=[{"bytes": PNG}], label=["cat"]), 2, "whole numbers"),
        ("fractions as labels", images(img=[{"bytes": PNG}], label=[0.5]), 2, "whole numbers"),
        ("a label that is missing", images(img=[{"bytes": PNG}] * 2, label=[0, None]), 6, "row 1"),
        ("a negative label", images(img=[{"bytes": PNG}] * 2, label=[0, -1]), 6, "row 1"),
        ("a label of 10^12", images(img=[{"bytes": PNG}] * 2, label=[0, 10**12]), 6, "row 1"),
        ("a label outside the classes", images(img=[{"bytes": PNG}] * 20, label=[0, 10] * 10), 2, "label of row 1"),
        ("an image that is missing", images(img=[{"bytes": PNG}, None], label=[0, 1]), 6, "row 1"),
        ("an image without bytes", images(img=[{"bytes": PNG}, {"bytes": None}], label=[0, 1]), 6, "row 1"),
        ("images that are numbers", images(img=[1, 2], label=[0, 1]), 6, "row 0"),
        ("images that are text", images(img=["a", "b"], label=[0, 1]), 6, "row 0"),
        ("an image that cannot be decoded", images(img=[{"bytes": b"nonsense"}], label=[0]), 6, "cannot be decoded"),
        ("an image cut in half", images(img=[{"bytes": PNG[: len(PNG) // 2]}], label=[0]), 6, "cannot be decoded"),
        ("images of two sizes", images(img=[{"bytes": PNG}, {"bytes": png(9)}], label=[0, 1]), 6, "row 1"),
    ]
] + [
    bad("data", "test images of another size", CIFAR, 6, "pixels",
        files=cifar(GOOD, images(img=[{"bytes": png(9)}] * 20, label=[0, 1] * 10))),
    bad("data", "no test file", CIFAR, 3, "cifar10-test.parquet", files={"data/cifar10-train.parquet": GOOD}),
    bad("data", "no data at all", CIFAR, 3, "cifar10-train.parquet"),
    bad("data", "a data root that is a file", f"{RUN} --dataset cifar10 --data-root file", 3, "cifar10", files={"file": ""}),
    bad("data", "a folder of images that is not there", f"{RUN} --dataset folder", 3, "train"),
    bad("data", "a folder outside the data root", f"{RUN} --dataset folder --dataset-options folder=../x", 2, "'..'"),
    bad("data", "an absolute folder", f"{RUN} --dataset folder --dataset-options folder=/etc", 2, "data root"),
    bad("data", "images of 10^7 pixels a side", f"{RUN} --dataset folder --dataset-options size=10000000", 2, "would take",
        files={"data/folder/train/a/1.png": PNG, "data/folder/val/a/1.png": PNG}),
    bad("data", "images of 10^7 pixels a side in a hub's set", f"{RUN} --dataset hub:x --dataset-options size=10000000 --data-root data",
        2, "would take", files={"data/x/train.parquet": GOOD, "data/x/test.parquet": GOOD}),
    bad("data", "a folder without images", f"{RUN} --dataset folder --data-root data", 3, "holds no images",
        files={"data/folder/train/a/x.txt": "", "data/folder/val/a/x.txt": ""}),
    bad("data", "a picture that is none", f"{RUN} --dataset folder --data-root data --dataset-options size=8", 6, "cannot be decoded",
        files={f"data/folder/{side}/a/1.png": b"nonsense" for side in ("train", "val")}),
    bad("data", "10^9 drawn images", f"{RUN} --dataset signal-noise --augment none --dataset-options n=1000000000", 2, "would take"),
    bad("data", "patches of 10^6 pixels a side", f"{RUN} --dataset signal-noise --augment none --dataset-options side=1000000", 2, "would take"),
    bad("data", "an unknown option of drawn images", f"{RUN} --dataset signal-noise --augment none --dataset-options sides=3", 2, "did you mean 'side'"),
    bad("data", "an index file that is not there", INDEX, 3, "not found"),
    bad("data", "an index of fractions", INDEX, 2, "whole numbers", files={"rows.npy": array(np.array([0.5]))}),
    bad("data", "an index of words", INDEX, 2, "whole numbers", files={"rows.npy": array(np.array(["a"]))}),
    bad("data", "an index of two columns", INDEX, 2, "whole numbers", files={"rows.npy": array(np.zeros((2, 2), int))}),
    bad("data", "an index that is one number", INDEX, 2, "whole numbers", files={"rows.npy": array(np.int64(3))}),
    bad("data", "an empty index", INDEX, 2, "no row numbers", files={"rows.npy": array(np.zeros(0, int))}),
    bad("data", "a negative index", INDEX, 2, "entry 1", files={"rows.npy": array(np.array([0, -1]))}),
    bad("data", "an index of 2^63", INDEX, 2, "entry 0", files={"rows.npy": array(np.array([2**63], np.uint64))}),
    bad("data", "an index of objects (a pickle)", INDEX, 2, "not readable", files={"rows.npy": array(np.array([{}], object))}),
    bad("data", "an index file cut short", INDEX, 2, "not readable", files={"rows.npy": b"\x93NUMPY\x01\x00"}),
    bad("data", "an empty index file", INDEX, 2, "not readable", files={"rows.npy": b""}),
    bad("data", "an archive as index", INDEX, 2, "one array", files={"rows.npy": archive(a=LABELS)}),
    bad("data", "a text index with a word", "empirical import-index rows.txt", 2, "line 2", files={"rows.txt": "1\ntwo\n"}),
    bad("data", "a text index with a fraction", "empirical import-index rows.txt", 2, "line 1", files={"rows.txt": "1.5\n"}),
    bad("data", "a text index with superscripts", "empirical import-index rows.txt", 2, "line 1", files={"rows.txt": "²\n"}),
    bad("data", "a text index with 400 digits", "empirical import-index rows.txt", 2, "line 1", files={"rows.txt": DIGITS}),
    bad("data", "an empty text index", "empirical import-index rows.txt", 2, "no row numbers", files={"rows.txt": "\n"}),
    bad("data", "bytes as a text index", "empirical import-index rows.txt", 2, "neither", files={"rows.txt": b"\xff\xfe\x00"}),
    bad("data", "a folder as index", "empirical import-index folder", 2, "folder", files={"folder/x": ""}),
    bad("data", "an index id that is not there", f"{RUN} --difficulty index --forget-index ffff", 3, "no such run"),
    bad("data", "an index id that is a path", f"{RUN} --difficulty index --forget-index ../../x", 3, "no such run"),
    bad("data", "scores that are not there", SCORES, 3, "not found"),
    bad("data", "scores of an unknown data set", "empirical import-scores s.npz --dataset digit", 2, "did you mean 'digits'"),
    bad("data", "scores that are no archive", SCORES, 2, "not readable", files={"s.npz": b"nonsense"}),
    bad("data", "scores without labels", SCORES, 2, "tr_labels", files={"s.npz": archive(tr_mem=np.zeros(3))}),
    bad("data", "scores in two columns", SCORES, 2, "tr_mem", files={"s.npz": archive(tr_mem=np.zeros((3, 2)), tr_labels=LABELS)}),
    bad("data", "scores whose file names are numbers", SCORES, 2, "tr_filenames",
        files={"s.npz": archive(tr_mem=np.zeros(3), tr_labels=np.zeros(3, int), tr_filenames=np.zeros(3))}),
    bad("data", "parts of a batch below one", f"{RUN} --batch-parts 0", 2, "batch_parts = 0: must be >= 1"),
    bad("data", "synchronized BatchNorm without a GPU", f"{RUN} --sync-batchnorm --device cpu", 2, "sync_batchnorm = True: must be false on a CPU"),
    bad("data", "a plan of no recipe", "empirical plan none.toml", 3, "no such file"),
    bad("data", "a plan for no process", "empirical plan digits --tasks 0", 2, "tasks"),
    bad("data", "scores that are words", SCORES, 2, "tr_mem", files={"s.npz": archive(tr_mem=np.array(["a"] * 3), tr_labels=LABELS)}),
    bad("data", "scores that are objects (a pickle)", SCORES, 2, "not readable",
        files={"s.npz": archive(tr_mem=np.array([{}] * 3, object), tr_labels=LABELS)}),
    bad("data", "labels that are fractions", SCORES, 2, "tr_labels", files={"s.npz": archive(tr_mem=np.zeros(3), tr_labels=np.zeros(3))}),
    bad("data", "scores that are all NaN", SCORES, 2, "row 0", files={"s.npz": archive(tr_mem=np.full(3, np.nan), tr_labels=LABELS)}),
    bad("data", "an infinite score", SCORES, 2, "row 1", files={"s.npz": archive(tr_mem=np.array([0, np.inf, 0]), tr_labels=LABELS)}),
    bad("data", "scores of another size", SCORES, 2, "rows", files={"s.npz": archive(tr_mem=np.zeros(3), tr_labels=LABELS)}),
    bad("data", "a score id that is not there", f"{RUN} --difficulty high --scores ffff", 3, "no such run"),
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

        from repro.records.pack import write_pack
        from repro.records.store import Store

        store = Store(path.parent / "other")
        write_pack([store.save("benchmark", {"a": n}, result={"x": n}) for n in range(2)], path)
        table = pq.read_table(path)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    return {"results/p.parquet": write}


STORES = [
    bad("store", f"a {name.replace('_', '.')} that is {what}", f"{command} --store runs", 6, "damaged", files=run_folder(**{name: content}))
    for command in ("verify", "list")
    for name in ("result_json", "config_json", "provenance_json", "arrays_npz")
    for what, content in (("empty", b""), ("null", b"null"), ("a list", b"[1]"), ("cut", b'{"a": '), ("missing", None))
    if (name, what) != ("result_json", "missing") and (command == "verify" or name == "result_json")
] + [
    bad("store", f"a store that is {what}", f"{command} --store {store}", 2, line, files={"file": "x"})
    for command in (RUN, "theory", "empirical memorization", "empirical import-index rows.txt", "theory sweep phase", "theory claims")
    for what, store, line in (("a file", "file", "file"), ("below a file", "file/runs", "file"))
] + [
    bad("store", f"a pack with {what}", "verify", 6, "damaged", files=pack_file(change))
    for what, change in (
        ("a number changed", lambda rows: rows[0].update(result=json.dumps({"x": 9}))),
        ("a row twice", lambda rows: rows.append(rows[0])),
        ("a row missing", lambda rows: rows.pop()),
        ("a null", lambda rows: rows[0].update(config=None)),
        ("a text that is no JSON", lambda rows: rows[0].update(result="{")),
        ("no rows left", lambda rows: rows.clear()),
    )
] + [
    bad("store", "a pack that is cut", "list", 6, "damaged", files={"results/p.parquet": b"PAR1"}),
    bad("store", "a foreign Parquet file among the packs", "list", 6, "damaged", files={"results/p.parquet": GOOD}),
    bad("store", "a foreign Parquet file among the packs, verified", "verify", 6, "damaged", files={"results/p.parquet": GOOD}),
    bad("store", "a store with a name too long", f"{RUN} --store {'s' * 300}", 2, "name too long"),
    bad("store", "runs of another kind given as an index", f"{RUN} --difficulty index --forget-index {{made}}", 2, "imported index", files=run_folder()),
    bad("store", "runs of another kind given as scores", f"{RUN} --difficulty high --scores {{made}}", 2, "imported scores", files=run_folder()),
    bad("store", "runs that are no network runs compared", "empirical diff {made} {made}", 2, "network runs", files=run_folder()),
]  # fmt: skip

PLUGINS = [
    bad("plug-in", what, f"{RUN} --{kind[:-1].replace('_', '-')} mine --n-train 100 --epochs 1 --pretrain-epochs 1", 2, line,
        plugins={f"{kind}:mine": target})
    for kind in ("methods", "models", "datasets")
    for what, target, line in (
        (f"{kind[:-1]}: a module that is not there", "no_such_module_anywhere:Thing", "cannot be imported"),
        (f"{kind[:-1]}: an attribute that is not there", "json:NoSuchThing", "cannot be imported"),
        (f"{kind[:-1]}: a module that raises", "mine_raises:Thing", "cannot be imported"),
        (f"{kind[:-1]}: a number", "string:ascii_letters", "no "),
    )
] + [
    bad("plug-in", "a metric that is not there", f"{RUN} --metrics mine", 2, "cannot be imported", plugins={"metrics:mine": "json:No"}),
    bad("plug-in", "a forget set that is not there", f"{RUN} --difficulty mine", 2, "cannot be imported", plugins={"forget_sets:mine": "json:No"}),
    bad("plug-in", "a method that is a function", f"{RUN} --method mine", 2, "method", plugins={"methods:mine": "json:dumps"}),
]  # fmt: skip

SURROUNDINGS = [
    bad("environment", "a store variable that is a file", RUN, 2, "file", files={"file": ""}, environment={"REPRO_STORE": "file/x"}),
    bad("environment", "a data variable that is not there", f"{RUN} --dataset cifar10", 3, "cifar10", environment={"REPRO_DATA": "/no/such"}),
    bad("environment", "a data variable with a null byte's cousin", f"{RUN} --dataset cifar10", 3, "cifar10", environment={"REPRO_DATA": "\x01"}),
    bad("environment", "an empty data variable", f"{RUN} --dataset cifar10", 3, "cifar10", environment={"REPRO_DATA": ""}),
    bad("device", "a GPU that is not there", f"{RUN} --device cuda", 3, "no GPU"),
    bad("device", "a GPU that is not there, for subset models", "empirical memorization --device cuda", 3, "no GPU"),
    bad("device", "a GPU of a number that is none", f"{RUN} --device cuda:x", 2, "must be one of"),
    bad("device", "a GPU of a number that is not there", f"{RUN} --device cuda:7", 3, "no GPU"),
    bad("device", "a GPU required where there is none", f"{RUN} --require-gpu", 3, "no GPU"),
    bad("device", "a GPU required, and the CPU asked for", f"{RUN} --device cpu --require-gpu", 2, "require_gpu = True"),
    bad("device", "threads below none", f"{RUN} --threads=-1", 2, "must be in [0, 4096]"),
    bad("device", "more threads than torch can count", f"{RUN} --threads 3000000000", 2, "must be in [0, 4096]"),
    bad("device", "10^9 processes that read", f"{RUN} --readers 1000000000", 2, "must be in [0, 1024]"),
    bad("device", "an unknown engine", f"{RUN} --engine graphs", 2, "must be one of"),
    bad("device", "an unknown precision", f"{RUN} --precision fp8", 2, "must be one of"),
    bad("terminal", "escape codes in a method", f"{RUN}|--method|\x1b[31mneggrad".replace(" run", "|run"), 2, "method"),
    bad("terminal", "escape codes in an option", "list|--\x1b[2J", 2, "No such option"),
    bad("terminal", "a carriage return in a study", "figures|fig-tow|--study|a\rb", 2, "study"),
    bad("terminal", "a right-to-left mark in a command", "\u202elist", 2, "No such command"),
    bad("terminal", "half a surrogate in a name", f"{RUN}|--dataset|\udcff".replace(" run", "|run"), 2, "dataset"),
]  # fmt: skip

CATALOGUE: list[Bad] = [
    *COMMAND_LINES, *RECIPES, *IMAGES, *STORES, *PLUGINS, *SURROUNDINGS,
    *settings("theory", TheoryConfig, skip=("pretrain", "unlearn", "mask_fraction", "mask_refresh")), *settings(RUN, RunConfig),
    *settings("theory sweep phase", SweepConfig, skip=("sweep",)),
    *settings("empirical memorization", MemorizationConfig), *settings(RUN, Runtime, skip=("study", "kind")),
]  # fmt: skip
