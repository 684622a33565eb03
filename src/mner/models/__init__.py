"""One file a paper, the text baselines, and the registry that knows them all."""

from __future__ import annotations

from mner.models.base import MnerConfig, MnerModel, Output, Sources
from mner.models.registry import Registration, model_named, register, registered

__all__ = [
    "MnerConfig",
    "MnerModel",
    "Output",
    "Registration",
    "Sources",
    "model_named",
    "register",
    "registered",
]
