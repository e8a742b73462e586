"""rackrate fit: does a model fit a machine, by how much, how many requests beside it, and what would fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Accelerator
    from rackrate.engines.spec import EngineMemory
    from rackrate.memory.fit import Fit
    from rackrate.memory.remedies import Remedy
    from rackrate.models.read_model import ReadModel

SCHEMA = "rackrate.fit/1"


def fit(
    model: given.ModelSource,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="ACCELERATOR[xN]",
            help="Where: t4, t4x4, or an offer such as aws/g4dn.12xlarge; may be repeated.",
            show_default="every GPU of the catalogue",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FORMAT",
            help="fp16, bf16, fp8, int8, awq, gptq, w4a16-g32, nvfp4, mxfp4, nf4, Q4_K_M, Q8_0, ...",
            show_default="as published",
        ),
    ] = None,
    kv_format: Annotated[
        str, typer.Option("--kv-format", metavar="FORMAT", help="Of the KV cache: auto (16 bits), fp8, q8_0, q4_0, ...")
    ] = "auto",
    context: Annotated[
        int | None,
        typer.Option(
            "--context", help="Input and output tokens of a request.", show_default="4096, or the model's if less"
        ),
    ] = None,
    tp: Annotated[
        int | None, typer.Option("--tp", help="Tensor-parallel ranks.", show_default="as many as the model allows")
    ] = None,
    pp: Annotated[int | None, typer.Option("--pp", help="Pipeline stages.", show_default="the rest")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="vllm, sglang, llamacpp or transformers.", show_default="llamacpp for GGUF, else vllm"
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory", metavar="GIB", help="Of each accelerator, for programs.", show_default="the catalogue's"
        ),
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Say whether a model fits: weights, KV cache, working memory; the longest context, the most requests, what would.

    Predicted from the model's shape; how near that is to what engines report: docs/fit.md.
    """
    from rackrate.catalog.load import load_catalog
    from rackrate.cli.output import print_json
    from rackrate.errors import UserError
    from rackrate.memory.engine_memory import engine_memory
    from rackrate.models.formats import kv_value_bytes, weight_format
    from rackrate.models.read_model import read_model
    from rackrate.units import GIB

    if memory is not None and not memory > 0:
        raise UserError(f"--memory should be more than 0 GiB, not {memory:g}")
    if kv_format != "auto":
        kv_value_bytes(kv_format)
    catalog = load_catalog()
    read = read_model(model, catalog, weights_stated=weights is not None)
    form = weight_format(weights or read.architecture.native_weights)
    chosen = engine_memory(engine or ("llamacpp" if form.family == "gguf" or read.is_gguf else "vllm"))
    asked = _Asked(read, weights, kv_format, context, chosen, None if memory is None else memory * GIB, tp=tp, pp=pp)
    if on:
        rows = [_answer(asked, *_place(item, catalog), catalog) for item in on]
        if as_json:
            print_json(_json(asked, rows))
        else:
            _print_answers(asked, rows)
        return
    if tp is not None or pp is not None:
        raise UserError("--tp and --pp need --on: say which accelerators are split")
    table = [
        _in_table(asked, accelerator) for accelerator in catalog.accelerators.values() if accelerator.kind == "gpu"
    ]
    if as_json:
        print_json(_json(asked, [(found, ()) for found in table]))
    else:
        _print_table(asked, table)


class _Asked:
    """What the user wants to know, read and checked."""

    def __init__(
        self, read: ReadModel, weights: str | None, kv: str, context: int | None, engine: EngineMemory,
        memory_bytes: float | None, tp: int | None, pp: int | None,
    ) -> None:  # fmt: skip
        self.read, self.weights, self.kv, self.context, self.engine = read, weights, kv, context, engine
        self.memory_bytes, self.tp, self.pp = memory_bytes, tp, pp

    @property
    def file_bytes(self) -> float | None:
        """The exact size of the files, unless another format is asked for."""
        return self.read.weights_file_bytes if self.weights is None else None

    def fit(self, accelerator: Accelerator, tp: int, pp: int) -> Fit:
        """The answer for one place."""
        from rackrate.memory.fit import fit as memory_fit

        return memory_fit(
            self.read.architecture, accelerator, tp=tp, pp=pp, weights=self.weights, kv=self.kv,
            context_tokens=self.context, engine=self.engine, memory_bytes=self.memory_bytes,
            weights_file_bytes=self.file_bytes,
        )  # fmt: skip


