"""From a recipe to a run folder that predicts alone, with the record of how it came about."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import transformers

from mner import __version__
from mner.data import Dataset, read_folder
from mner.data.dataset import labels_of
from mner.encoding import EncodingSettings, Preprocessing, Vocabulary
from mner.encoding.vocabulary import read_vectors
from mner.errors import DataError, RunFolderError, UsageError, shown
from mner.evaluation.scores import Scores, score_posts
from mner.knowledge.store import KnowledgeStore
from mner.knowledge.supplying import KnowledgeSettings, coverage, drop_knowledge, with_placeholders_of
from mner.models import Sources, model_named
from mner.nn import backbones, vision
from mner.nn.processes import processes
from mner.posts import Post
from mner.progress import Reporter, silent
from mner.recognizer import SETTINGS_FILE, Recognizer, make_encoder, read_json, write_json
from mner.training.adapters import add_adapters, merge_adapters, save_adapters, start_adapters
from mner.training.alone import LOCK_FILE, alone_in
from mner.training.processes import is_first, join_processes, predict_together, wait_for_all
from mner.training.recipe import Recipe
from mner.training.trainer import PostTrainer, training_arguments

RECORD_FILE = "run.json"
RESULTS_FILE = "results.json"
CHECKPOINTS = "checkpoints"
TRAINING = "training"
"""What the progress of a training is called."""

Say = Callable[[str], None]


def unsaid(message: str) -> None:
    """Tell nobody."""
    del message


@dataclass
class Run:
    """A finished run.

    Args:
        folder: The run folder.
        recognizer: The recogniser of the best checkpoint.
        record: How it came about, as `run.json` has it.
        test: Scores on the test posts, or None where the data has no test split.
    """

    folder: Path
    recognizer: Recognizer
    record: dict[str, Any]
    test: Scores | None = None


@dataclass
class _Record:
    path: Path
    document: dict[str, Any] = field(default_factory=dict)

    def write(self, **changes: Any) -> None:
        self.document.update(changes)
        if is_first():
            write_json(self.path, self.document)


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    dataset: Dataset | None = None,
    start_from: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Reporter = silent,
    say: Say = unsaid,
) -> Run:
    """Train, choose the checkpoint on the validation posts, score the test posts once, and save.

    Where torchrun started several processes they train together: a batch has `batch_size` posts of each,
    every process returns the same scores, and the first one alone writes and speaks.

    Args:
        recipe: What to do.
        folder: The run folder to write.
        dataset: The data; read from the recipe's folder where None.
        start_from: A run folder whose weights to start from: the encoder, and of the decoder what
            belongs to types of the same name.
        resume: Go on with an interrupted run of the same recipe and data.
        overwrite: Replace a finished run in `folder`.
        progress: Told of every step.
        say: Told what happens, in sentences.

    Raises:
        RunFolderError: The folder has a finished run, one of another recipe is to be resumed, or another
            process is training into it.
        DataError: The data cannot be used.
    """
    with ExitStack() as held:
        return _train(recipe, Path(folder), dataset, start_from, resume, overwrite, progress, say, held)


def _train(
    recipe: Recipe,
    folder: Path,
    dataset: Dataset | None,
    start_from: str | Path | None,
    resume: bool,
    overwrite: bool,
    progress: Reporter,
    say: Say,
    held: ExitStack,
) -> Run:
    join_processes()
    if not is_first():
        progress, say = silent, unsaid
    if dataset is None:
        dataset = _read_data(recipe)
    if is_first():
        record = _open_record(recipe, folder, dataset, start_from, held, resume=resume, overwrite=overwrite)
        wait_for_all()
    else:
        wait_for_all()
        record = _Record(folder / RECORD_FILE, read_json(folder / RECORD_FILE))
    record.write(processes=processes())
    held.enter_context(_threads_of(record))
    dataset, knowledge = _with_knowledge(recipe, dataset, record, say)
    train_posts = _annotated(dataset, recipe.data.train)
    valid_posts = _annotated(dataset, recipe.data.valid)
    transformers.set_seed(recipe.training.seed)
    source = Recognizer.from_pretrained(start_from, device="cpu") if start_from is not None else None
    recognizer = build(recipe, train_posts, source.encoder.vocabulary if source is not None else None)
    recognizer.knowledge = knowledge
    if source is not None:
        kept = recognizer.model.adopt(source.model)
        say(f"Started from {start_from}: {kept} of {len(recognizer.model.state_dict())} tensors taken over.")
        record.write(tensors_taken_over=kept)
    parameters = sum(parameter.numel() for parameter in recognizer.model.parameters())
    say(
        f"{recipe.model.name} with {parameters / 1e6:.1f} M parameters; "
        f"{len(train_posts)} posts to train on, {len(valid_posts)} to choose on; "
        f"types {', '.join(recognizer.labels)}."
    )
    for name in recipe.training.frozen:
        for key, parameter in recognizer.model.named_parameters():
            if recognizer.model.group_of(key) == name:
                parameter.requires_grad_(False)
    if recipe.adapter is not None:
        _adapt(recipe, recognizer.model, start_from is not None, say)
    pictures = recognizer.encoder.pictures
    if pictures is not None and recipe.training.kept_features is not None:
        pictures.features.folder = Path(recipe.training.kept_features)
    _fit(recipe, recognizer, train_posts, valid_posts, folder, record, resume, progress, say)
    if pictures is not None:
        if is_first():
            pictures.features.save()
        record.write(pictures=dict(pictures.counts))
        say(pictures.summary() or "Every post read had a picture.")
    recognizer.model.eval()
    if recipe.adapter is not None:
        if is_first():
            save_adapters(recognizer.model, folder, recipe.model.backbone)
        merge_adapters(recognizer.model)
    if is_first():
        recognizer.save_pretrained(folder)
    run = Run(folder, recognizer, record.document)
    if recipe.data.test in dataset.splits:
        run.test = _score_once(recipe, recognizer, dataset.split(recipe.data.test), folder, progress)
    record.write(status="finished", finished=_now())
    wait_for_all()
    if is_first():
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return run


@contextmanager
def _threads_of(record: _Record) -> Iterator[None]:
    """Compute with as many threads as the run began with: sums in another order are other bits."""
    before = torch.get_num_threads()
    begun_with = record.document.get("machine", {}).get("threads", before)
    if begun_with == before:
        yield
        return
    torch.set_num_threads(begun_with)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _adapt(recipe: Recipe, model: Any, started: bool, say: Say) -> None:
    section = recipe.adapter
    assert section is not None
    # What was taken over from another run goes into the adapters: under them stays the backbone as it is.
    learnt = {name: tensor.clone() for name, tensor in model.state_dict().items()} if started else {}
    if started:
        backbones.load_weights(model.text_encoder, recipe.model.backbone)
    trained = add_adapters(model, section)
    say(f"Adapters of rank {section.rank}: {trained / 1e6:.2f} M parameters of the encoder are trained.")
    if started:
        kept = start_adapters(model, learnt)
        say(f"They start with {kept:.0%} of the energy of what the encoder had learnt.")


def build(recipe: Recipe, train_posts: Sequence[Post], vocabulary: Vocabulary | None = None) -> Recognizer:
    """A new recogniser as a recipe describes it, its backbones filled, not yet trained.

    Args:
        recipe: The recipe.
        train_posts: The posts that give labels and, for models that read words, the vocabulary.
        vocabulary: A vocabulary to keep instead.
    """
    section = recipe.model
    labels = labels_of(train_posts)
    if not labels:
        raise DataError(
            "The training posts have no entities.",
            expected="annotated posts with at least one type",
            hint="`mner data check` shows what a data folder contains.",
        )
    model_class = model_named(section.name).model
    sources = Sources(backbone=section.backbone, vision_backbone=section.vision_backbone)
    reads_words = hasattr(model_class.config_class, "vocabulary_size")
    if reads_words:
        if section.vectors is not None:
            sources.vectors = read_vectors(Path(section.vectors), section.most_vectors)
        sources.vocabulary = vocabulary or Vocabulary.of_posts(
            train_posts, extra_words=sources.vectors[0] if sources.vectors is not None else ()
        )
    elif section.vectors is not None:
        raise UsageError(f"The model {section.name} reads no word vectors; leave model.vectors out.")
    known = (post.known("relevance") for post in train_posts)
    sources.relevance = [one.score for one in known if one is not None and one.score is not None]
    options: dict[str, Any] = {"labels": list(labels), **section.options}
    if "word_shape" not in options and not reads_words:
        options["word_shape"] = backbones.is_uncased(backbones.load_tokenizer(section.backbone))
    model = model_class.from_sources(options, sources)
    preprocessing = None
    if model.inputs.picture is not None and section.vision_backbone is not None:
        preprocessing = Preprocessing(
            *vision.load_normalisation(section.vision_backbone, model.config.vision_config)
        )
    encoder = make_encoder(
        model,
        EncodingSettings(**recipe.encoding.model_dump()),
        tokenizer_from=section.backbone if model.inputs.subwords else None,
        vocabulary=sources.vocabulary,
        preprocessing=preprocessing,
    )
    return Recognizer(model, encoder)


def _fit(
    recipe: Recipe,
    recognizer: Recognizer,
    train_posts: Sequence[Post],
    valid_posts: Sequence[Post],
    folder: Path,
    record: _Record,
    resume: bool,
    progress: Reporter,
    say: Say,
) -> None:
    section = recipe.training
    curve: list[dict[str, Any]] = list(record.document.get("curve", []))
    started = time.monotonic() - record.document.get("seconds", 0)

    def seconds() -> float:
        return round(time.monotonic() - started, 1)

    def on_scores(step: int, epoch: float, scores: Scores) -> None:
        counts = scores.overall
        say(
            f"Epoch {epoch:g}: F1 {100 * counts.f1:.2f} on the validation posts "
            f"(precision {100 * counts.precision:.2f}, recall {100 * counts.recall:.2f}; "
            f"convention {scores.convention})."
        )
        curve[:] = [point for point in curve if point["step"] < step]
        curve.append({"step": step, "epoch": epoch, **counts.as_dict()})
        # An interrupted run goes on from here, and so does its time.
        record.write(curve=curve, seconds=seconds())

    arguments = training_arguments(section, folder / CHECKPOINTS)
    batches = -(-len(train_posts) // (section.batch_size * processes()))
    steps = -(-batches // section.gradient_accumulation) * section.epochs
    with progress(TRAINING, steps) as advance:
        trainer = PostTrainer(
            recognizer,
            section,
            arguments,
            train_posts,
            valid_posts,
            recipe.data.convention,
            advance,
            on_scores,
        )
        checkpoint = (
            transformers.trainer_utils.get_last_checkpoint(str(folder / CHECKPOINTS)) if resume else None
        )
        if resume and checkpoint is None:
            say("No checkpoint had been written yet; starting from the beginning.")
        trainer.go_on(checkpoint)
        # What is scored next is what will be loaded: the model as it is saved, without autocast around it.
        trainer.end_autocast()
    best = max(curve, key=lambda point: point["f1"])
    losses = [
        {"step": entry["step"], "loss": entry["loss"]}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    record.write(
        chosen=best,
        losses=losses,
        seconds=seconds(),
        precision="bfloat16" if arguments.bf16 else "float32",
    )


def _read_data(recipe: Recipe) -> Dataset:
    section = recipe.data
    if section.folder is None:
        raise UsageError(
            "The recipe names no data.",
            expected="data.folder in the recipe, or --data FOLDER",
        )
    return read_folder(
        section.folder, format=section.format, images=section.images, label_map=section.label_map
    )


def _with_knowledge(
    recipe: Recipe, dataset: Dataset, record: _Record, say: Say
) -> tuple[Dataset, KnowledgeSettings]:
    section = recipe.knowledge
    settings = KnowledgeSettings(wanted=tuple(section.kinds))
    splits = dict(dataset.splits)
    # The split may go by another of its names.
    trained_on = dataset.split(recipe.data.train)
    train_name = next(name for name, posts in splits.items() if posts is trained_on)
    if section.store is not None:
        with KnowledgeStore(section.store, read_only=True) as store:
            splits = {name: list(settings.supply(posts, store)) for name, posts in splits.items()}
    found = with_placeholders_of(settings, splits[train_name])
    for text in found.placeholders:
        hint = "" if section.placeholders == "drop" else ' knowledge.placeholders = "drop" leaves it out.'
        say(f"The same text stands for many training posts: {shown(text)}.{hint}")
    if section.placeholders == "drop":
        settings = found
        splits = {name: [settings.without_placeholders(p) for p in posts] for name, posts in splits.items()}
    covered = {name: coverage(posts) for name, posts in splits.items()}
    for name, counts in covered.items():
        if counts:
            parts = ", ".join(f"{kind} {count}" for kind, count in counts.items())
            say(f"Known about the {len(splits[name])} posts of {name}: {parts}.")
    dropped = 0
    if section.drop:
        whole = splits[train_name]
        splits[train_name] = drop_knowledge(whole, section.drop, recipe.training.seed, section.drop_except)
        dropped = sum(left != post for left, post in zip(splits[train_name], whole, strict=True))
        say(f"{dropped} of the {len(whole)} posts to train on have lost their knowledge.")
    placeholders = list(found.placeholders)
    record.write(knowledge={"coverage": covered, "placeholders": placeholders, "dropped": dropped})
    return Dataset(dataset.name, splits, dataset.sources), settings


def _annotated(dataset: Dataset, split: str) -> list[Post]:
    posts = dataset.split(split)
    bare = next((post for post in posts if not post.is_annotated), None)
    if bare is not None:
        raise DataError(
            f"The split {split} of {dataset.name} has a post without gold: {shown(bare.id or bare.text)}.",
            expected="tags or entities for every post",
        )
    if not posts:
        raise DataError(f"The split {split} of {dataset.name} is empty.")
    return posts


def _score_once(
    recipe: Recipe, recognizer: Recognizer, posts: Sequence[Post], folder: Path, progress: Reporter
) -> Scores:
    predicted = predict_together(recognizer, posts, progress=progress)
    scores = score_posts(posts, predicted, recipe.data.convention)
    if is_first():
        write_json(folder / RESULTS_FILE, {recipe.data.test: scores.as_dict()})
    return scores


def _open_record(
    recipe: Recipe,
    folder: Path,
    dataset: Dataset,
    start_from: str | Path | None,
    held: ExitStack,
    *,
    resume: bool,
    overwrite: bool,
) -> _Record:
    held.enter_context(alone_in(folder))
    record = _Record(folder / RECORD_FILE)
    identity = {
        "recipe": recipe.as_dict(),
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "start_from": None if start_from is None else str(start_from),
    }
    interrupted = is_interrupted(folder)
    finished = (folder / SETTINGS_FILE).is_file() and not interrupted
    if finished and not overwrite:
        raise RunFolderError(
            f"{folder} has a finished run already.",
            hint="Choose another --output, or give --overwrite to replace it.",
        )
    if interrupted and not resume and not overwrite:
        raise RunFolderError(
            f"{folder} has an interrupted run.",
            hint="Give --resume to go on with it, or --overwrite to start anew.",
        )
    if resume and interrupted:
        before = read_json(record.path)
        changed = [key for key, value in identity.items() if before.get(key) != value]
        if changed:
            raise RunFolderError(
                f"The interrupted run in {folder} was of another {' and '.join(changed)}.",
                expected="the same recipe and data as before",
                hint="Choose another --output, or give --overwrite to start anew.",
            )
        record.document = before
        return record
    if resume and not interrupted and not finished:
        raise RunFolderError(f"There is no run to resume in {folder}.", hint="Leave --resume out.")
    if overwrite and (finished or interrupted):
        _empty(folder)
    record.write(**identity, status="running", started=_now(), versions=versions(), machine=machine())
    return record


def is_interrupted(folder: Path) -> bool:
    """Whether a folder has a run that did not come to its end.

    The model is saved before the test posts are scored, so that a folder may have the one and lack the other.

    Args:
        folder: The folder.
    """
    if not (folder / RECORD_FILE).is_file():
        return False
    try:
        record = read_json(folder / RECORD_FILE)
    except RunFolderError:
        record = None
    if not isinstance(record, dict):
        # Half a record says nothing; a model is saved after the training.
        return not (folder / SETTINGS_FILE).is_file()
    return record.get("status") != "finished"


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


def versions() -> dict[str, str]:
    """The versions of what a result depends on."""
    found = {"mner": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "tokenizers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    # Known where the package runs from a checkout, as it does for everyone who changes it.
    commit = git_says("rev-parse", "--short=12", "HEAD")
    if commit:
        found["commit"] = commit
    return found


def machine() -> dict[str, Any]:
    """What a run was computed on."""
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def git_says(*words: str) -> str | None:
    """What git says of the folder of the package's code, stripped.

    Args:
        words: A git command and its arguments.

    Returns:
        What it writes to stdout; None where there is no git, no checkout, or no answer in twenty seconds.
    """
    package = Path(__file__).parents[1]
    try:
        said = subprocess.run(
            ["git", "-C", str(package), *words], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
