"""rackrate fit: does a model fit a machine, by how much, how many requests beside it, and what would fit."""

from __future__ import annotations

from typing import Annotated

import typer

from rackrate.cli import options as given


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
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Say whether a model fits: weights, KV cache, working memory; the longest context, the most requests, what would.

    Predicted from the model's shape; how near that is to what engines report: docs/fit.md.
    """
    from rackrate.app.checking import FitRequest, fits
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    request = FitRequest(
        model=model, on=tuple(on or ()), weights=weights, kv_format=kv_format, context_tokens=context, tp=tp, pp=pp,
        engine=engine, memory=memory,
    )  # fmt: skip
    found = fits(request, shell_context())
    deliver(found, as_json=as_json, out=out)
    if (refusal := found.refusal) is not None:
        raise refusal
