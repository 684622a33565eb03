"""Recipes: TOML files that say everything about a training run, checked strictly.

An unknown or misspelt key is refused with the nearest valid one; so is a value of another type. The keys
of ``[model]`` besides its name and backbones are the fields of that model's configuration, so that a key
another system has is refused too.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mner.errors import RecipeError, nearest, shown
from mner.knowledge.attaching import KINDS
from mner.models import MnerConfig, model_named, registered
from mner.tags import Convention


class Section(BaseModel):
    """A table of a recipe: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelSection(BaseModel):
    """``[model]``: which system, on which backbones, with which settings of its own.

    Args:
        name: A registered model, as `mner models` lists them.
        backbone: Text encoder: ``default``, a folder or a hub name.
        vision_backbone: Vision tower: a folder or a hub name, or ``scratch``, a small new one.
        vectors: A text file of word vectors, for models that start from words.
        most_vectors: Read at most so many vectors.
        options: All other keys: fields of the model's configuration.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    backbone: str = "default"
    vision_backbone: str | None = None
    vectors: str | None = None
    most_vectors: Annotated[int, Field(ge=1)] = 100_000
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "name" not in table or "options" in table:
            return table
        own = {key: value for key, value in table.items() if key in cls.model_fields}
        own["options"] = {key: value for key, value in table.items() if key not in cls.model_fields}
        return own


class DataSection(Section):
    """``[data]``: what to train and choose on.

    Args:
        folder: The data folder; `--data` replaces it.
        format: Its format; recognised where None.
        images: Folder of the pictures; found beside the data where None.
        label_map: Types to rename, such as ``{OTHER = "MISC"}``.
        convention: What stray tags mean in gold.
        train: Name of the split to train on.
        valid: Name of the split that chooses the checkpoint.
        test: Name of the split that is scored once at the end.
    """

    folder: str | None = None
    format: str | None = None
    images: str | None = None
    label_map: dict[str, str] = Field(default_factory=dict)
    convention: Literal["conll", "strict"] = "conll"
    train: str = "train"
    valid: str = "valid"
    test: str = "test"


class KnowledgeSection(Section):
    """``[knowledge]``: what is known about the posts besides what stands in them.

    Args:
        store: The knowledge store; `--knowledge` replaces it. Without one posts have what their file says.
        kinds: What to take from it: kinds, names of providers, or beginnings of a source's key.
        placeholders: What becomes of texts that stand for suspiciously many of the training posts: ``keep``
            says that they are there, ``drop`` leaves them out wherever the run is used.
        drop: Share of the training posts that lose all knowledge, at random, so that the model does not come
            to rely on it.
        drop_except: Posts whose id begins with one of these lose nothing: those of which the knowledge alone
            tells the answer.
    """

    store: str | None = None
    kinds: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: list(KINDS))
    placeholders: Literal["keep", "drop"] = "keep"
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_except: list[str] = Field(default_factory=list)


class EncodingSection(Section):
    """``[encoding]``: see `mner.encoding.EncodingSettings`."""

    max_length: Annotated[int, Field(ge=8)] = 512
    overlap: Annotated[int, Field(ge=0)] = 64
    longest_spelling: Annotated[int, Field(ge=1)] = 24


class AdapterSection(Section):
    """``[adapter]``: train low-rank matrices beside the text encoder's weights instead of these.

    Args:
        rank: Rank r of the matrices.
        alpha: They weigh alpha / r.
        dropout: Dropout on what goes into them.
        targets: How the layers are called that get them; all linear layers where empty.
        norms_and_biases: Whether the encoder's norms and biases are trained too.
        encoder_dropout: Dropout within the encoder; as its configuration says where None. Where its own
            weights stay as they are, it costs more than it brings.
    """

    rank: Annotated[int, Field(ge=1)] = 32
    alpha: Annotated[float, Field(gt=0)] = 64.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: list[str] = Field(default_factory=list)
    norms_and_biases: bool = False
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None


class TrainingSection(Section):
    """``[training]``: how to train.

    Args:
        seed: Sets everything that is random.
        epochs: Passes over the training posts.
        batch_size: Posts a step and process.
        gradient_accumulation: Steps whose gradients are added up before the optimizer moves.
        learning_rate: Of all parameters that `learning_rates` does not name.
        learning_rates: Of groups of parameters: ``text``, ``vision``, ``crf``, ``new``.
        weight_decay: On all but biases, norms and the CRF.
        warmup: Share of the steps in which learning rates rise.
        schedule: What they do then.
        max_gradient_norm: Longer gradients are cut to this.
        precision: ``bfloat16`` computes under autocast; ``auto`` does where there is hardware for it.
        frozen: Groups of parameters that are not trained.
        evaluate_from: First epoch after which the validation posts are scored.
        patience: Stop after so many evaluations without a better one; never where None.
        gradient_checkpointing: Compute activations again instead of keeping them.
        kept_features: Folder in which the vectors of a frozen vision tower are kept for other runs.
        tracker: Also tell this program of losses and scores while the run goes on.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    epochs: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 16
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    learning_rates: dict[Literal["text", "vision", "crf", "new"], Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    frozen: list[Literal["text", "vision", "crf", "new"]] = Field(default_factory=list)
    evaluate_from: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] | None = None
    gradient_checkpointing: bool = False
    kept_features: str | None = None
    tracker: Literal["tensorboard", "wandb", "mlflow"] | None = None

    @model_validator(mode="after")
    def _scored_at_all(self) -> TrainingSection:
        if self.evaluate_from > self.epochs:
            raise ValueError(
                f"evaluate_from of at most the {self.epochs} epochs, or no checkpoint would ever be scored"
            )
        return self


