"""Run pytest many times and import the libraries once: this process loads them, and forks for every request.

A request is a line of JSON on stdin, `{"folder", "arguments", "limit"}`; the answer is one on stdout, `{"code",
"output"}`, the code null where the tests took longer than `limit` seconds. The project itself is imported in the fork
only, from the folder. Run as a file, so that no package of the project's is loaded here.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time

LIBRARIES = (
    "pytest", "numpy", "scipy.stats", "scipy.optimize", "scipy.special", "pandas", "pyarrow.parquet", "torch",
    "torchvision", "sklearn.metrics", "sklearn.svm", "numba", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "typer.testing", "safetensors.torch",
)  # fmt: skip


def answer(folder: str, arguments: list[str], limit: float | None) -> tuple[int | None, str]:
    """Run pytest in a fork, in a folder whose code it imports, and return its exit code and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            _become(folder, output.fileno())
            import pytest

            os._exit(int(pytest.main(arguments)))
        code = _wait(child, limit)
        output.seek(0)
        return code, output.read()


def _become(folder: str, output: int) -> None:
    """Make this fork a fresh interpreter in the folder, with its own process group and its output in a file."""
    os.setsid()
    os.chdir(folder)
    os.environ["PYTHONPATH"] = folder
    sys.path[0] = folder
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    for stream in (1, 2):
        os.dup2(output, stream)


def _wait(child: int, limit: float | None) -> int | None:
    """Return the exit code of a fork, None after killing it and all it started at the limit."""
    started = time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if limit is not None and time.monotonic() - started > limit:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)


if __name__ == "__main__":
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        code, output = answer(request["folder"], request["arguments"], request["limit"])
        sys.stdout.write(json.dumps({"code": code, "output": output}) + "\n")
        sys.stdout.flush()
