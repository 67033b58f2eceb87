"""How the engine compiles its loops: the options of every compiled function, and the folder of machine code.

A function that Python calls is `compiled`; its machine code is stored on disk. A function that only compiled code calls
is `inlined` or `apart`. `inlined` copies it into each caller. The hot parts of a step need that: values stay in
registers, and caller and callee round in the same way. `apart` compiles it separately, for functions that are called
rarely or do much work in a call.
"""

from typing import Any

from numba import config, njit

from repro.base.places import compiled_folder

numba_config: Any = config  # its settings are made when numba is imported
numba_config.CACHE_DIR = numba_config.CACHE_DIR or compiled_folder()
# Only multiply-add contraction may change rounding: sums are never reordered. No wrappers for calls from C, and none
# for calls from Python where only compiled code calls: each wrapper would be compiled as well.
options: Any = {"fastmath": {"contract"}, "error_model": "numpy", "no_cfunc_wrapper": True}
within: Any = options | {"no_cpython_wrapper": True}
compiled = njit(cache=True, nogil=True, **options)
inlined = njit(forceinline=True, **within)
apart = njit(**within)
