"""What two processes with a card each train, for test_together: `python -m tests.gpu.together FOLDER yes|no`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from empirical.methods.forget import NegGrad
from empirical.models.network import can_generate_code
from empirical.training.loop import fit
from empirical.training.together import torchrun_processes
from tests.gpu.test_runs import apart, network_of, stage_of, weights


def main(folder: Path, synchronized: bool) -> None:
    """Train NegGrad under ASAM together, then by this process alone, and keep how far these are apart."""
    with torchrun_processes("cuda") as group:
        stage = stage_of(NegGrad(0.9), "asam-1.0", batch_parts=2, sync_batchnorm=synchronized)
        network = network_of()
        log = fit(network, replace(stage, group=group), "compiled")
        alone = network_of()
        parts = 1 if synchronized else 2  # normalized together, two parts are one batch
        fit(alone, replace(stage, recipe=replace(stage.recipe, batch_parts=parts, sync_batchnorm=False)), "eager")
        found = {"weights": weights(network).cpu(), "apart": apart(weights(alone), weights(network)), "ran": log.ran}
        torch.save(found | {"can_compile": can_generate_code()}, folder / f"{group.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "yes")
