"""The settings of a sweep: which one, and the values of its axes where they differ from the sweep's own."""

from dataclasses import dataclass, fields

from repro.records.settings import check, setting

SWEEP_NAMES = ("phase", "alpha", "rho", "surplus", "activation", "minmax")


@dataclass(frozen=True)
class SweepConfig:
    """A grid of theory cells; an empty axis keeps the sweep's own values.

    Raises:
        ConfigError: naming the field, its value and the allowed range.
    """

    sweep: str = setting("phase", "Which sweep", choices=SWEEP_NAMES)
    d: tuple[int, ...] = setting((), "Dimensions", symbol="d", unit="count", low=2)
    signal_strength: tuple[float, ...] = setting(
        (), "Signal strengths", symbol="s", unit="dimensionless", low=0.0, open_low=True
    )
    alpha: tuple[float, ...] = setting((), "Retain weights", symbol="alpha", low=0.0, high=1.0)
    rho_scale: tuple[float, ...] = setting(
        (), "SAM radii of unlearning in units of rho_th", symbol="rho / rho_th", unit="dimensionless", low=0.0
    )
    probe_rho_scale: tuple[float, ...] = setting((), "Radii of the activation probe, in units of rho_th", low=0.0)
    mask_fraction: tuple[float, ...] = setting((), "Neuron shares of Sharp MinMax", low=0.0, high=1.0)
    mask_refresh: tuple[int, ...] = setting((), "Epochs between masks; 0 keeps the first", unit="epochs", low=0)
    seeds: int = setting(20, "Independent seeds of every cell", unit="count", low=1)
    first_seed: int = setting(0, "First seed", low=0)

    def __post_init__(self) -> None:
        check(self)

    def given_axes(self) -> dict[str, tuple]:
        """Return the axes that were given values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), tuple)
                and getattr(self, f.name)}  # fmt: skip
