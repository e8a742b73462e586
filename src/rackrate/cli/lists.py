"""Words and numbers with commas between them, as options take them."""

from __future__ import annotations

from rackrate.bounds import shown


def split(text: str | None) -> tuple[str, ...]:
    """`awq, fp8` as two words; nothing where nothing is given."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """`1,2.5,4`; nothing where nothing is given. Raises UserError where one is no number."""
    from rackrate.errors import WorkloadError

    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise WorkloadError(
            f"{option} takes numbers with commas between them, such as 20 or 5,10,20, not {shown(text)}"
        ) from None


def whole_numbers(text: str | None, option: str) -> tuple[int, ...]:
    """`1,8,64`; nothing where nothing is given. Raises UserError where one is no whole number."""
    from rackrate.errors import WorkloadError

    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise WorkloadError(
            f"{option} takes whole numbers with commas between them, such as 8 or 1,8,32, not {shown(text)}"
        ) from None
