"""The floor: settings, identity, the store of runs, published studies, provenance and errors."""

import os

# pyarrow's own allocator keeps what was freed (120 MB after the committed records); this is looked up when it loads.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
