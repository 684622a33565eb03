"""A recogniser for others: a model card made from what is known about a run, and its way to a hub."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, ModelCard, ModelCardData

from mner.errors import MnerError, shown
from mner.models import model_named

if TYPE_CHECKING:
    from mner.recognizer import Recognizer

CARD_FILE = "README.md"
# What a training run leaves beside the weights: where it was trained and how it scored.
RUN_FILE, RESULTS_FILE = "run.json", "results.json"


class PublishingError(MnerError):
    """A hub refused what was sent to it, or could not be reached."""


def model_card(recognizer: Recognizer, run: Path | None = None, *, name: str, license: str | None) -> str:
    """The card of a recogniser: what it is, what it was trained on, how it scores, how it is used, limits.

    Args:
        recognizer: The recogniser.
        run: The folder of the run that made it, for what it was trained on and how it scored.
        name: What it is called.
        license: The licence under which it is given away, as hubs abbreviate it; not said where None.
    """
    registration = model_named(recognizer.name)
    record = _read(run, RUN_FILE)
    recipe = record.get("recipe", {})
    data = record.get("data", {}).get("name")
    scores = _scores(_read(run, RESULTS_FILE), record)
    metadata = ModelCardData(
        library_name="mner",
        pipeline_tag="token-classification",
        tags=["named-entity-recognition", "multimodal", "social-media", recognizer.name],
        license=license,
        metrics=["precision", "recall", "f1"] if scores else None,
    )
    backbone = recipe.get("model", {}).get("backbone")
    lines = [
        f"# {name}",
        f"Recognises named entities in posts: {', '.join(recognizer.labels)}. The model is "
        f"`{recognizer.name}` ({registration.summary}; {registration.source}).",
        "## Use",
        "```python\nfrom mner import Recognizer\n\n"
        f'recognizer = Recognizer.from_pretrained("path/to/{name.split("/")[-1]}")\n'
        'recognizer("Kawhi Leonard wins in Toronto")\n```',
        "## What it reads",
        _reads(recognizer),
        "## Training",
        f"Trained on {data or 'data that the run does not name'}"
        + (f", from the encoder `{backbone}`" if backbone else "")
        + (f", by the recipe “{recipe['title']}”" if recipe.get("title") else "")
        + ".",
    ]
    if scores:
        rows = [f"| {what} | {p:.1f} | {r:.1f} | {f:.1f} |" for what, p, r, f in scores]
        table = ["| | precision | recall | F1 |", "|---|---|---|---|", *rows]
        lines += ["## Scores", "\n".join(table)]
        lines.append("Exact span and type, micro-averaged; stray I- tags in gold as the row says.")
    lines += [
        "## Limits",
        "It finds the types above and no others, in writing like that of its training posts. Confidence is "
        "the probability of exactly the span and its type"
        + (f", at a temperature of {recognizer.temperature:.3f}." if recognizer.temperature != 1 else ".")
        + " Posts are their authors'; what is recognised in them can concern people who did not ask for it.",
    ]
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n"


def _reads(recognizer: Recognizer) -> str:
    inputs = recognizer.encoder.inputs
    said = ["The text of the post."]
    if inputs.knowledge:
        kinds = dict.fromkeys(
            kind for name in inputs.knowledge for kind in inputs.alternatives.get(name, (name,))
        )
        said.append(f"What is said about its picture, where there is any: {', '.join(kinds)}.")
    if inputs.picture is not None:
        said.append("The picture of the post; one without is read too.")
    return " ".join(said)


def _read(run: Path | None, name: str) -> dict[str, Any]:
    if run is None or not (run / name).is_file():
        return {}
    try:
        found = json.loads((run / name).read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _scores(results: dict[str, Any], record: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    rows = []
    for split, of_split in {"valid": record.get("chosen"), **results}.items():
        if not isinstance(of_split, dict):
            continue
        if "f1" in of_split:
            rows.append((split, of_split))
        for convention in ("conll", "strict"):
            found = of_split.get(convention)
            if isinstance(found, dict) and "f1" in found.get("overall", {}):
                rows.append((f"{split}, {convention}", found["overall"]))
        if "overall" in of_split:
            rows.append((f"{split}, {of_split.get('convention', 'conll')}", of_split["overall"]))
    return [
        (what, 100 * float(of["precision"]), 100 * float(of["recall"]), 100 * float(of["f1"]))
        for what, of in rows
    ]


def save_card(recognizer: Recognizer, folder: Path, *, name: str, license: str | None = None) -> Path:
    """Write the card into a recogniser's folder.

    Args:
        recognizer: The recogniser.
        folder: Its folder; what a run left there goes into the card.
        name: What it is called.
        license: See `model_card`.

    Returns:
        The card's file.
    """
    card = folder / CARD_FILE
    ModelCard(model_card(recognizer, folder, name=name, license=license)).save(card)
    return card


def push_to_hub(
    recognizer: Recognizer,
    name: str,
    *,
    run: Path | None = None,
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Send a recogniser with its card to a hub.

    Args:
        recognizer: The recogniser.
        name: Its name there, as ``owner/name``.
        run: The folder of the run that made it, for the card; nothing else of it is sent.
        private: Whether a new repository is seen by its owner alone.
        license: The licence under which it is given away, as hubs abbreviate it.
        token: The hub's token; the one kept on this machine where None.
        endpoint: The hub; the usual one where None.

    Returns:
        The address of what was sent.

    Raises:
        PublishingError: The hub refused it or could not be reached.
    """
    api = HfApi(endpoint=endpoint, token=token)
    with tempfile.TemporaryDirectory(prefix="mner-") as made:
        folder = Path(made)
        recognizer.save_pretrained(folder)
        card = model_card(recognizer, run, name=name, license=license)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name, folder_path=folder, commit_message="A recogniser of named entities"
            )
        except (OSError, ValueError) as error:  # all errors of the hub's library are one of the two
            raise PublishingError(
                f"{name} could not be sent to the hub.",
                got=shown(str(error), 200),
                hint="Is the name right, and does the token allow writing?",
            ) from error
    return str(commit.commit_url)
