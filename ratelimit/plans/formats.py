"""TOML, YAML and JSON text to plain values, with what the stock parsers let through refused.

A key given twice would silently win over its twin, and a plan would lose a limit. Every error is a ConfigError whose
text begins with the line, where the parser knows it; the caller puts the file in front.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from ratelimit.errors import ConfigError
from ratelimit.plans.faults import short

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "PARSERS",
    "parse_json",
    "parse_toml",
    "parse_yaml",
)

_MERGE: Final = "tag:yaml.org,2002:merge"


def parse_toml(text: str) -> object:
    """Return the values of TOML text. Raises ConfigError (a key given twice is a syntax error of TOML itself)."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}") from None


def parse_json(text: str) -> object:
    """Return the values of JSON text. Raises ConfigError; NaN, Infinity and a key given twice are refused."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid JSON: {error}") from None


def parse_yaml(text: str) -> object:
    """Return the values of YAML text, built from plain types only.

    Raises:
        ConfigError: PyYAML is not installed, the text is not valid, or a mapping gives a key twice.
    """
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise ConfigError("YAML needs PyYAML: pip install 'llm-ratelimit[yaml]', or write TOML or JSON") from None
    try:
        return _load_yaml(yaml, text)
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {_yaml_text(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}") from None


PARSERS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {".toml": parse_toml, ".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_json}
)
"""Parser by suffix of the file, in lower case."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for key, value in pairs:
        if key in table:
            raise ConfigError(f"key {short(key)} = {short(value)}: given twice in one object; keep one")
        table[key] = value
    return table


def _no_constant(name: str) -> object:
    raise ConfigError(f"value {name}: not a number that JSON knows; write a whole number")


def _load_yaml(yaml: ModuleType, text: str) -> object:
    # The steps of yaml.safe_load, to look at the nodes in between: once they are dicts, twins are gone.
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_nodes(yaml, root)
        value: object = loader.construct_document(root)
        return value
    finally:
        loader.dispose()


def _check_nodes(yaml: ModuleType, root: object) -> None:
    todo: list[Any] = [root]
    met: set[int] = set()  # an alias is its anchor's node again, and may contain itself
    while todo:
        node = todo.pop()
        if id(node) in met:
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            todo.extend(value for _, value in node.value)
            _check_keys(yaml, node)


def _check_keys(yaml: ModuleType, mapping: Any) -> None:
    keys: set[tuple[str, str]] = set()
    for key, value in mapping.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"line {line}: a key must be text")
        if (key.tag, key.value) in keys:
            raise ConfigError(f"line {line}: key {short(key.value)} given twice; keep one")
        # PyYAML copies what it merges, so lists of merges of lists of merges double at every step.
        if key.tag == _MERGE and isinstance(value, yaml.SequenceNode):
            raise ConfigError(f"line {line}: key '<<' with a list: must merge one mapping")
        keys.add((key.tag, key.value))


def _yaml_text(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}: {problem}"
