"""rackrate price: what a million tokens costs on a machine, and against APIs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given

_SAVING = ("save_rig", "run")


def price(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)] = None,
    tokens_per_second: Annotated[
        float | None,
        typer.Option("--tokens-per-second", help="Instead of a run: a throughput that you state.", show_default=False),
    ] = None,
    mix: Annotated[
        str, typer.Option("--mix", help="With --tokens-per-second: input to output tokens of the API's bill.")
    ] = "1:1",
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="With --tokens-per-second: the model, to find its APIs.", show_default=False
        ),
    ] = None,
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    price_kind: given.PriceKindName = "on-demand",
    as_if: given.AsIf = False,
    utilisation: given.Utilisation = None,
    requests_per_second: given.RequestsPerSecond = None,
    requests_per_day: given.RequestsPerDay = None,
    api: given.Apis = None,
    all_apis: Annotated[
        bool, typer.Option("--all-apis", help="Show every API that sells the same model, not the eight cheapest.")
    ] = False,
    hours_per_month: given.HoursPerMonth = 730.0,
    at_concurrency: given.AtConcurrency = None,
    force: given.Force = False,
    sources: Annotated[bool, typer.Option("--sources", help="Say where every figure comes from.")] = False,
    save_rig: Annotated[
        Path | None,
        typer.Option(
            "--save-rig",
            metavar="FILE",
            help="Write the assumed owned machine as YAML to edit, and stop.",
            show_default=False,
        ),
    ] = None,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Price a run (or a stated throughput): USD per 1M tokens, per month, against APIs.

    Without --offer or --own, a run on this machine's CPUs is priced by an owned machine that is assumed (printed in
    full, and written with --save-rig) and by the nearest rented one.
    """
    from rackrate.app.pricing import AssumeRigRequest, PriceRequest, assumed_rig_file
    from rackrate.app.pricing import price as price_it
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, show, write_new
    from rackrate.errors import PriceError

    context = shell_context()
    if save_rig is not None:
        if run is None:
            raise PriceError("{save_rig} needs a {run}: it writes the assumption for its machine", fields=_SAVING)
        write_new(save_rig, assumed_rig_file(AssumeRigRequest(run), context), "save_rig")
        again = shlex.join(["rackrate", "price", str(run), "--own", str(save_rig)])
        show(f"wrote {save_rig}; edit it, then: {again}")
        return
    request = PriceRequest(
        run=run,
        tokens_per_second=tokens_per_second,
        mix=mix,
        model=model,
        offers=tuple(offer or ()),
        rigs=tuple(own or ()),
        usd_per_hour=usd_per_hour,
        price_kind=price_kind,
        as_if=as_if,
        utilisation=utilisation,
        requests_per_second=requests_per_second,
        requests_per_day=requests_per_day,
        apis=tuple(api or ()),
        hours_per_month=hours_per_month,
        at_concurrency=at_concurrency,
        force=force,
    )
    deliver(price_it(request, context), as_json=as_json, out=out, sources=sources, all_apis=all_apis)
