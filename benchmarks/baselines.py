"""What a researcher would write instead of the engine: explicit weights in torch autograd, and in numpy by hand."""

from dataclasses import dataclass

import numpy as np
import torch

from theory.dense import DenseNetwork
from theory.schedule import Schedule


@dataclass
class Problem:
    """Explicit data of one draw: patches `(n, 2, d)`, labels `(n,)` and the schedule to train on."""

    patches: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    noise_patches: int
    schedule: Schedule
    eta: float
    rho: float


class TorchNetwork:
    """The two-layer ReLU CNN with autograd; one SAM step is two backward passes and a stock optimizer step."""

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        self.problem, m = problem, len(problem.weights) // 2
        self.patches = torch.as_tensor(problem.patches, dtype=dtype)
        self.labels = torch.as_tensor(problem.labels, dtype=dtype)
        self.schedule = {name: torch.as_tensor(getattr(problem.schedule, name)) for name in ("samples", "size")}
        self.coefficients = torch.as_tensor(problem.schedule.weights, dtype=dtype)
        self.counts = torch.tensor([1.0, problem.noise_patches], dtype=dtype)
        self.signs = torch.cat([torch.ones(m), -torch.ones(m)]).to(dtype) / m
        self.weights = torch.nn.Parameter(torch.as_tensor(problem.weights, dtype=dtype).clone())
        self.optimizer = torch.optim.SGD([self.weights], lr=problem.eta)

    def loss(self, t: int) -> torch.Tensor:
        """Return the NegGrad loss of batch `t`."""
        index = self.schedule["samples"][t]
        hidden = torch.relu(self.patches[index] @ self.weights.T)
        output = (self.counts @ hidden) @ self.signs
        return (self.coefficients[t] * torch.nn.functional.softplus(-self.labels[index] * output)).sum()

    def step(self, t: int, *, sam: bool) -> None:
        """Take one SGD or SAM step."""
        self.optimizer.zero_grad()
        self.loss(t).backward()
        if sam:
            self._sam_gradient(t)
        self.optimizer.step()

    def _sam_gradient(self, t: int) -> None:
        gradient = self.weights.grad
        assert gradient is not None
        with torch.no_grad():
            shift = self.problem.rho / (gradient.norm() + 1e-12) * gradient
            self.weights.add_(shift)
        self.optimizer.zero_grad()
        self.loss(t).backward()
        with torch.no_grad():
            self.weights.sub_(shift)
