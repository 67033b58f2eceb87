"""What one SAM step of the theory costs: the engine against torch autograd and numpy, in one process on one thread.

    python benchmarks/theory_step.py [--json] [--store runs]

Every number is process CPU time, best of several repeats, on the same draw, batches and radius. The baselines carry
explicit d-dimensional weights, unbatched over configurations, as a researcher would write them.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from theory_baselines import NumpyNetwork, TorchNetwork, explicit_problem
from threadpoolctl import threadpool_limits

from repro.records.provenance import collect
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.stats import slope
from theory.steps.dynamics import advance_network
from theory.training import copy_state, make_rule, start_state, unlearn_schedule

COUNTS, DIMENSIONS = (20, 200), (1_000, 10_000, 100_000)
FREE_DIMENSIONS = (1_000, 100_000, 10**6, 10**9)
TARGETS = {20: (200, 500, 4000), 200: (100, 250, 3000)}  # against torch at each dimension
REFERENCE_FLOOR = {10: 0.93, 50: 5.4}  # us at n = 200, at 50 GF/s, half the neurons active
STEPS = 400
LOGISTIC_LOOP = 100_000


def problem(n: int, d: int = 1_000, *, batch: int = 10, m: int = 10) -> TheoryConfig:
    """Return the setting: P = 2, a fifth of the samples to forget, three tenths of a batch from them."""
    forget = 3 * batch // 10
    epochs = -(-STEPS * (batch - forget) // (n - n // 5)) + 1
    return TheoryConfig(n=n, n_forget=n // 5, d=d, m=m, retain_batch=batch - forget, forget_batch=forget, epochs=epochs,
                        rho_scale=1.0)  # fmt: skip


def engine_time(config: TheoryConfig, rule_name: str = "sam", repeats: int = 15) -> tuple[float, float]:
    """Return (CPU microseconds a step, share of active noise preactivations at the end)."""
    drawn = draw(config, 0)
    schedule = unlearn_schedule(config, drawn.problem.labels, generator(0, "benchmark"))
    rule, start = make_rule(rule_name, config, rho=config.rho), start_state(drawn.start)
    advance_network(drawn.problem, copy_state(start), schedule, rule, 0, 2)
    times, state = [], start
    for _ in range(repeats):
        state = copy_state(start)
        begin = time.process_time()
        advance_network(drawn.problem, state, schedule, rule, 0, STEPS)
        times.append((time.process_time() - begin) / STEPS)
    return 1e6 * min(times), float(np.mean(state.V > 0))


def step_time(step: Callable[[int], None], d: int) -> float:
    """Return CPU microseconds of one baseline step, best of five runs of as many steps as fit in reasonable time."""
    count = max(4, min(200, 2_000_000 // d))
    step(0)
    times = []
    for _ in range(5):
        begin = time.process_time()
        for t in range(count):
            step(t)
        times.append((time.process_time() - begin) / count)
    return 1e6 * min(times)


def compare() -> list[dict[str, Any]]:
    """Return one row a problem: CPU microseconds of every implementation, and the ratios to the engine."""
    rows = []
    for n in COUNTS:
        for d, target in zip(DIMENSIONS, TARGETS[n], strict=True):
            config = problem(n, d)
            explicit = explicit_problem(config)
            torch32 = TorchNetwork(explicit, torch.float32).sam_step
            row: dict[str, Any] = {"n": n, "d": d, "engine_us": engine_time(config)[0]}
            row["torch_float32_us"] = step_time(torch32, d)
            row["torch_float64_us"] = step_time(TorchNetwork(explicit, torch.float64).sam_step, d)
            row["numpy_us"] = step_time(NumpyNetwork(explicit).sam_step, d)
            # again: a busy machine slows neighbours in time alike
            row["engine_us"] = min(row["engine_us"], engine_time(config)[0])
            for name in ("torch_float32", "torch_float64", "numpy"):
                row[f"{name}_ratio"] = row[f"{name}_us"] / row["engine_us"]
            rows.append(row | {"target": target})
    return rows


def growth() -> dict[str, Any]:
    """Return CPU microseconds against n, m and B, with the exponent of each."""
    axes = {
        "n": {n: problem(n) for n in (20, 40, 80, 160, 320, 640)},
        "m": {m: problem(200, m=m) for m in (5, 10, 20, 40)},
        "B": {batch: problem(200, batch=batch) for batch in (10, 20, 40, 80)},
    }
    found: dict[str, Any] = {}
    for axis, configs in axes.items():
        times = {value: engine_time(config)[0] for value, config in configs.items()}
        exponent = slope(np.log(list(times)), np.log(list(times.values())))
        found[axis] = {"us": times, "exponent": exponent}
    return found


def floor(batch: int, peak: float, logistic: float) -> dict[str, float]:
    """Return the arithmetic floor at n = 200 on this machine and what the engine takes.

    Floor: `2 N B n` flops for the update and `2 N B^2` for the perturbation, times the active share, at the measured
    dgemm peak, plus 2B logistics.
    """
    config = problem(200, batch=batch)
    took, active = engine_time(config)
    neurons = 2 * config.m
    flops = active * (2 * neurons * batch * config.n + 2 * neurons * batch**2)
    here = 1e6 * (flops / peak + 2 * batch * logistic)
    reference = REFERENCE_FLOOR[batch]
    return {"B": batch, "engine_us": took, "active": active, "floor_us": here, "times_floor": took / here,
            "reference_floor_us": reference, "times_reference_floor": took / reference}  # fmt: skip


def dgemm_peak() -> float:
    """Return the floating-point rate of one thread in a 1024 x 1024 double matrix product, in flop/s."""
    matrix = np.random.default_rng(0).random((1024, 1024))
    times = []
    for _ in range(8):
        begin = time.process_time()
        np.matmul(matrix, matrix)
        times.append(time.process_time() - begin)
    return 2 * 1024**3 / min(times)


@njit(cache=True)
def logistic_loop(count: int) -> float:
    """Return a sum of logistics, so that one can be timed."""
    total = 0.0
    for i in range(count):
        total += 1.0 / (1.0 + np.exp(i * 1e-5))
    return total


def logistic_time() -> float:
    """Return the seconds one logistic takes in compiled code."""
    logistic_loop(10)
    begin = time.process_time()
    logistic_loop(LOGISTIC_LOOP)
    return (time.process_time() - begin) / LOGISTIC_LOOP


def measure() -> dict[str, Any]:
    """Return every measurement, with a flat map of ratios."""
    rows = compare()
    peak, logistic = dgemm_peak(), logistic_time()
    # Only active neurons cost, and how many a trained or perturbed network has differs with d: so time SAM steps whose
    # learning rate is 0 and whose radius is tiny, which do the same work at every d.
    still = {"eta_scale": 0.0, "rho_scale": 1e-9}
    free = {str(d): engine_time(problem(200, d).changed(**still), repeats=30)[0] for d in FREE_DIMENSIONS}
    ratios = {f"{name}/n{row['n']}/d{row['d']}": round(row[f"{name}_ratio"], 1)
              for row in rows for name in ("torch_float32", "torch_float64", "numpy")}  # fmt: skip
    spread = max(free.values()) / min(free.values())
    floors = [floor(batch, peak, logistic) for batch in (10, 50)]
    return {"rows": rows, "ratios": ratios, "us_by_d": free, "spread_over_d": spread, "growth": growth(),
            "dgemm_gflops": peak / 1e9, "logistic_ns": logistic * 1e9, "floor": floors}  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    print(
        "CPU us per SAM step, one thread          engine   torch f32   torch f64       numpy   ratios (target of f32)"
    )
    for row in result["rows"]:
        times = "".join(f"{row[f'{name}_us']:12.1f}" for name in ("torch_float32", "torch_float64", "numpy"))
        ratios = " / ".join(f"{row[f'{name}_ratio']:.0f}" for name in ("torch_float32", "torch_float64", "numpy"))
        print(f"n = {row['n']:<4} d = {row['d']:<24}{row['engine_us']:12.2f}{times}   {ratios} ({row['target']})")
    by_d = ", ".join(f"{float(d):.0e}: {us:.2f}" for d, us in result["us_by_d"].items())
    print(f"by dimension (n = 200, equal active share): {by_d}; spread {result['spread_over_d']:.2f}")
    for axis, found in result["growth"].items():
        values = ", ".join(f"{value}: {us:.2f}" for value, us in found["us"].items())
        print(f"growth in {axis}: exponent {found['exponent']:.2f} ({values})")
    for row in result["floor"]:
        print(f"floor at n = 200, B = {row['B']}: {row['engine_us']:.2f} us is "
              f"{row['times_reference_floor']:.1f} times the reference floor, "
              f"{row['times_floor']:.1f} times that of this machine "
              f"({row['floor_us']:.2f} us at {result['dgemm_gflops']:.0f} GF/s)")  # fmt: skip


def main() -> None:
    """Measure, print, and write a record of kind "benchmark"."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object with a `ratios` map")
    parser.add_argument("--store", default="runs", help="where the record goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    with threadpool_limits(1):
        result = measure()
    config = {"benchmark": "theory_step", "n": list(COUNTS), "d": list(DIMENSIONS), "steps": STEPS}
    provenance = collect(study="benchmark", seconds=round(time.perf_counter() - begin, 1), threads=1)
    record = Store(arguments.store).save("benchmark", config, result=result, provenance=provenance)
    if arguments.json:
        print(json.dumps({**record.result, "run_id": record.run_id}))
    else:
        show(record.result)
        print(f"record: {record.run_id}")


if __name__ == "__main__":
    main()
