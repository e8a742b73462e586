"""Options that say what is sent and when; `measure` and `simulate` share them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InputTokens = Annotated[
    str | None,
    typer.Option(
        "--input-tokens",
        help="Input tokens per request, as the server counts them: 512, lognormal:mean=512,cv=0.8, "
        "lognormal:p50=400,p95=2000, or file:PATH.",
        show_default="128, or the trace's",
    ),
]
OutputTokens = Annotated[
    str | None,
    typer.Option("--output-tokens", help="Output tokens per request, likewise.", show_default="128, or the trace's"),
]
Arrivals = Annotated[
    str | None,
    typer.Option(
        "--arrivals",
        help="Of an open loop: poisson, constant, gamma:CV for bursts, trace; or with rates of their own "
        "steps:5@30,20@30 (5/s for 30 s, then 20/s) and ramp:1-20@60 (from 1/s to 20/s in 60 s).",
        show_default="poisson, or trace",
    ),
]
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        help="Send recorded requests: their lengths, and, unless -c is given, when they came. --rate scales them.",
        show_default=False,
    ),
]
Speedup = Annotated[
    float | None,
    typer.Option("--trace-speedup", help="Send a trace so many times as fast.", show_default="1"),
]
Longest = Annotated[
    int | None,
    typer.Option(
        "--longest", help="Leave out a trace's requests of more tokens than this, in and out.", show_default=False
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--shared-prefix",
        help="Begin prompts with one text of so many tokens, a system prompt: 256, or 256:0.8 for 80 % of them.",
        show_default=False,
    ),
]
Turns = Annotated[
    str | None,
    typer.Option(
        "--turns",
        help="Hold conversations of so many requests: 4, geometric:mean=4. -c is then users, --rate new conversations "
        "per second, and input tokens what each turn adds.",
        show_default=False,
    ),
]
ThinkTime = Annotated[
    str | None,
    typer.Option(
        "--think-time",
        help="Seconds from an answer to the next turn: 5, exponential:mean=5, lognormal:mean=8,cv=1.",
        show_default="0",
    ),
]
