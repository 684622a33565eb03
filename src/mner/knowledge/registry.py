"""Providers by name: a table of where each lives, imported only when it is asked for.

Another package adds providers by an entry point in the group ``mner.providers``; the entry point's name
is the provider's, and its value a class or a factory that takes keyword options and gives something that
satisfies `mner.knowledge.provider.Provider`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mner.errors import UsageError, did_you_mean, nearest, shown
from mner.knowledge.provider import Provider

ENTRY_POINT_GROUP = "mner.providers"


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """A provider that can be asked for by name.

    Args:
        name: The name on the command line.
        kind: The kind of knowledge it makes, or ``any`` where its options decide.
        target: Where its class or factory is, as ``module:attribute``.
        summary: One line for the help page.
    """

    name: str
    kind: str
    target: str
    summary: str


_ANY_NAMED = inspect.Parameter.VAR_KEYWORD
_ANY_PLACED = inspect.Parameter.VAR_POSITIONAL

_HOME = "mner.knowledge.providers"

_TABLE: tuple[ProviderEntry, ...] = (
    ProviderEntry("ocr", "ocr", f"{_HOME}.ocr:OcrProvider", "Text in the picture, by RapidOCR; offline."),
    ProviderEntry("alt", "caption", f"{_HOME}.files:AltTextProvider", "The alt text that comes with a post."),
    ProviderEntry("file", "any", f"{_HOME}.files:FileProvider", "Knowledge from a file, by name or id."),
    ProviderEntry(
        "endpoint-caption",
        "caption",
        f"{_HOME}.endpoint:EndpointCaption",
        "A caption from an OpenAI-compatible endpoint, for the post and its domain.",
    ),
    ProviderEntry(
        "endpoint-auxiliary",
        "auxiliary",
        f"{_HOME}.endpoint:EndpointAuxiliary",
        "Auxiliary knowledge from an endpoint that sees the picture alone.",
    ),
    ProviderEntry(
        "endpoint-reasoning",
        "reasoning",
        f"{_HOME}.endpoint:EndpointReasoning",
        "A reasoning chain from an endpoint; each step sees the ones before.",
    ),
    ProviderEntry(
        "endpoint-entities",
        "entities",
        f"{_HOME}.endpoint:EndpointEntities",
        "Entities by an endpoint's model, not trained for them; see `mner experiment zero-shot`.",
    ),
    ProviderEntry(
        "caption",
        "caption",
        f"{_HOME}.caption:CaptionProvider",
        "A caption by a local model of transformers (BLIP-2 and the like).",
    ),
    ProviderEntry(
        "auxiliary",
        "auxiliary",
        f"{_HOME}.auxiliary:AuxiliaryProvider",
        "Auxiliary knowledge by a local multimodal model (Qwen2-VL and the like).",
    ),
    ProviderEntry(
        "reasoning",
        "reasoning",
        f"{_HOME}.reasoning:ReasoningProvider",
        "A reasoning chain by a local causal language model.",
    ),
    ProviderEntry(
        "chain",
        "reasoning",
        f"{_HOME}.chain:OfflineChainProvider",
        "A reasoning chain without any download: tagger, WordNet, similarity.",
    ),
    ProviderEntry(
        "grounding",
        "regions",
        f"{_HOME}.regions:GroundingProvider",
        "Regions for the post's phrases, by Grounding DINO or OWL-ViT.",
    ),
    ProviderEntry(
        "detection", "regions", f"{_HOME}.regions:DetectionProvider", "Regions of known objects, by DETR."
    ),
    ProviderEntry(
        "grid", "regions", f"{_HOME}.regions:GridProvider", "Regions as a fixed grid; no model at all."
    ),
    ProviderEntry(
        "clip",
        "relevance",
        f"{_HOME}.relevance:ClipRelevanceProvider",
        "Relevance of picture to text, by a local CLIP.",
    ),
    ProviderEntry(
        "text-relevance",
        "relevance",
        f"{_HOME}.relevance:TextRelevanceProvider",
        "Relevance as similarity of post and OCR or caption; offline.",
    ),
)


def provider_entries() -> list[ProviderEntry]:
    """All providers, this package's first, then those of other packages; none is imported."""
    entries = list(_TABLE)
    names = {entry.name for entry in entries}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name not in names:
            names.add(point.name)
            origin = point.dist.name if point.dist is not None else point.value
            entries.append(ProviderEntry(point.name, "any", point.value, f"From {origin}."))
    return entries


