"""Vision towers: the vision half of any CLIP-like model, its pooled vectors and its tokens.

A tower is named as `mner.pretrained` says, by a whole checkpoint (CLIP, SigLIP, SigLIP 2, Chinese CLIP) or
by one of its vision half alone; ``scratch`` names a small tower with random weights, to be trained with
the rest. Pictures may be smaller or larger than those of the tower's training: positions are then
interpolated, as the tower's own model does it.
"""

from __future__ import annotations

import copy
import hashlib
import math
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import AutoConfig, AutoModel, CLIPVisionConfig, PreTrainedConfig, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_utils import (
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from mner.errors import BackboneError, UsageError, shown
from mner.pretrained import locate, quiet_loading, why_not_loaded

SCRATCH = "scratch"
"""The name of a small tower that starts from random weights."""

_WITH_CLASS_TOKEN = frozenset(("clip_vision_model", "chinese_clip_vision_model"))
_WITHOUT_CLASS_TOKEN = frozenset(("siglip_vision_model", "siglip2_vision_model"))
_TOWERS = _WITH_CLASS_TOKEN | _WITHOUT_CLASS_TOKEN

# Parts of pictures that a kept tower reads at once.
_CHUNK = 32

_optimizer_steps = 0


def _count_step(*_: Any) -> None:
    # A fused optimizer changes weights without counting their versions up, so that its steps are counted.
    global _optimizer_steps
    _optimizer_steps += 1


register_optimizer_step_post_hook(_count_step)


def scratch_config() -> PreTrainedConfig:
    """The tower called ``scratch``: 64 x 64 pixels, patches of 16, 4 layers, 128 wide."""
    return CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=64,
        patch_size=16,
    )


def load_tower_config(name: str) -> PreTrainedConfig:
    """The configuration of a vision tower.

    Args:
        name: ``scratch``, or a folder or hub name of a whole CLIP-like model or of its vision half.

    Raises:
        BackboneError: It cannot be found, or has no vision tower of a known kind.
    """
    if name == SCRATCH:
        return scratch_config()
    try:
        config = AutoConfig.from_pretrained(locate(name))
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(name, "its configuration", error) from error
    config = getattr(config, "vision_config", config)
    config.name_or_path = ""
    _check(config, name)
    return config


def build_tower(config: PreTrainedConfig, head: bool = True) -> PreTrainedModel:
    """A tower of that configuration with random weights.

    Args:
        config: The configuration.
        head: Whether to build the pooling head that some towers have; models that read tokens do without.

    Raises:
        BackboneError: It is of no known kind.
    """
    _check(config, config.model_type)
    if not head and not has_class_token(config):
        config = copy.deepcopy(config)
        config.vision_use_head = False
    return AutoModel.from_config(config)


