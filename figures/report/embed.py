"""What the page carries inside itself: pictures as WebP; data and code, compressed until they are needed."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

QUALITY = 85  # of a picture, which is twice as fine as it is shown


def picture(path: Path) -> str:
    """Return a PNG file as the address of a WebP picture."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "webp", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def packed(value: Any) -> str:
    """Return a JSON value as text that the page's script inflates: zlib's format in base64.

    Raises:
        ValueError: for a number that is not finite: JSON has none, and one would cost the page all its plots.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def packed_file(path: Path) -> str:
    """Return a gzip file in base64."""
    return base64.b64encode(path.read_bytes()).decode()
