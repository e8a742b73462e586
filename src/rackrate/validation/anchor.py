"""One measured row of a machine as anchor: how much better the others are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rackrate.steptime.coefficient_file import CoefficientFile
from rackrate.steptime.deployment import Deployment
from rackrate.steptime.engine_step import engine_step
from rackrate.steptime.load import Observed
from rackrate.steptime.own_machine import anchored
from rackrate.steptime.parameters import coefficients_of
from rackrate.steptime.work import formats_on, linear_work
from rackrate.validation.cases import Case, cache_tokens
from rackrate.validation.comparisons import Comparison, classes_of
from rackrate.validation.fitting import groups_of


def deployment_of(case: Case, known: CoefficientFile) -> Deployment:
    """The deployment of a published row, without what its own machine taught."""
    terms = coefficients_of(known.values, case.release, groups_of(case, with_machine=False))
    formats = formats_on(case.accelerator, case.weights, case.kv)
    streaming = case.load.streamed
    step = engine_step(case.model, case.accelerator, case.parallel, formats, terms, case.release, streaming)
    work = linear_work(case.model, formats)
    kv_capacity = cache_tokens(case, work, terms.engine_gib)
    return Deployment(
        case.model, case.accelerator, case.release, case.parallel, case.weights, step, case.scheduler,
        terms.request_s, kv_capacity, known.distance(case.gpu, case.accelerator.architecture), known.written, known,
        known.values, kv=case.kv, streaming=streaming,
    )  # fmt: skip


def anchored_comparisons(cases: Sequence[Case], known: CoefficientFile, fewest: int = 3) -> list[Comparison]:
    """Throughput of every row but the anchor, of each machine that has at least `fewest` rows of one deployment.

    The anchor is the middle row by load of the deployment (machine, model, formats, parallelism).
    """
    groups: dict[object, list[Case]] = {}
    for case in cases:
        if case.observed.output_tok_s is None or case.load.kind == "poisson":
            continue
        key = (case.file, case.source, case.gpu, case.release.id, case.model.name, case.weights, case.parallel)
        groups.setdefault(key, []).append(case)
    found: list[Comparison] = []
    for group in groups.values():
        if len(group) < fewest:
            continue
        ordered = sorted(group, key=lambda case: (case.load.value, case.load.prompt_tokens, case.line))
        anchor = ordered[len(ordered) // 2]
        base = deployment_of(anchor, known)
        seen = Observed(output_tok_s=anchor.observed.output_tok_s)
        moved = anchored(base, [(anchor.load, seen)])
        left = {figure: error for _, figure, error in moved.residuals}.get("output_tok_s", 0.0)
        for case in ordered:
            if case is anchor or case.observed.output_tok_s is None:
                continue
            other = replace(
                moved.deployment,
                kv_capacity_tokens=deployment_of(case, known).kv_capacity_tokens,
                scheduler=case.scheduler,
            )
            # what the machine's terms do not explain of the anchor is taken to hold for the others
            predicted = other.replay(case.load).output_tok_s * 2.718281828459045 ** (-left)
            kind = classes_of(case, None)["throughput"]
            found.append(Comparison(case, kind, case.observed.output_tok_s, predicted))
    return found