class Recipe(Section):
    """A whole recipe.

    Args:
        title: What the run is, in words.
        model: The system.
        data: What to train on.
        knowledge: What is known about the posts.
        encoding: How posts become tensors.
        adapter: Adapters to train in the text encoder's stead; none where left out.
        training: How to train.
    """

    title: str = ""
    model: ModelSection
    data: DataSection = Field(default_factory=DataSection)
    knowledge: KnowledgeSection = Field(default_factory=KnowledgeSection)
    encoding: EncodingSection = Field(default_factory=EncodingSection)
    adapter: AdapterSection | None = None
    training: TrainingSection = Field(default_factory=TrainingSection)

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain tables, as a file would have them."""
        tables = self.model_dump(exclude_none=True)
        tables["model"].update(tables["model"].pop("options"))
        return tables


# Fields of a model's configuration that follow from data and backbones, and so are not a recipe's matter.
_DERIVED = frozenset(("labels", "text_config", "vision_config", "vocabulary_size", "character_count"))


def model_options(name: str) -> dict[str, Any]:
    """The keys that ``[model]`` may have for a model besides the common ones, with their types.

    Args:
        name: A registered model.
    """
    config = model_named(name).model.config_class
    options: dict[str, Any] = {}
    for parent in reversed(config.__mro__):
        if issubclass(parent, MnerConfig):
            options.update(inspect.get_annotations(parent, eval_str=True))
    fields = {entry.name for entry in dataclasses.fields(config)}
    return {key: hint for key, hint in options.items() if key in fields - _DERIVED}


def read_recipe(path: str | Path, changes: typing.Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: The TOML file.
        changes: Values to set besides, such as ``training.seed=3``; a value is written as TOML writes it,
            and taken as a text where it is not valid TOML.

    Raises:
        RecipeError: It is not there, is no TOML, or has an unknown key or a value of a wrong type.
    """
    tables = read_toml(path, "recipe")
    for change in changes:
        _set(tables, change)
    return check_recipe(tables, str(path))


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Args:
        path: The file.
        what: What it is to be, for the message: a recipe, a table.

    Raises:
        RecipeError: It is not there or is no TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"There is no {what} {shown(path)}.", hint="The folder recipes/ has some of each system."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The {what} {shown(path)} cannot be read.", got=str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML.", got=str(error)) from error


