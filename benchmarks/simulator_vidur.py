"""Runs Vidur (Microsoft's simulator, PyPI `vidur`) on given requests. Called by simulator.py in Vidur's environment.

Vidur's wheel has no profiles of hardware, so the step time is the benchmark's own linear one, put in the place of its
predictor: less work than its random forest, so its figure here flatters it. Prints requests, seconds, mean E2E.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def main() -> None:
    """Reads {requests, coefficients} as JSON from standard input and prints what came of it as JSON."""
    given: dict[str, Any] = json.loads(sys.stdin.read())
    # by name: this file runs in an environment of its own, and is checked in one without Vidur
    predictors: Any = importlib.import_module("vidur.execution_time_predictor")
    entities: Any = importlib.import_module("vidur._native.entities")
    config: Any = importlib.import_module("vidur.config").SimulationConfig
    request: Any = importlib.import_module("vidur.entities").Request
    simulator_module: Any = importlib.import_module("vidur.simulator")

    step = given["step"]

    class Linear:
        """The benchmark's step time, as one component of one layer's time. [ms]"""

        def __init__(self, *, replica_config: Any, **_: Any) -> None:
            self.layers = replica_config.num_layers_per_pipeline_stage

        def get_execution_time(self, batch: Any, _stage: int) -> Any:
            tokens = sum(batch.num_q_tokens)
            context = sum(kv for q, kv in zip(batch.num_q_tokens, batch.num_kv_tokens) if q == 1)  # noqa: B905
            dense = max(step["token_compute_s"] * tokens, step["weights_s"])
            seconds = dense + step["step_s"] + step["context_s"] * context
            return entities.ExecutionTime(self.layers, *[0.0] * 10, seconds * 1e3 / self.layers, 0.0, 0.0, 0.0)

    registry = predictors.ExecutionTimePredictorRegistry

    def linear(_registry: Any, _kind: Any, **settings: Any) -> Linear:
        return Linear(**settings)

    registry.get = classmethod(linear)

    class Given:
        """The requests, in the place of a generator's."""

        def __init__(self, *_: Any) -> None: ...

        def generate(self) -> list[Any]:
            return [request(due, into, out) for due, into, out in given["requests"]]

    def given_ones(_registry: Any, _kind: Any, *_: Any) -> Given:
        return Given()

    simulator_module.RequestGeneratorRegistry.get = classmethod(given_ones)
    sys.argv = ["vidur", *given["flags"]]
    simulator: Any = simulator_module.Simulator(config.create_from_cli_args())
    simulator._write_output = lambda: None  # noqa: SLF001 - plots are no simulation
    began = time.perf_counter()
    simulator.run()
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began, "end_s": simulator._time}) + "\n")  # noqa: SLF001


if __name__ == "__main__":
    main()
