"""rackrate catalog: the models, accelerators, offers and API prices that are known, with their sources."""

from __future__ import annotations

from typing import Annotated

import typer

from rackrate.app.catalogue import CatalogueRequest
from rackrate.cli import options as given


def catalog(
    kind: Annotated[str, typer.Argument(metavar="models|accelerators|offers|apis", help="What to list.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Only entries that contain every word.", show_default=False),
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also print where each figure comes from, and of when.")
    ] = False,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """List what is known: models, accelerators, offers or API prices, each figure with its source and date.

    Your own YAML files (models.yaml, accelerators.yaml, offers.yaml, apis.yaml) in the directory that `rackrate
    doctor` names, or in RACKRATE_CATALOG, are laid over the shipped ones.
    """
    from rackrate.app.catalogue import entries
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, say
    from rackrate.errors import CatalogError
    from rackrate.schemas.lists import CatalogView, ListedApi
    from rackrate.schemas.root import made

    found = entries(CatalogueRequest(kind, tuple(words or ())), shell_context())
    if found.nothing is not None and not as_json:
        raise CatalogError(found.nothing)
    listed = found.entries or [made(ListedApi, price) for price in found.apis]
    deliver(made(CatalogView, kind=kind, entries=listed), as_json=as_json, out=out, sources=sources)
    if found.nothing is not None:
        raise CatalogError(found.nothing)  # after an empty list, as `plan` prints an empty ranking
    if as_json:
        return
    if found.price_list is not None:
        name, released = found.price_list
        say(f"{len(found.apis)} APIs; listed by {name}, released {released}")
    else:
        dated = "; prices are of {} to {}, median {}".format(*found.price_dates) if found.price_dates else ""
        where = "" if sources else "; --sources says where each figure comes from"
        say(f"{len(found.entries)} {kind}{where}{dated}")
