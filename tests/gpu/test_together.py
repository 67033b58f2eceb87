"""Two processes with a card each train what one does on its own: NCCL, and a compiled model in each."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]  # fmt: skip
ROOT = Path(__file__).parents[2]


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.mark.parametrize("synchronized", ["no", "yes"])
def test_two_cards_train_what_one_does(synchronized: str, tmp_path: Path) -> None:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.gpu.together", str(tmp_path), synchronized]
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    try:
        assert [one.wait(timeout=200) for one in started] == [0, 0]
    finally:
        for one in started:
            one.kill()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first["weights"], second["weights"]), "the same bits in both processes"
    compiles = first["can_compile"] and synchronized == "no"
    assert first["ran"].get("compiled", 0) == (9 if compiles else 0)
    assert first["apart"] < 0.16, "of the way that one process with two parts has gone"
