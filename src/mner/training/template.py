"""A recipe with every key that a model's may have, its default, and what it is: read from the code itself."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from mner.encoding import EncodingSettings
from mner.models import MnerConfig, model_named
from mner.training.recipe import (
    AdapterSection,
    DataSection,
    KnowledgeSection,
    ModelSection,
    Section,
    TrainingSection,
    model_options,
)

_WIDTH = 100
_ENTRY = re.compile(r"^ {4}(\w+): ")


def template(name: str) -> str:
    """A recipe as text: the model's name, and all that may be set besides, as it is where nothing is set.

    What has no value by itself stands behind ``#``. So does ``[adapter]``, which a recipe has or has not.

    Args:
        name: A registered model.

    Raises:
        UsageError: There is no such model.
    """
    entry = model_named(name)
    config: Any = entry.model.config_class
    own = {field.name: _default(field) for field in dataclasses.fields(config)}
    common = ModelSection(name=name).model_dump(exclude={"options"})
    meanings = _meanings(ModelSection)
    for parent in reversed(config.__mro__):
        if issubclass(parent, MnerConfig):
            meanings |= _meanings(parent)
    values = {**common, **{key: own[key] for key in model_options(name)}}
    lines = [f"# {entry.summary[0].upper()}{entry.summary[1:]} ({entry.source}).", f"title = {_toml('')}", ""]
    lines += _table("model", values, meanings)
    lines += _table("data", _defaults(DataSection), _meanings(DataSection))
    lines += _table("knowledge", _defaults(KnowledgeSection), _meanings(KnowledgeSection))
    lines += _table("encoding", dataclasses.asdict(EncodingSettings()), _meanings(EncodingSettings))
    adapter = _table("adapter", _defaults(AdapterSection), _meanings(AdapterSection))
    lines += [f"# {line}" if line and not line.startswith("#") else line for line in adapter]
    lines += _table("training", _defaults(TrainingSection), _meanings(TrainingSection))
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, values: Mapping[str, Any], meanings: Mapping[str, str]) -> Iterator[str]:
    yield f"[{name}]"
    for key, value in values.items():
        yield from (f"# {line}" for line in textwrap.wrap(meanings.get(key, ""), _WIDTH - 2))
        yield f"# {key} =" if value is None else f"{key} = {_toml(value)}"
    yield ""


def _defaults(section: type[Section]) -> dict[str, Any]:
    return section().model_dump()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _meanings(described: type[Any]) -> dict[str, str]:
    """What a class says of its arguments in its docstring."""
    text = inspect.cleandoc(described.__doc__ or "")
    arguments = text.partition("Args:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in arguments.splitlines():
        if line and not line.startswith(" "):
            break
        if match := _ENTRY.match(line):
            name = match[1]
            found[name] = line[match.end() :]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {key: meaning.replace("``", "`") for key, meaning in found.items()}


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
