"""Which models there are: a decorator on the class, and an entry point for other packages.

Modules of this package register their classes when they are imported; they are imported when somebody
first asks for a model. A package of somebody else's adds a system by naming a module under the entry
point group ``mner.models``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mner.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mner.models.base import MnerModel

ENTRY_POINTS = "mner.models"
_NOT_SYSTEMS = frozenset(("base", "registry"))
_Model = TypeVar("_Model", bound="type[MnerModel]")


@dataclass(frozen=True)
class Registration:
    """A registered model.

    Args:
        name: The name in recipes and on the command line.
        model: The class.
        summary: One line that says what it is.
        source: The publication it comes from, as author and year.
    """

    name: str
    model: type[MnerModel]
    summary: str
    source: str

    @property
    def reads_pictures(self) -> bool:
        """Whether anything said about or seen in a picture reaches the model."""
        return self.model.reads_pictures


_registered: dict[str, Registration] = {}


def register(name: str, *, summary: str, source: str) -> Callable[[_Model], _Model]:
    """Register a model class under a name.

    Args:
        name: The name in recipes and on the command line.
        summary: One line that says what it is.
        source: The publication it comes from, as author and year.

    Raises:
        UsageError: Another class has the name already.
    """

    def enter(model: _Model) -> _Model:
        known = _registered.get(name)
        if known is not None and known.model.__qualname__ != model.__qualname__:
            raise UsageError(
                f"Two models want the name {name!r}.",
                got=f"{known.model.__module__} and {model.__module__}",
                hint="Rename one of them.",
            )
        _registered[name] = Registration(name, model, summary, source)
        model.registered_name = name
        return model

    return enter


@functools.cache
def _import_all() -> None:
    package = importlib.import_module("mner.models")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_SYSTEMS:
            importlib.import_module(f"{package.__name__}.{module.name}")
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        point.load()


def registered() -> dict[str, Registration]:
    """All models by name, in the order of their names."""
    _import_all()
    return dict(sorted(_registered.items()))


def model_named(name: str) -> Registration:
    """The model of that name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    models = registered()
    if name not in models:
        raise UsageError(f"There is no model {name!r}.", hint=did_you_mean(name, models))
    return models[name]