def provider_factory(name: str) -> Callable[..., Provider]:
    """The class or factory behind a name, imported now.

    Raises:
        UsageError: There is no provider of that name.
    """
    entries = {entry.name: entry for entry in provider_entries()}
    if name not in entries:
        raise UsageError(f"There is no provider {name!r}.", hint=did_you_mean(name, entries))
    module, _, attribute = entries[name].target.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    factory: Callable[..., Provider] = found
    return factory


def provider_options(name: str) -> dict[str, inspect.Parameter]:
    """What a provider can be told, by name; with what it hands on to the classes it is derived from.

    Raises:
        UsageError: There is no provider of that name.
    """
    factory = provider_factory(name)
    options: dict[str, inspect.Parameter] = {}
    layers: list[Any] = [factory]
    if inspect.isclass(factory):
        layers = [kind.__dict__["__init__"] for kind in factory.__mro__ if "__init__" in kind.__dict__]
    for layer in layers:
        parameters = inspect.signature(layer).parameters
        for parameter in parameters.values():
            if parameter.name != "self" and parameter.kind not in (_ANY_NAMED, _ANY_PLACED):
                options.setdefault(parameter.name, parameter)
        if not any(parameter.kind is _ANY_NAMED for parameter in parameters.values()):
            break
    return options


def provider_named(name: str, **options: Any) -> Provider:
    """Make a provider.

    Args:
        name: One of `provider_entries`.
        options: What the provider's class takes. A string is read as what the option's type says, so that
            options can come from a command line (``concurrency="8"``).

    Raises:
        UsageError: There is no such provider, or it has no such option, or misses one it needs.
    """
    factory = provider_factory(name)
    known = provider_options(name)
    for option in options:
        if option not in known:
            near = nearest(option, known)
            raise UsageError(
                f"The provider {name!r} has no option {option!r}.",
                hint=f"Did you mean {near!r}?" if near else f"Its options: {', '.join(known) or 'none'}.",
            )
    missing = [
        option
        for option, parameter in known.items()
        if parameter.default is inspect.Parameter.empty and option not in options
    ]
    if missing:
        raise UsageError(f"The provider {name!r} needs {' and '.join(missing)}.")
    hints = _hints(factory)
    return factory(**{option: _read(name, option, value, hints) for option, value in options.items()})


def _hints(factory: Callable[..., Provider]) -> dict[str, Any]:
    layers: list[Any] = [factory]
    if inspect.isclass(factory):
        layers = [kind.__dict__["__init__"] for kind in factory.__mro__ if "__init__" in kind.__dict__]
    hints: dict[str, Any] = {}
    for layer in layers:
        try:
            found = get_type_hints(layer)
        except (NameError, TypeError, AttributeError):  # Types that are imported for the checker alone.
            continue
        hints = {**found, **hints}
    return hints


def _read(name: str, option: str, value: Any, hints: dict[str, Any]) -> Any:
    hint = hints.get(option, Any)
    if not isinstance(value, str) or hint is Any:
        return value
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        # Several values are written with commas between them.
        try:
            return adapter.validate_python([part.strip() for part in value.split(",")])
        except ValidationError:
            raise UsageError(
                f"The option {option!r} of the provider {name!r} cannot be {shown(value)}.",
                hint=error.errors()[0]["msg"] + ".",
            ) from error