def _place(text: str, catalog: Catalog) -> tuple[Accelerator, int]:
    """The accelerator and how many: `t4`, `t4x4`, `4xt4`, or an offer. Raises UserError where neither is known."""
    from rackrate.errors import CatalogError, UserError, did_you_mean

    if "/" in text:
        offer = catalog.offer(text)
        if offer.accelerator is None:
            raise UserError(f"{text} has no accelerator; name its CPU, with --memory")
        return catalog.accelerators[offer.accelerator], offer.accelerator_count
    after, before = re.fullmatch(r"(.+?)[x*:](\d{1,4})", text), re.fullmatch(r"(\d{1,4})[x*](.+)", text)
    tries = [(text, 1)]
    if after:
        tries.append((after[1], int(after[2])))
    if before:
        tries.append((before[2], int(before[1])))
    for name, count in tries:
        try:
            found = catalog.accelerator(name.strip())
        except CatalogError:
            continue
        if count < 1:
            raise UserError(f"--on {text}: at least one accelerator is needed")
        return found, count
    name = tries[-1][0]
    raise UserError(
        f"--on {text}: no accelerator is called {name!r}{did_you_mean(name, catalog.accelerators)} (`rackrate catalog "
        "accelerators` lists them)"
    )


def _answer(asked: _Asked, accelerator: Accelerator, count: int, catalog: Catalog) -> tuple[Fit, tuple[Remedy, ...]]:
    from rackrate.errors import UserError
    from rackrate.memory.remedies import remedies
    from rackrate.memory.sharding import best_parallelism

    if asked.tp is None and asked.pp is None:
        tp, pp = best_parallelism(asked.read.architecture, count, asked.engine)
    else:
        tp = asked.tp if asked.tp is not None else max(1, count // (asked.pp or 1))
        pp = asked.pp if asked.pp is not None else max(1, count // tp)
        if tp < 1 or pp < 1 or tp * pp != count:
            raise UserError(f"--tp {tp} times --pp {pp} is {tp * pp}, but --on names {count} x {accelerator.id}")
    found = asked.fit(accelerator, tp, pp)
    if found.fits:
        return found, ()
    if asked.memory_bytes is not None:
        return found, ()  # other counts and cards have other memories
    others = catalog.accelerators.values()
    return found, remedies(
        asked.read.architecture, accelerator, found, weights=asked.weights, engine=asked.engine, others=others,
        weights_file_bytes=asked.file_bytes,
    )  # fmt: skip


def _in_table(asked: _Asked, accelerator: Accelerator) -> Fit:
    """The fit on the fewest of a card, or on one where none will do."""
    from rackrate.memory.remedies import smallest_count

    found = None
    if asked.memory_bytes is None:
        found = smallest_count(
            asked.read.architecture, accelerator, weights=asked.weights, kv=asked.kv, context_tokens=asked.context,
            engine=asked.engine, weights_file_bytes=asked.file_bytes,
        )  # fmt: skip
    return found or asked.fit(accelerator, 1, 1)


def _gib(value: float) -> str:
    from rackrate.units import GIB

    return f"{value / GIB:,.2f}" if abs(value) < 100 * GIB else f"{value / GIB:,.0f}"


def _heading(asked: _Asked, found: Fit) -> str:
    from rackrate.models.formats import bits_per_weight, weight_format
    from rackrate.report.format import count

    model = asked.read.architecture
    active = "" if model.experts is None else f" ({count(model.active_parameters)} active)"
    bits = 8 * found.total_weights_bytes / model.parameters.total
    if asked.file_bytes is None:
        bits = bits_per_weight(model, weight_format(found.weights_format))
    return (
        f"{model.name}: {count(model.parameters.total)} parameters{active}, {model.layers} layers; "
        f"{found.total_weights_bytes / 1e9:,.1f} GB of weights in {found.weights_format} ({bits:.2f} bits each); "
        f"from {model.origin}"
    )


def _print_answers(asked: _Asked, rows: list[tuple[Fit, tuple[Remedy, ...]]]) -> None:
    from rich.console import Group, RenderableType
    from rich.text import Text

    from rackrate.cli.output import say, show
    from rackrate.memory.remedies import split_words

    parts: list[RenderableType] = [Text(_heading(asked, rows[0][0]), style="bold")]
    for found, ways in rows:
        several = f"{found.accelerators} x " if found.accelerators > 1 else ""
        how = f" ({split_words(found)})" if found.accelerators > 1 else ""
        word, style = ("fits", "bold green") if found.fits else ("does not fit", "bold red")
        parts += [Text(), Text.assemble((word, style), f" {several}{found.accelerator}{how}, {found.engine}")]
        parts += [Text(f"  - {reason}") for reason in found.reasons]
        parts.append(_breakdown(found))
        if found.largest_context:
            limit = f", {found.engine_requests:,} in one step" if found.engine_requests else ""
            parts.append(
                Text(
                    f"  {found.requests:,} requests of {found.context_tokens:,} tokens at a time by memory{limit}; one "
                    f"of at most {found.largest_context:,} tokens; {found.kv_tokens:,} tokens in all"
                )
            )
        parts += [Text(f"  note: {note}") for note in found.notes]
        if ways:
            parts.append(Text("  what would fit:"))
            parts += [
                Text(f"  - {way.text}: {way.fit.requests:,} requests of {way.fit.context_tokens:,} tokens")
                for way in ways
            ]
    show(Group(*parts))
    for note in asked.read.notes:
        say(f"note: {note}")
    say("predicted from the model's shape and the engine's defaults; docs/fit.md says how near that is")


def _breakdown(found: Fit) -> Any:
    from rackrate.report.tables import plain_table

    table = plain_table("  GiB of each accelerator", "GiB", "", left=["  GiB of each accelerator", ""])
    share = found.usable_bytes / found.memory_bytes
    table.add_row("  memory for programs", _gib(found.memory_bytes), "what the driver leaves")
    table.add_row("  usable", _gib(found.usable_bytes), f"{share:.0%} that {found.engine} takes by default")
    table.add_row("  weights", _gib(found.weights_bytes), f"in {found.weights_format}")
    inside = found.usable_bytes - found.weights_bytes - found.overhead_bytes - found.kv_bytes > 1.0
    table.add_row(
        "  working memory",
        _gib(found.activation_bytes),
        "of a full step" if inside else "of a full step, outside usable",
    )
    table.add_row("  engine", _gib(found.overhead_bytes), "libraries, communication")
    per_token = f"{found.kv_bytes_per_token:,.0f} bytes a token in {found.kv_format}"
    table.add_row("  left for the KV cache", _gib(found.kv_bytes), per_token)
    table.add_row("  one request", _gib(found.request_bytes), f"of {found.context_tokens:,} tokens")
    return table


def _print_table(asked: _Asked, rows: list[Fit]) -> None:
    from rackrate.cli.output import say, show
    from rackrate.memory.remedies import split_words
    from rackrate.report.tables import plain_table

    say(_heading(asked, rows[0]))
    context = rows[0].context_tokens
    table = plain_table(
        "accelerator", "GiB", "fits on", "KV GiB", "longest", f"of {context:,} tokens", left=["accelerator", "fits on"]
    )
    told: dict[str, list[str]] = {}
    for found in rows:
        for text in found.notes[:1] if found.fits else found.reasons[:1]:
            told.setdefault(
                text.replace(f"one {found.accelerator}", "one").replace(found.accelerator, "it"), []
            ).append(found.accelerator)
        if not found.fits:
            table.add_row(found.accelerator, f"{found.memory_bytes / 2**30:.1f}", "no", "-", "-", "-")
            continue
        split = f" ({split_words(found)})" if found.accelerators > 1 else ""
        table.add_row(
            found.accelerator, f"{found.memory_bytes / 2**30:.1f}", f"{found.accelerators}{split}",
            _gib(found.kv_bytes), f"{found.largest_context:,}", f"{found.requests:,}",
        )  # fmt: skip
    show(table)
    for text, cards in told.items():
        say(f"{', '.join(cards)}: {text}")
    for note in asked.read.notes:
        say(f"note: {note}")
    say(
        f"the fewest of each card that hold it with {asked.engine.name}; GiB is of one card; longest: tokens of one "
        f"request; then how many of {context:,} tokens at a time; --on CARDxN says more"
    )


def _json(asked: _Asked, rows: list[tuple[Fit, tuple[Remedy, ...]]]) -> dict[str, Any]:
    from dataclasses import asdict

    model = asked.read.architecture
    experts = None if model.experts is None else asdict(model.experts)
    return {
        "schema": SCHEMA,
        "model": {
            "name": model.name,
            "origin": model.origin,
            "parameters": model.parameters.total,
            "active_parameters": model.active_parameters,
            "parameters_by_kind": asdict(model.parameters),
            "layers": model.layers,
            "hidden_size": model.hidden_size,
            "heads": model.heads,
            "kv_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "vocabulary": model.vocabulary,
            "context_tokens": model.context_tokens,
            "experts": experts,
            "caches": [asdict(group) for group in model.caches],
            "published_format": model.native_weights,
            "weights_file_bytes": asked.read.weights_file_bytes,
            "notes": list(asked.read.notes),
        },
        "origin": "predicted",
        "fits": [
            {**_fit_json(found), "remedies": [{"kind": w.kind, "text": w.text, **_fit_json(w.fit)} for w in ways]}
            for found, ways in rows
        ],
    }


def _fit_json(found: Fit) -> dict[str, Any]:
    from dataclasses import fields

    values = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "stage"}
    return {**values, "accelerators": found.accelerators, "spare_bytes": found.spare_bytes}
