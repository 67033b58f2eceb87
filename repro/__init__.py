"""The front door (command line) and the floor (identity, store, provenance) of the toolkit."""

__version__ = "0.3.0"


def _warn_of_shadows() -> None:
    """Say in one line when another module hides one of our packages: what follows would be an odd ImportError."""
    import warnings

    from repro.base.environment import ALONE, shadowed

    for name, path in shadowed().items():
        warnings.warn(f"{name}: {path} hides the package of this project; {ALONE}", UserWarning, stacklevel=3)


_warn_of_shadows()
