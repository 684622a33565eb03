"""Low-rank adapters in a text encoder while it is trained: put in, written down, merged.

Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4: W + (alpha / r) B A, with W
frozen, A (r, inputs) and B (outputs, r). peft puts them into the encoder's linear layers; after training they
are added to W, so that the run folder holds an ordinary model. What was trained is kept beside it as
``adapter.safetensors``, from which `mner.packing` makes a folder of a few megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mner.errors import MissingExtraError, RecipeError, shown
from mner.models import MnerModel
from mner.packing import ADAPTER_FILE, DOWN, ENCODER, UP

if TYPE_CHECKING:
    from mner.training.recipe import AdapterSection

_NAME = "default"  # peft's own name for the one adapter there is


def add_adapters(model: MnerModel, section: AdapterSection) -> int:
    """Put adapters into the text encoder and freeze what was there.

    Args:
        model: A model with a text encoder.
        section: Which adapters.

    Returns:
        How many parameters of the encoder are trained now.

    Raises:
        MissingExtraError: peft is not installed.
        RecipeError: The model has no text encoder, or no layer is called as the recipe says.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("Training with adapters", "adapters") from error
    encoder: Any = getattr(model, ENCODER, None)
    if encoder is None:
        raise RecipeError(
            f"{model.registered_name} has no pre-trained text encoder to put adapters into.",
            hint="Leave [adapter] out.",
        )
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,  # type: ignore[arg-type]  # any number; it is divided by the rank
        lora_dropout=section.dropout,
        target_modules=list(section.targets) or "all-linear",
    )
    if section.encoder_dropout is not None:
        for part in encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = section.encoder_dropout
    try:
        inject_adapter_in_model(config, encoder)
    except ValueError as error:
        names = sorted({name.rsplit(".", 1)[-1] for name, part in encoder.named_modules() if _linear(part)})
        raise RecipeError(
            "The adapters have nowhere to go.",
            expected=f"adapter.targets among {', '.join(names)}",
            got=shown(", ".join(section.targets)),
        ) from error
    for name, parameter in encoder.named_parameters():
        small = parameter.ndim == 1  # norms and biases
        parameter.requires_grad_(".lora_" in name or (section.norms_and_biases and small))
    for _, layer in _adapted(model):
        # Under autocast the input is of the type that is computed in; peft would widen it, only for
        # autocast to narrow it again.
        layer.cast_input_dtype_enabled = False
    return sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad)


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def _adapted(model: MnerModel) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


@torch.no_grad()
def start_adapters(model: MnerModel, learnt: Mapping[str, Tensor]) -> float:
    """Let adapters start as the best approximation of what another encoder has learnt from the same backbone.

    Of the difference of every adapted weight the r greatest singular values are kept (Eckart and Young,
    1936); norms and biases are taken over where they are trained. The rest stays the backbone's.

    Args:
        model: A model with the backbone's weights and new adapters.
        learnt: The other encoder's tensors, by their names in an encoder without adapters.

    Returns:
        The share of the differences' energy that was kept, 0 to 1.
    """
    kept = whole = 0.0
    for name, layer in _adapted(model):
        difference = learnt[f"{name}.weight"] - layer.get_base_layer().weight
        left, values, right = torch.linalg.svd(difference.float(), full_matrices=False)
        down, up = layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight
        root = (values[: len(down)] / layer.scaling[_NAME]).sqrt()
        up.copy_(left[:, : len(down)] * root)
        down.copy_(root[:, None] * right[: len(down)])
        kept += float(values[: len(down)].square().sum())
        whole += float(values.square().sum())
    for name, parameter in model.named_parameters():
        plain = name.replace(".base_layer.", ".")
        if parameter.requires_grad and plain.startswith(f"{ENCODER}.") and plain in learnt:
            parameter.copy_(learnt[plain])
    return kept / whole if whole else 1.0


@torch.no_grad()
def save_adapters(model: MnerModel, folder: Path, backbone: str) -> Path:
    """Write what was trained: the matrices of every adapter, and whole what else is not the backbone's.

    Args:
        model: The model, its adapters not merged.
        folder: The run folder.
        backbone: The name of the backbone that the adapters belong to.
    """
    tensors: dict[str, Tensor] = {}
    scales: dict[str, float] = {}
    for name, layer in _adapted(model):
        tensors[name + DOWN] = layer.lora_A[_NAME].weight
        tensors[name + UP] = layer.lora_B[_NAME].weight
        scales[name] = layer.scaling[_NAME]
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, tensor in model.state_dict().items():
        if ".lora_" not in name and (name in trained or not name.startswith(f"{ENCODER}.")):
            tensors[name.replace(".base_layer.", ".")] = tensor
    (scale,) = set(scales.values())
    path = folder / ADAPTER_FILE
    metadata = {"scale": repr(scale), "backbone": backbone}
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(kept, path, metadata)
    return path


@torch.no_grad()
def merge_adapters(model: MnerModel) -> int:
    """Add the adapters to the weights that they adapt, and take them out.

    Returns:
        How many there were.
    """
    found = list(_adapted(model))
    for name, layer in found:
        layer.merge()
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
    return len(found)
