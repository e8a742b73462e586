"""Rows read in bulk against Python's own float and datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.workload.plain_rows import Moments, plain_columns

numbers = st.decimals(0, 10**9, allow_nan=False, places=5).map(lambda value: f"{value.normalize():f}")


@given(
    rows=st.lists(st.tuples(numbers, st.integers(0, 2**31), numbers), min_size=1), end=st.sampled_from(["\n", "\r\n"])
)
def test_numbers_are_those_that_float_gives(rows: list[tuple[str, int, str]], end: str) -> None:
    text = end.join(",".join(map(str, row)) for row in rows)
    found = plain_columns(text.encode(), 3, {"time": 0, "input": 1, "output": 2}, None)
    assert found is not None
    assert found["time"].tolist() == [float(row[0]) for row in rows]
    assert found["input"].tolist() == [float(row[1]) for row in rows]
    assert found["output"].tolist() == [float(row[2]) for row in rows]


START = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2199-12-31")


@given(
    moments=st.lists(st.datetimes(FIRST, LAST), min_size=1),
    mark=st.sampled_from(["T", " "]),
    zone=st.sampled_from(["", "Z", "+00:00"]),
)
def test_moments_are_those_that_datetime_gives(moments: list[datetime], mark: str, zone: str) -> None:
    text = "".join(f"{moment.isoformat(mark)}{zone},x y\n" for moment in moments)
    found = plain_columns(text.encode(), 2, {}, 0)
    assert found is not None
    assert isinstance(found["time"], Moments)
    assert found["time"].zoned == bool(zone)
    exact = [(moment.replace(tzinfo=UTC) - START) // timedelta(microseconds=1) * 1000 for moment in moments]
    assert found["time"].nanoseconds.tolist() == exact


@pytest.mark.parametrize(
    "row",
    ["1e3,5", "-1,5", "+1,5", ",5", "1.2.3,5", ".,5", "x,5", "1 ,5", '"1",5', "1", "1,5,6", "12345678901234567890,5",
     "1/2,5", "1:2,5"],
)  # fmt: skip
def test_what_is_no_plain_number_is_left_to_the_exact_reader(row: str) -> None:
    assert plain_columns(f"7,8\n{row}\n".encode(), 2, {"time": 0, "input": 1}, None) is None


@pytest.mark.parametrize(
    "moment",
    ["2023-02-29 00:00:00", "2023-13-01 00:00:00", "2023-00-01 00:00:00", "2023-01-00 00:00:00", "2023-01-01 24:00:00",
     "2023-01-01 00:60:00", "2023-01-01 00:00:60", "2023-01-01 00:00:00.", "2023-01-01 00:00:00.0123456789",
     "2023-01-01 00:00", "2023-01-01", "2023-01-01x00:00:00", "2023-01-01 00:00:00Z", "2023-01-01 00:00:00+02:00", "7"],
)  # fmt: skip
def test_what_is_no_plain_moment_is_left_to_the_exact_reader(moment: str) -> None:
    assert plain_columns(f"2023-01-01 00:00:00,8\n{moment},8\n".encode(), 2, {}, 0) is None


@given(values=st.lists(st.floats(0, 1e9), min_size=1), last=st.booleans())
def test_numbers_of_all_digits_are_read_back_the_same(values: list[float], last: bool) -> None:
    texts = [f"{value:.19f}" for value in values]
    data = "".join(f"7,x,{text}\n" if last else f"7,{text},x\n" for text in texts).encode()
    found = plain_columns(data, 3, {"time": 2 if last else 1, "input": 0}, None)
    assert found is not None
    assert found["time"].tolist() == [float(text) for text in texts]
    assert found["input"].tolist() == [7.0] * len(texts)


def test_decimals_round_once() -> None:
    # 0.1 + 0.2 parts would not: each of these is the double nearest to the decimal
    texts = ["123456789.123456", "0.00000000000001", "99999999.9999999", "450359962.370497"]
    found = plain_columns("".join(f"{text}\n" for text in texts).encode(), 1, {"time": 0}, None)
    assert found is not None
    assert [Decimal(value) for value in found["time"].tolist()] == [Decimal(float(text)) for text in texts]
