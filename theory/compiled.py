"""How the engine compiles its loops: options that every compiled function shares, and where machine code is kept.

A function that Python calls is `compiled`; its machine code is kept on disk. A function that compiled code alone calls
is `inlined` or `apart`. `inlined` copies it to each call, which the hot parts of a step need: values stay in registers,
and caller and callee round alike. `apart` makes it code of its own, for what is called rarely or does much at a call.
"""

from typing import Any

from numba import config, njit

from repro.base.places import compiled_folder

numba_config: Any = config  # its settings are made when numba is imported
numba_config.CACHE_DIR = numba_config.CACHE_DIR or compiled_folder()
# Multiply-add contraction is the only liberty taken with the order of operations: sums are never reordered. Nothing is
# called from C, and what compiled code alone calls has no door to Python either: each would be compiled as well.
options: Any = {"fastmath": {"contract"}, "error_model": "numpy", "no_cfunc_wrapper": True}
within: Any = options | {"no_cpython_wrapper": True}
compiled = njit(cache=True, nogil=True, **options)
inlined = njit(forceinline=True, **within)
apart = njit(**within)
