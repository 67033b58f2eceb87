"""What a researcher would write instead of the engine: explicit weights in torch autograd, and in numpy by hand."""

from dataclasses import dataclass

import numpy as np
import torch

from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.training import Schedule, unlearn_schedule


@dataclass
class Problem:
    """Explicit data of one draw: noise `(n, d)`, signal `(d,)`, labels `(n,)`, weights `(2m, d)` and the schedule."""

    noise: np.ndarray
    signal: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    schedule: Schedule
    eta: float
    rho: float


def explicit_problem(config: TheoryConfig) -> Problem:
    """Draw the explicit vectors of seed 0 and its unlearning schedule (SAM radius `rho_th`)."""
    drawn = draw(config.changed(draw="dense"), 0)
    assert drawn.vectors is not None
    signal, noise, weights = drawn.vectors
    schedule = unlearn_schedule(config, drawn.problem.labels, generator(0, "benchmark"))
    return Problem(noise, signal, drawn.problem.labels, weights, schedule, config.eta, config.rho_th)


class TorchNetwork:
    """The two-layer ReLU CNN (P = 2) with autograd; one SAM step is two backward passes and a stock optimizer step."""

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        m = len(problem.weights) // 2
        patches = np.stack([problem.labels[:, None] * problem.signal, problem.noise], axis=1)
        self.patches = torch.as_tensor(patches, dtype=dtype)
        self.labels = torch.as_tensor(problem.labels, dtype=dtype)
        self.batches = [torch.as_tensor(row[:size]) for row, size in _rows(problem.schedule)]
        self.coefficients = torch.as_tensor(problem.schedule.weights, dtype=dtype)
        self.signs = torch.cat([torch.ones(m), -torch.ones(m)]).to(dtype) / m
        self.weights = torch.nn.Parameter(torch.as_tensor(problem.weights, dtype=dtype).clone())
        self.optimizer = torch.optim.SGD([self.weights], lr=problem.eta)
        self.rho = problem.rho

    def loss(self, t: int) -> torch.Tensor:
        """Return the NegGrad loss of batch `t`."""
        index = self.batches[t]
        hidden = torch.relu(self.patches[index] @ self.weights.T)
        output = hidden.sum(dim=1) @ self.signs
        loss = torch.nn.functional.softplus(-self.labels[index] * output)
        return (self.coefficients[t, : len(index)] * loss).sum()

    def sam_step(self, t: int) -> None:
        """Take one SAM step."""
        self.optimizer.zero_grad()
        self.loss(t).backward()
        gradient = self.weights.grad
        assert gradient is not None
        with torch.no_grad():
            shift = self.rho / (gradient.norm() + 1e-12) * gradient
            self.weights.add_(shift)
        self.optimizer.zero_grad()
        self.loss(t).backward()
        with torch.no_grad():
            self.weights.sub_(shift)
        self.optimizer.step()


class NumpyNetwork:
    """The same network in numpy, float64, with the gradient written out."""

    def __init__(self, problem: Problem) -> None:
        m = len(problem.weights) // 2
        self.problem, self.weights = problem, problem.weights.copy()
        self.signs = np.repeat([1.0, -1.0], m) / m
        self.batches = [row[:size] for row, size in _rows(problem.schedule)]

    def gradient(self, weights: np.ndarray, t: int) -> np.ndarray:
        """Return the gradient of the NegGrad loss of batch `t`, shape `(2m, d)`."""
        index, problem = self.batches[t], self.problem
        labels, noise, c = problem.labels[index], problem.noise[index], problem.schedule.weights[t, : len(index)]
        signal_hidden = np.outer(labels, weights @ problem.signal)
        noise_hidden = noise @ weights.T
        output = (np.maximum(signal_hidden, 0) + np.maximum(noise_hidden, 0)) @ self.signs
        slope = -c * labels / (1 + np.exp(labels * output))
        on_noise = self.signs[:, None] * ((noise_hidden > 0) * slope[:, None]).T
        on_signal = self.signs * ((signal_hidden > 0) * (slope * labels)[:, None]).sum(axis=0)
        return on_noise @ noise + np.outer(on_signal, problem.signal)

    def sam_step(self, t: int) -> None:
        """Take one SAM step."""
        gradient = self.gradient(self.weights, t)
        near = self.weights + self.problem.rho / np.linalg.norm(gradient) * gradient
        self.weights -= self.problem.eta * self.gradient(near, t)


def _rows(schedule: Schedule):
    return zip(schedule.samples, schedule.size, strict=True)