def check_recipe(tables: dict[str, Any], origin: str = "the recipe") -> Recipe:
    """Check a recipe given as tables.

    Raises:
        RecipeError: See `read_recipe`.
    """
    try:
        recipe = Recipe.model_validate(tables)
    except ValidationError as error:
        raise explained(error, origin) from error
    known = model_options(recipe.model.name)
    for key, value in recipe.model.options.items():
        if key not in known:
            common = [name for name in ModelSection.model_fields if name != "options"]
            others = [name for name in registered() if key in model_options(name)]
            raise RecipeError(
                f"{origin}: model.{key} is not a setting of {recipe.model.name}.",
                hint=f"It is one of {', '.join(others)}." if others else _nearest_key(key, [*known, *common]),
            )
        try:
            _adapter(known[key]).validate_python(value, strict=True)
        except ValidationError as error:
            raise RecipeError(
                f"{origin}: model.{key} has a wrong value.",
                expected=_in_words(error.errors()[0]["msg"]),
                got=shown(value),
            ) from error
    Convention(recipe.data.convention)
    if recipe.adapter is not None and "text" in recipe.training.frozen:
        raise RecipeError(
            f"{origin}: adapters are trained in an encoder that training.frozen keeps from being trained.",
            hint="Leave 'text' out of it: beside adapters the encoder's own weights stay as they are.",
        )
    return recipe


@functools.lru_cache(maxsize=256)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    # A whole number is a fine value for a real one, and TOML writes lists for tuples.
    if hint is float or (isinstance(hint, types.UnionType) and float in typing.get_args(hint)):
        hint = hint | int
    return TypeAdapter(hint)


def _set(tables: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise RecipeError(
            "A value to set is not of its form.", expected="section.key=value", got=shown(change)
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for name in names[:-1]:
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise RecipeError(f"{key} cannot be set: {name} is a value, not a table.")
    tables[names[-1]] = value


def explained(error: ValidationError, origin: str, root: type[BaseModel] = Recipe) -> RecipeError:
    """The first complaint of a check, as an error that names the setting and the nearest valid one.

    Args:
        error: What pydantic found.
        origin: The file, for the message.
        root: The model that was checked.
    """
    found = error.errors()
    # A misspelt key is also a missing one; that it is misspelt says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    # Where several kinds of value are allowed, what is wrong with one of the right kind says more.
    if first["type"].endswith("_type") and len(first["loc"]) > 1:
        alike = [one for one in found if one["loc"][:-1] == first["loc"][:-1]]
        first = next((one for one in alike if not one["type"].endswith("_type")), first)
    place = _placed(first["loc"])
    if first["type"] == "extra_forbidden":
        known = sorted(_section_at(root, first["loc"][:-1]).model_fields)
        return RecipeError(
            f"{origin}: there is no setting {place}.", hint=_nearest_key(str(first["loc"][-1]), known)
        )
    if first["type"] == "missing":
        hint = "Every recipe names its model." if root is Recipe else None
        return RecipeError(f"{origin}: {place} is missing.", hint=hint)
    return RecipeError(
        f"{origin}: {place} has a wrong value.",
        expected=_in_words(first["msg"]),
        got=shown(first["input"]),
    )


def _in_words(message: str) -> str:
    """What pydantic expected, to stand behind "Expected:"."""
    for beginning in ("Value error, ", "Input should be ", "Input should "):
        message = message.removeprefix(beginning)
    return re.sub(r"^\w+ should have (.+?)(?: after validation)?, not \d+$", r"\1", message)


def _placed(location: tuple[int | str, ...]) -> str:
    # Tables of a list are counted from one, as people count; which kind of a union it is says nothing.
    parts = [f"{part + 1}" if isinstance(part, int) else part for part in location if "[" not in str(part)]
    return ".".join(parts)


def _section_at(root: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The section that stands at a place of a checked file."""
    section = root
    for part in location:
        found = section.model_fields.get(str(part))
        if found is not None:
            section = _section_in(found.annotation) or section
    return section


def _section_in(hint: Any) -> type[BaseModel] | None:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for part in typing.get_args(hint) if (found := _section_in(part))), None)


def _nearest_key(key: str, known: list[str]) -> str:
    near = nearest(key, known)
    return f"Did you mean {near!r}?" if near else f"There is: {', '.join(sorted(known))}."
