"""The recogniser: a model, its encoder and their settings, saved, loaded and predicted with as one."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, overload

import torch
from safetensors import SafetensorError

from mner import __version__
from mner.decoding import decode
from mner.encoding import Batch, EncodingSettings, PostEncoder, Preprocessing, Vocabulary, sorted_batches
from mner.errors import RunFolderError, UsageError, shown
from mner.exposing import Arrays, exposed_arrays
from mner.knowledge.attaching import KINDS
from mner.knowledge.supplying import KnowledgeSettings
from mner.models import MnerModel, Output, model_named
from mner.nn import backbones, vision
from mner.nn.crf import ChainCRF
from mner.packing import Base, load_packed
from mner.posts import Entity, Post
from mner.pretrained import BUNDLED, DEFAULT, quiet_loading
from mner.progress import Reporter, silent
from mner.reading import TextReader

FORMAT = 1
SETTINGS_FILE = "recognizer.json"
VOCABULARY_FILE = "vocabulary.json"
PREPROCESSOR_FILE = "preprocessor.json"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

# Posts are sorted by length within a window of the stream, and encoded in batches of at most so many
# posts and cells (posts times longest).
STREAM_WINDOW = 1024
BATCH_POSTS = 32
BATCH_CELLS = 16_384

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Recognizer:
    """Recognises entities in posts.

    Args:
        model: The model.
        encoder: The encoder of posts that fits it.
        knowledge: Which knowledge it was trained with; `KnowledgeSettings.supply` gives posts the same.
        temperature: Scores are divided by it before they become confidences, so that these are calibrated;
            `mner.evaluation.temperature` finds it.
    """

    def __init__(
        self,
        model: MnerModel,
        encoder: PostEncoder,
        knowledge: KnowledgeSettings | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.model = model
        self.temperature = temperature
        self.encoder = encoder
        self.knowledge = knowledge or KnowledgeSettings(wanted=KINDS)
        if encoder.pictures is not None and encoder.pictures.inputs.features:
            tower: Any = model.vision_encoder
            encoder.pictures.tower = vision.KeptTower(tower)

    @property
    def labels(self) -> tuple[str, ...]:
        """The types that can be recognised."""
        return self.encoder.labels

    @property
    def name(self) -> str:
        """The registered name of the model."""
        return self.model.registered_name

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def picture_summary(self) -> str | None:
        """How many posts had no picture, and why; None where all had one or the model sees none."""
        return self.encoder.pictures.summary() if self.encoder.pictures is not None else None

    @functools.cached_property
    def text_reader(self) -> TextReader:
        """Reads what stands in pictures, for posts about whose pictures nothing else is known."""
        return TextReader(self.encoder.inputs)

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, text: str | Post, *, image: Any = None, alt: str | None = None
    ) -> list[Entity]: ...

    @overload
    def __call__(self, text: Sequence[str | Post]) -> list[list[Entity]]: ...

    def __call__(
        self,
        text: str | Post | Sequence[str | Post],
        *,
        image: Any = None,
        alt: str | None = None,
    ) -> list[Entity] | list[list[Entity]]:
        """Recognise the entities of one post, or of several.

        A picture that is given here is read, where the model reads what stands in pictures, nothing else is
        said about this one, and the extra ``knowledge`` is installed. `predict` takes posts as they are.

        Args:
            text: A text or a `Post`, or a list of those.
            image: The post's picture: a local path or its bytes. For one text alone.
            alt: The picture's alternative text. For one text alone.

        Returns:
            The entities by ascending start; a list of such lists for several posts.
        """
        if isinstance(text, str | Post):
            post = _as_post(text, image, alt)
            return self.predict([post if image is None else self.text_reader.add(post)])[0]
        if image is not None or alt is not None:
            raise UsageError(
                "A picture was given with several posts.",
                expected="one text with its picture, or a list of Post objects that have theirs",
            )
        return self.predict([_as_post(one, None, None) for one in text])

    def predict(
        self,
        posts: Sequence[Post],
        *,
        batch_size: int = BATCH_POSTS,
        progress: Reporter = silent,
    ) -> list[list[Entity]]:
        """Recognise the entities of posts.

        Args:
            posts: The posts.
            batch_size: Most posts computed at once; the result does not depend on it.
            progress: Told of every post that is done.

        Returns:
            For each post its entities by ascending start.
        """
        found: list[list[Entity]] = [[] for _ in posts]
        # Visiting every module to tell it so costs a tenth of the time of a single post.
        was_training = self.model.training
        if was_training:
            self.model.eval()
        try:
            with progress("recognising", len(posts)) as advance:
                for indices in sorted_batches(self.encoder.lengths(posts), batch_size, BATCH_CELLS):
                    chosen = [posts[index] for index in indices]
                    for index, entities in zip(indices, self._recognise(chosen), strict=True):
                        found[index] = entities
                    advance(len(indices))
        finally:
            if was_training:
                self.model.train()
        return found

    def stream(
        self,
        posts: Iterable[Post],
        *,
        batch_size: int = BATCH_POSTS,
        window: int = STREAM_WINDOW,
    ) -> Iterator[list[Entity]]:
        """Recognise the entities of any number of posts in constant memory, in their order.

        Args:
            posts: The posts, read as they are needed.
            batch_size: Most posts computed at once.
            window: Posts read ahead and sorted by length.
        """
        remaining = iter(posts)
        while chunk := list(itertools.islice(remaining, window)):
            yield from self.predict(chunk, batch_size=batch_size)

    def exposed(self, posts: Sequence[Post]) -> list[Arrays]:
        """What the model shows of posts, as named arrays; see `mner.exposing.exposed_arrays`.

        Args:
            posts: The posts, read as one batch.

        Returns:
            For each post its arrays by name.
        """
        return exposed_arrays(self.model, self.encoder, posts)

    @torch.inference_mode()
    def _recognise(self, posts: Sequence[Post]) -> list[list[Entity]]:
        batch = self.encoder.encode(posts).to(self.device)
        spans = self.decode(self.model(batch))
        return [list(post.to_entities(found)) for post, found in zip(posts, spans, strict=True)]

    def decode(self, output: Output) -> list[list[Any]]:
        """What the model said about a batch, as spans of words with probabilities."""
        encoder = self.encoder
        return decode(output, encoder.labels, encoder.tags, encoder.scheme.name, self.temperature)

    def encode(self, posts: Sequence[Post], **options: Any) -> Batch:
        """Posts as a batch on the model's device."""
        return self.encoder.encode(posts, **options).to(self.device)

    def to(self, device: str | torch.device | None = None, dtype: str | None = None) -> Self:
        """Move the model; the chain of a CRF stays in float32 whatever the rest is.

        Args:
            device: ``cpu``, ``cuda``, ``cuda:1`` …; ``auto`` takes an accelerator where there is one.
            dtype: ``float32`` or ``bfloat16``.

        Raises:
            UsageError: There is no such device here, or no such type.
        """
        if device is not None:
            self.model.to(_checked_device(device))  # type: ignore[arg-type]
        if dtype is not None:
            self.model.to(_checked_type(dtype))  # type: ignore[arg-type]
            for module in self.model.modules():
                if isinstance(module, ChainCRF):
                    module.float()
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that predicts alone: weights, configuration, tokenizer, vocabulary, settings.

        Args:
            folder: Where to; made if it is not there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_loading():
            self.model.save_pretrained(folder)
        if self.encoder.tokenizer is not None:
            self.encoder.tokenizer.save_pretrained(folder)
        if self.encoder.vocabulary is not None:
            vocabulary = {
                "words": list(self.encoder.vocabulary.words),
                "characters": list(self.encoder.vocabulary.characters),
            }
            write_json(folder / VOCABULARY_FILE, vocabulary)
        if self.encoder.pictures is not None:
            write_json(folder / PREPROCESSOR_FILE, dataclasses.asdict(self.encoder.pictures.preprocessing))
        needed = [CONFIG_FILE, WEIGHTS_FILE]
        needed += ["tokenizer.json", "tokenizer_config.json"] if self.encoder.tokenizer is not None else []
        needed += [VOCABULARY_FILE] if self.encoder.vocabulary is not None else []
        needed += [PREPROCESSOR_FILE] if self.encoder.pictures is not None else []
        write_json(
            folder / SETTINGS_FILE,
            {
                "format": FORMAT,
                "mner": __version__,
                "model": self.name,
                "encoding": dataclasses.asdict(self.encoder.settings),
                "knowledge": dataclasses.asdict(self.knowledge),
                "temperature": self.temperature,
                "files": {name: (folder / name).stat().st_size for name in needed},
            },
        )

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Send it with a model card to a hub; see `mner.publishing.push_to_hub`.

        Args:
            name: Its name there, as ``owner/name``.
            options: What that function takes besides.

        Returns:
            The address of what was sent.
        """
        from mner.publishing import push_to_hub

        return push_to_hub(self, name, **options)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str = "auto", dtype: str = "float32"
    ) -> Recognizer:
        """Load a folder that `save_pretrained`, a training run or `mner export --adapter` wrote.

        Args:
            folder: The folder; ``default`` is the recogniser that comes with this package.
            device: Where to compute; ``auto`` takes an accelerator where there is one.
            dtype: ``float32`` or ``bfloat16``.

        Raises:
            RunFolderError: The folder is not there, or a file of it is missing or damaged.
            MissingExtraError: The package with the encoder of a packed folder is not installed.
            BackboneError: The encoder in that package is another one.
            UsageError: There is no such device here, or no such type.
        """
        # Before anything is loaded for nothing.
        _checked_device(device)
        _checked_type(dtype)
        folder = BUNDLED if str(folder) == DEFAULT else Path(folder)
        settings = checked_settings(folder)
        model_class = model_named(settings["model"]).model
        if "base" in settings:
            place = Base(**settings["base"]).locate()
            model = load_packed(folder, model_class, place)
        else:
            place = folder
            model = _load_model(folder, model_class)
        encoder = make_encoder(
            model,
            EncodingSettings(**settings["encoding"]),
            tokenizer_from=str(place) if model.inputs.subwords else None,
            vocabulary=_read_vocabulary(folder) if VOCABULARY_FILE in settings["files"] else None,
            preprocessing=_read_preprocessing(folder) if PREPROCESSOR_FILE in settings["files"] else None,
        )
        knowledge = KnowledgeSettings(
            **{name: tuple(values) for name, values in settings["knowledge"].items()}
        )
        recognizer = cls(model.eval(), encoder, knowledge, settings.get("temperature", 1.0))
        return recognizer.to(device, None if dtype == "float32" else dtype)


def _checked_device(name: str | torch.device) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # What a build of torch without that kind of device raises differs from kind to kind.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"There is no device {shown(str(name))} here.",
            expected="auto, cpu, or one that both torch and the machine have, such as cuda:1",
            got=str(error).splitlines()[0][:100],
        ) from error
    return device


def _checked_type(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise UsageError("A model cannot be of that type.", expected=" or ".join(_DTYPES), got=shown(name))
    return _DTYPES[name]


def _load_model(folder: Path, model_class: type[MnerModel]) -> MnerModel:
    try:
        with quiet_loading():
            return model_class.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise RunFolderError(
            f"The model in {folder} cannot be loaded.",
            expected=f"{CONFIG_FILE} and {WEIGHTS_FILE} as `mner train` wrote them",
            got=shown(str(error), 160),
        ) from error


def make_encoder(
    model: MnerModel,
    settings: EncodingSettings,
    *,
    tokenizer_from: str | None,
    vocabulary: Vocabulary | None,
    preprocessing: Preprocessing | None = None,
) -> PostEncoder:
    """The encoder of posts that fits a model.

    Args:
        model: The model.
        settings: How to encode.
        tokenizer_from: A folder or hub name with the tokenizer, for models that read sub-words.
        vocabulary: For models that read words.
        preprocessing: For models that see pictures; what is usual for their kind of tower where None.
    """
    tokenizer = backbones.load_tokenizer(tokenizer_from) if tokenizer_from is not None else None
    capacity = None
    if tokenizer is not None:
        capacity = backbones.capacity_of(model.config.text_config, tokenizer)
    inputs = model.inputs
    if inputs.picture is not None and preprocessing is None:
        preprocessing = Preprocessing(*vision.usual_normalisation(model.config.vision_config))
    return PostEncoder(
        model.config.labels,
        model.config.scheme,
        inputs,
        settings,
        tokenizer,
        vocabulary,
        capacity,
        preprocessing,
    )


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(
            f"{path.parent} has no {path.name}.",
            expected="a folder that `mner train` wrote",
            hint="Name the folder of a finished run, or train again.",
        ) from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read.", expected="a JSON file", got=str(error)) from error


def checked_settings(folder: Path) -> dict[str, Any]:
    """The settings of a saved recogniser, whose files are there.

    Raises:
        RunFolderError: The folder is not there, or a file of it is missing or of another size.
    """
    if not folder.is_dir():
        raise RunFolderError(
            f"There is no run folder {shown(folder)}.",
            hint="`mner train RECIPE.toml` makes one.",
        )
    settings = read_json(folder / SETTINGS_FILE)
    wanted = {"format", "model", "encoding", "knowledge", "files"}
    if not isinstance(settings, dict) or not wanted <= settings.keys():
        raise RunFolderError(f"{folder / SETTINGS_FILE} is not the settings of a recogniser.")
    if settings["format"] != FORMAT:
        raise RunFolderError(
            f"{folder} was written by another version of mner ({settings.get('mner')}).",
            expected=f"format {FORMAT}",
            got=f"format {settings['format']}",
            hint="Use that version, or train again.",
        )
    for name, size in settings["files"].items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise RunFolderError(
                f"The run folder {folder} is {'incomplete' if found is None else 'damaged'}: {name}.",
                expected=f"{size} bytes",
                got="no such file" if found is None else f"{found} bytes",
                hint="Copy the folder again, or train again.",
            )
    return settings


def _read_vocabulary(folder: Path) -> Vocabulary:
    document = read_json(folder / VOCABULARY_FILE)
    return Vocabulary(words=tuple(document["words"]), characters=tuple(document["characters"]))


def _read_preprocessing(folder: Path) -> Preprocessing:
    document = read_json(folder / PREPROCESSOR_FILE)
    return Preprocessing(mean=tuple(document["mean"]), deviation=tuple(document["deviation"]))


def _as_post(text: str | Post, image: Any, alt: str | None) -> Post:
    given = {"image": Path(image) if isinstance(image, str) else image, "alt": alt}
    if isinstance(text, str):
        return Post.from_text(text, **given)
    # What is not given stays as the post has it.
    return text.with_fields(**{name: value for name, value in given.items() if value is not None})
