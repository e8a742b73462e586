"""Checks of a machine, a server and of predictions as what their outputs are made of. docs/json.md describes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rackrate.schemas import checks as views
from rackrate.schemas.root import made

if TYPE_CHECKING:
    from rackrate.app.calibrating import FittedCoefficients, Verification
    from rackrate.app.checking import Fits
    from rackrate.app.serving import Launchable
    from rackrate.app.tokens import TokenCheck
    from rackrate.app.traces import DescribedTrace
    from rackrate.app.tuning import TuneAnswer
    from rackrate.schemas.predictions import TuneView


def fits_view(found: Fits) -> views.FitView:
    """The model, and its fit on each machine."""
    model = found.read.architecture
    return made(
        views.FitView,
        found,
        origin="predicted",
        model=made(
            views.FittedModel,
            model,
            found.read,
            parameters=model.parameters.total,
            parameters_by_kind=asdict(model.parameters),
            experts=None if model.experts is None else asdict(model.experts),
            caches=[asdict(group) for group in model.caches],
            published_format=model.native_weights,
            notes=found.read.notes,
        ),
        engine=found.engine.name,
        fits=[
            made(views.FitAnswer, place.fit, remedies=[made(views.RemedyRow, way, way.fit) for way in place.remedies])
            for place in found.places
        ],
    )


def trace_view(found: DescribedTrace) -> views.TraceView:
    """Recorded requests."""
    return made(views.TraceView, found.summary, found, origin="recorded", file=str(found.file))


def coefficients_view(found: FittedCoefficients) -> views.CoefficientsView:
    """The file without its covariance."""
    return made(views.CoefficientsView, found.file)


def verification_view(found: Verification) -> views.VerifyView:
    """Every check, and how far off they are."""
    from rackrate.calibration.verification import errors_by_figure

    return views.VerifyView(
        calibration=made(views.VerifiedCalibration, found.known),
        run=found.name,
        run_created=found.header.created,
        same_run=found.header.created == found.known.run_created,
        checks=[made(views.CheckView, check) for check in found.checks],
        errors=errors_by_figure(found.checks),
    )


def tokens_view(found: TokenCheck) -> views.TokensView:
    """A server's counts, and each tokenizer's."""
    return made(
        views.TokensView,
        found,
        requests=len(found.samples),
        server_input_tokens=sum(sample.input_tokens for sample in found.samples),
        server_output_tokens=sum(sample.output_tokens for sample in found.samples),
        agrees=found.tokenizers[0].agrees,
        tokenizers=[made(views.CheckedView, checked) for checked in found.tokenizers],
    )


def serve_view(found: Launchable, ready_s: float | None = None) -> views.ServeView:
    """How an engine is started; where it is ready, after how long, and its log."""
    return made(
        views.ServeView,
        found,
        found.command,
        found.weights,
        model=found.command.served_name,
        weights=found.weights.argument,
        ready_s=ready_s,
        log=None if ready_s is None else str(found.log),
    )


def tune_view(found: TuneAnswer) -> TuneView:
    """What a search found."""
    from rackrate.schemas.predictions import TunedPrices, TuneView

    tuned, prices = found.tuned, found.prices
    return made(
        TuneView, tuned, changed=found.changed, gain_interval_80=tuned.gain_interval,
        prices=None if prices is None else TunedPrices(**prices), **found.facts,
    )  # fmt: skip
