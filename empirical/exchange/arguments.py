"""Checks of the arguments of `empirical`'s functions, with errors that name the right argument."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError
from repro.base.settings import build, nearest, reject

P = ParamSpec("P")
T = TypeVar("T")
# What other libraries call an argument -> what it is called here.
ELSEWHERE = {
    "learning_rate": "lr", "eta": "lr", "num_epochs": "epochs", "n_epochs": "epochs", "iterations": "epochs",
    "bs": "batch_size", "algorithm": "method", "optimiser": "optimizer", "wd": "weight_decay", "l2": "weight_decay",
    "random_state": "seed", "callback": "on_epoch", "verbose": "progress", "forget_set": "forget",
    "retain_set": "retain", "reference": "retrained", "metric": "metrics", "lrs": "rates",
}  # fmt: skip
# A method that people look for and that is a method and a rule here.
PAIRS = dict.fromkeys(
    ("sharp_minmax", "sharpminmax", "minmax"),
    "Sharp MinMax is the method neggrad under a minmax rule: method='neggrad', rule='minmax-sam-0.1'",
)


def known_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function refuse an unknown argument with one line that names the right one."""
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in kwargs.items():
            if name in names:
                continue
            if name in RunConfig.__dataclass_fields__:
                raise reject(name, value, "left out: the models and the images are given")
            better = f" (did you mean '{ELSEWHERE[name]}'?)" if ELSEWHERE.get(name) in names else nearest(name, names)
            raise ConfigError(f"{function.__name__} has no argument {name!r}{better}; it takes {', '.join(names)}")
        return function(*args, **kwargs)

    return checked


def memory_config(options: Mapping[str, Any] | str = "", **settings: Any) -> RunConfig:
    """Return the settings of a run on models and images in memory.

    Args:
        options: of the method, by name or as one text.
        **settings: fields of `RunConfig`; None takes the default.

    Raises:
        ConfigError: for a value out of range, and for a method that has another name here.
    """
    if settings.get("method") in PAIRS:
        raise ConfigError(f"method = {settings['method']!r}: {PAIRS[settings['method']]}")
    if settings.get("precision") == "fp64":
        raise reject("precision", "fp64", "fp32 or bf16", "give `model.double()`")
    if not isinstance(options, str):
        options = ", ".join(f"{name}={value}" for name, value in options.items())
    found = {name: value for name, value in settings.items() if value is not None}
    return build(RunConfig, {"augment": "none", "method_options": options, **found})


def device_of(name: str | torch.device) -> torch.device:
    """Return the device that a user names.

    Raises:
        ConfigError: when torch knows no such device, or has none here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise reject("device", str(name), f"one that torch can use here, such as {there}") from error
    return device
