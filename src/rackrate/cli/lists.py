"""Words and numbers with commas between them, as options take them."""

from __future__ import annotations


def split(text: str | None) -> tuple[str, ...]:
    """`awq, fp8` as two words; nothing where nothing is given."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """`1,2.5,4`; nothing where nothing is given. Raises UserError where one is no number above 0."""
    from rackrate.errors import WorkloadError

    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise WorkloadError(f"{option} takes numbers with commas between them, such as 1,2,4, not {text!r}") from None
    if not all(0 < value < float("inf") for value in values):
        raise WorkloadError(f"{option} must be above 0, got {text}")
    return values


def whole_numbers(text: str | None, option: str) -> tuple[int, ...]:
    """`1,8,64`; nothing where nothing is given. Raises UserError where one is no whole number of at least 1."""
    from rackrate.errors import WorkloadError

    values = numbers(text, option)
    if any(value != int(value) for value in values):
        raise WorkloadError(f"{option} must be whole numbers of at least 1, got {text}")
    return tuple(int(value) for value in values)
