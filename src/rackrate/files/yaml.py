"""YAML of strangers, as plain values: within bounds that are checked before anything is built of it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rackrate.errors import UserError
from rackrate.files import read_bytes

MOST_BYTES = 16 << 20
MOST_NESTED = 64
"""Levels of lists and mappings in a file; no document of ours has more than ten."""
MOST_VALUES = 200_000
"""Keys and values in a file, each alias (*name) counted as all that it stands for. Of our own, accelerators.yaml has
most, some 7,000."""
_MOST_DIGITS = 300

_FastestSafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastestSafeLoader):
    """The safe loader, except that dates stay text and a key written twice or an endless number is an error."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number, of no more digits than can be meant."""
        if len(node.value) > _MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(node.value):,} characters", problem_mark=node.start_mark
            )
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is written twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises:
        UserError: it cannot be read, is not YAML, or goes beyond a bound; with line and column.
    """
    node, loader = _read(path)
    try:
        return None if node is None else loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        raise _placed(path, error) from None
    finally:
        loader.dispose()


def read_nodes(path: Path) -> yaml.Node | None:
    """The nodes of a YAML file, which know their lines; None for an empty one. Raises UserError as `read_yaml`."""
    node, loader = _read(path)
    loader.dispose()
    return node


def _read(path: Path) -> tuple[yaml.Node | None, _Loader]:
    text = _text(path)
    loader = _Loader(text)
    try:
        _refuse_events(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse_expansion(node)
    except yaml.MarkedYAMLError as error:
        raise _placed(path, error) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return node, loader


def _text(path: Path) -> str:
    try:
        raw = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, not a YAML file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace").split("\n")
        place = f"{path}:{len(before)}:{len(before[-1]) + 1}"
        raise UserError(f"{place}: is not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8") from None


def _placed(path: Path, error: yaml.MarkedYAMLError) -> UserError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    return UserError(f"{place}: not valid YAML: {error.problem or error.context}")


def _refuse_events(text: str) -> None:
    """Depth, number and tags are looked at while the text is only read: depth would exhaust the stack."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_FastestSafeLoader):
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            values += 1
            if values > MOST_VALUES:
                _refuse(f"more than {MOST_VALUES:,} keys and values", event)
            if event.tag not in {None, "!"}:
                _refuse(f"the tag {event.tag!r}: write the value without one", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTED:
                _refuse(f"more than {MOST_NESTED} lists and mappings inside each other", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse(problem: str, at: Any) -> None:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _refuse_expansion(node: yaml.Node) -> None:
    """Aliases written out, merged keys (<<) too: too many values, too deep, or a node inside itself is refused."""
    known: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()

    def size_and_depth(node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1, 0
        at = id(node)
        if at in open_:
            _refuse("an alias (*name) stands inside what it names", node)
        if at not in known:
            open_.add(at)
            size, depth = 1, 0
            for child in _children(node):
                more, deeper = size_and_depth(child)
                size, depth = size + more, max(depth, deeper + 1)
            open_.discard(at)
            known[at] = size, depth
            if size > MOST_VALUES:
                _refuse(f"its aliases (*name) stand for more than {MOST_VALUES:,} values", node)
            if depth > MOST_NESTED:
                _refuse(f"more than {MOST_NESTED} lists and mappings inside each other, by its aliases", node)
        return known[at]

    size_and_depth(node)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)