def load_tower_weights(module: PreTrainedModel, name: str) -> None:
    """Fill a tower built from a checkpoint's configuration with that checkpoint's weights, bit by bit.

    Args:
        module: The tower, as `build_tower` makes it.
        name: The checkpoint; nothing is done for ``scratch``.

    Raises:
        BackboneError: The weights cannot be read or do not fill every parameter of the tower.
    """
    if name == SCRATCH:
        return
    tower_class: Any = type(module)
    try:
        with quiet_loading():
            source, report = tower_class.from_pretrained(
                locate(name),
                config=module.config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreadable(name, "its weights", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackboneError(
            f"The weights of {shown(name)} do not fill the vision tower.",
            expected=f"{len(module.state_dict())} tensors",
            got=f"none for {', '.join(missing[:5])}",
        )
    module.load_state_dict(source.state_dict())


def _check(config: Any, name: str) -> None:
    kind = getattr(config, "model_type", type(config).__name__)
    if kind not in _TOWERS:
        raise BackboneError(
            f"{shown(name)} has no vision tower that is known here.",
            expected=f"a CLIP, SigLIP, SigLIP 2 or Chinese CLIP model ({', '.join(sorted(_TOWERS))})",
            got=str(kind),
        )


def _unreadable(name: str, part: str, error: Exception) -> BackboneError:
    return BackboneError(
        f"The vision tower {shown(name)} cannot be loaded ({part}).",
        expected="a folder or hub name with config.json and safetensors weights of a CLIP-like model",
        got=why_not_loaded(name, error),
    )


def load_normalisation(name: str, config: PreTrainedConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels with which a tower was trained.

    Args:
        name: The tower; its ``preprocessor_config.json`` says it, and where it has none its kind does.
        config: Its configuration.
    """
    if name != SCRATCH:
        try:
            with quiet_loading():
                settings, _ = ImageProcessingMixin.get_image_processor_dict(locate(name))
        except OSError:
            settings = {}
        if settings.get("image_mean") and settings.get("image_std"):
            return tuple(map(float, settings["image_mean"])), tuple(map(float, settings["image_std"]))
    return usual_normalisation(config)


def usual_normalisation(config: PreTrainedConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels that towers of that kind are trained with."""
    if config.model_type in _WITHOUT_CLASS_TOKEN:
        return tuple(IMAGENET_STANDARD_MEAN), tuple(IMAGENET_STANDARD_STD)
    return tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD)


def width_of(config: PreTrainedConfig) -> int:
    """The width of a tower's states, pooled ones included."""
    return int(config.hidden_size)


def patch_of(config: PreTrainedConfig) -> int:
    """The side of a patch in pixels."""
    return _side(config.patch_size)


def image_size_of(config: PreTrainedConfig) -> int:
    """The side in pixels of the pictures that a tower was trained with."""
    if hasattr(config, "image_size"):
        return _side(config.image_size)
    return math.isqrt(int(config.num_patches)) * patch_of(config)


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size[0])


def has_class_token(config: PreTrainedConfig) -> bool:
    """Whether the first token is one for the whole picture; all others are patches, row by row."""
    return config.model_type in _WITH_CLASS_TOKEN


def token_count(config: PreTrainedConfig, size: int) -> int:
    """How many tokens a square picture of that side becomes."""
    return (size // patch_of(config)) ** 2 + has_class_token(config)


def layers_of(tower: Any) -> nn.ModuleList:
    """The layers, to be called one by one as ``layer(states, attention_mask)``."""
    layers: nn.ModuleList = tower.encoder.layers
    return layers


def project(layer: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's queries, keys and values (N, h, t, d_h) of its input (N, t, d_v)."""
    attention, seen = layer.self_attn, layer.layer_norm1(states)
    query, key, value = (
        part(seen).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return query, key, value


def attention_dropout(layer: Any) -> float:
    """A layer's dropout on attention weights; 0 unless in training."""
    return float(layer.self_attn.dropout) if layer.self_attn.training else 0.0


def complete(layer: Any, states: Tensor, attended: Tensor) -> Tensor:
    """A layer's output, given its input (N, t, d_v) and what its attention read (N, h, t, d_h)."""
    joined = states + layer.self_attn.out_proj(attended.transpose(1, 2).flatten(2))
    output: Tensor = joined + layer.mlp(layer.layer_norm2(joined))
    return output


def embedded(tower: Any, pixels: Tensor, addition: Tensor | None = None) -> Tensor:
    """What the first layer sees.

    Args:
        tower: The tower.
        pixels: (N, 3, h, w) preprocessed; h and w multiples of the patch.
        addition: (N, 1, d_v) or (N, t, d_v) added to the embeddings, before the norm that some towers have.

    Returns:
        (N, t, d_v).

    Raises:
        UsageError: The sides are no multiples of the patch.
    """
    patch = patch_of(tower.config)
    height, width = pixels.shape[-2:]
    if height % patch or width % patch:
        raise UsageError(
            "Pictures of that size cannot be cut into patches.",
            expected=f"sides that are multiples of {patch}",
            got=f"{height} x {width}",
        )
    if tower.config.model_type == "siglip2_vision_model":
        # This one reads patches (rows, columns, channels) and is told how many there are each way.
        patches = pixels.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # (N, 3, h/p, p, w/p, p)
        patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.tensor([[height // patch, width // patch]]).expand(len(pixels), 2)
        states: Tensor = tower.embeddings(patches, shapes)
        return states if addition is None else states + addition
    resized = (height, width) != (image_size_of(tower.config),) * 2
    states = tower.embeddings(pixels, interpolate_pos_encoding=resized)
    if addition is not None:
        states = states + addition
    if has_class_token(tower.config):
        states = tower.pre_layrnorm(states)
    return states


def normalised(tower: Any, states: Tensor) -> Tensor:
    """The last layer's states (N, t, d_v) as the tower's model gives them: normed, or not, by kind."""
    if not has_class_token(tower.config):
        states = tower.post_layernorm(states)
    return states


def pool(tower: Any, states: Tensor) -> Tensor:
    """The last layer's states, as `normalised` gives them, to one vector a picture.

    Args:
        tower: The tower.
        states: (N, t, d_v).

    Returns:
        (N, d_v): the class token's normed state, or the attention-pooled tokens, or, of a tower without
        a pooling head, their mean.
    """
    vectors: Tensor
    if has_class_token(tower.config):
        vectors = tower.post_layernorm(states[:, 0])
    elif tower.use_head:
        vectors = tower.head(states)
    else:
        vectors = states.mean(1)
    return vectors


def tokens(tower: PreTrainedModel, pixels: Tensor) -> Tensor:
    """The states of all tokens of pictures.

    Args:
        tower: The tower.
        pixels: (N, 3, h, w) preprocessed; h and w multiples of the patch.

    Returns:
        (N, t, d_v).
    """
    states = embedded(tower, pixels)
    for layer in layers_of(tower):
        states = layer(states, None)
    return normalised(tower, states)


def pooled(tower: PreTrainedModel, pixels: Tensor) -> Tensor:
    """One vector a picture.

    Args:
        tower: The tower.
        pixels: (N, 3, h, w) preprocessed; h and w multiples of the patch.

    Returns:
        (N, d_v).
    """
    if not len(pixels):
        return pixels.new_zeros(0, width_of(tower.config))
    return pool(tower, tokens(tower, pixels))


def pooled_parts(tower: PreTrainedModel, pixels: Tensor, mask: Tensor) -> Tensor:
    """One vector for each part of each post's picture; parts that are not there cost nothing.

    Args:
        tower: The tower.
        pixels: (B, m, 3, h, w) preprocessed.
        mask: (B, m) true at parts that are there.

    Returns:
        (B, m, d_v), zero at parts that are not there.
    """
    vectors = pooled(tower, pixels[mask])
    return vectors.new_zeros(*mask.shape, vectors.shape[-1]).masked_scatter(mask.unsqueeze(-1), vectors)


class KeptTower:
    """A tower whose vectors may be kept: it knows its weights' revision, and when gradients want pixels.

    Args:
        module: The tower.
    """

    def __init__(self, module: PreTrainedModel) -> None:
        self.module = module
        self.width = width_of(module.config)
        self._seen: tuple[Any, ...] | None = None
        self._revision = ""

    @property
    def wants_pixels(self) -> bool:
        """Whether a gradient is to reach the tower, so that its vectors have to be computed in the model."""
        return torch.is_grad_enabled() and any(each.requires_grad for each in self.module.parameters())

    def revision(self) -> str:
        """A digest of the weights, their type and device; computed anew when a weight was changed."""
        tensors = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        # In-place changes count a tensor's version up, all but those of fused optimizers.
        trained = any(value.requires_grad for value in tensors.values())
        seen = (
            _optimizer_steps if trained else 0,
            *((id(value), value.data_ptr(), _version(value)) for value in tensors.values()),
        )
        if seen != self._seen:
            whole = hashlib.sha256()
            for name, value in tensors.items():
                whole.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
                whole.update(value.detach().contiguous().cpu().view(torch.uint8).numpy().data)
            whole.update(self.module.device.type.encode())
            self._seen, self._revision = seen, whole.hexdigest()
        return self._revision

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Preprocessed pictures (N, 3, h, w) to vectors (N, d_v) on the CPU, in float32.

        Computed in the weights' own precision whatever autocast says, so that what is kept does not
        depend on who asked first.
        """
        weight = next(self.module.parameters())
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.autocast(weight.device.type, enabled=False):
                chunks = (chunk.to(weight.device, weight.dtype) for chunk in pixels.split(_CHUNK))
                vectors = [pooled(self.module, chunk) for chunk in chunks]
        finally:
            self.module.train(was_training)
        return torch.cat(vectors).float().cpu()


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
