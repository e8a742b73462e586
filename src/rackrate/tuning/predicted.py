"""Where a search begins on GPUs: the layouts that hold the model, in the order of what is predicted of them."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.types import Accelerator
from rackrate.memory.engine_memory import engine_memory
from rackrate.memory.fit import fit
from rackrate.memory.sharding import tp_problem
from rackrate.models.architecture import Architecture
from rackrate.steptime.deployment import deploy
from rackrate.steptime.load import Load
from rackrate.steptime.work import Parallel


@dataclass(frozen=True)
class Layout:
    """All GPUs of a machine, `ranks` of them to each replica."""

    ranks: int
    replicas: int
    output_tok_s: float
    """Predicted, all replicas together. [token/s]"""

    @property
    def name(self) -> str:
        """As the knob names it."""
        return f"{self.ranks}x{self.replicas}"


def predicted_layouts(
    architecture: Architecture,
    accelerator: Accelerator,
    gpus: int,
    *,
    engine: str,
    memory_bytes: float | None,
    concurrency: int,
    input_tokens: int,
    output_tokens: int,
) -> list[Layout]:
    """The layouts that fit, best predicted throughput first; empty where none fits.

    Args:
        architecture: the model.
        accelerator: one of the GPUs; they are alike.
        gpus: how many there are; every layout uses them all.
        engine: whose memory and step times.
        memory_bytes: free on each; None: the catalogue's. [byte]
        concurrency: requests in flight on the whole machine.
        input_tokens: of each request.
        output_tokens: of each request.

    Raises:
        UserError: facts for a prediction are missing.
    """
    found: list[Layout] = []
    memory = engine_memory(engine)
    for ranks in range(1, gpus + 1):
        if gpus % ranks or tp_problem(architecture, ranks) is not None:
            continue
        fitted = fit(
            architecture, accelerator, tp=ranks, context_tokens=input_tokens + output_tokens, engine=memory,
            memory_bytes=memory_bytes,
        )  # fmt: skip
        if not fitted.fits:
            continue
        replicas = gpus // ranks
        deployment = deploy(
            architecture, accelerator, engine=engine, parallel=Parallel(tensor=ranks, data=replicas),
            weights=fitted.weights_format, kv_capacity=float(fitted.kv_tokens),
        )  # fmt: skip
        streams = max(1, round(concurrency / replicas))  # of each replica
        load = Load("closed", streams, max(64, 8 * streams), input_tokens, output_tokens, whole=False)
        busy = min(1.0, concurrency / replicas)  # with fewer requests than replicas some stand idle
        found.append(Layout(ranks, replicas, busy * deployment.predict(load)["output_tok_s"].value))
    return sorted(found, key=lambda layout: -layout.output_tok_s)
