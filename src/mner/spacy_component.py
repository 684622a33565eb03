"""A component of spaCy pipelines: ``nlp.add_pipe("mner", config={"model": "runs/bert-crf"})``.

Found by spaCy through the entry point group ``spacy_factories``, and imported only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import filter_spans, minibatch

from mner.errors import UsageError, did_you_mean
from mner.posts import Entity, Post
from mner.recognizer import Recognizer

ALIGNMENTS = ("strict", "contract", "expand")

# What a document may say about its picture, before it comes to the component.
for _name in ("mner_image", "mner_alt"):
    if not Doc.has_extension(_name):
        Doc.set_extension(_name, default=None)


@Language.factory(
    "mner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": "default",
        "device": "auto",
        "dtype": "float32",
        "alignment": "expand",
        "keep": False,
        "spans_key": "mner",
    },
)
def make_component(
    nlp: Language,
    name: str,
    model: str,
    device: str,
    dtype: str,
    alignment: str,
    keep: bool,
    spans_key: str,
) -> MnerComponent:
    """The component; spaCy calls this with the pipeline's configuration.

    Args:
        nlp: The pipeline.
        name: What the component is called in it.
        model: A run folder, or the name of a recogniser.
        device: Where to compute.
        dtype: ``float32`` or ``bfloat16``.
        alignment: What becomes of an entity whose borders fall inside tokens: ``expand`` takes those tokens
            whole, ``contract`` leaves them out, ``strict`` leaves the entity out.
        keep: Whether entities that are there already stay, before those found here.
        spans_key: Under which key of ``doc.spans`` the entities stand with their scores.
    """
    del nlp, name
    recognizer = Recognizer.from_pretrained(model, device=device, dtype=dtype)
    return MnerComponent(recognizer, alignment=alignment, keep=keep, spans_key=spans_key)


class MnerComponent:
    """Fills ``doc.ents``, and ``doc.spans`` with the scores.

    A document's picture is what ``doc._.mner_image`` (a path, or bytes) and ``doc._.mner_alt`` say.

    Args:
        recognizer: The recogniser.
        alignment: See `make_component`.
        keep: See `make_component`.
        spans_key: See `make_component`.

    Raises:
        UsageError: There is no such alignment.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        alignment: str = "expand",
        keep: bool = False,
        spans_key: str = "mner",
    ) -> None:
        if alignment not in ALIGNMENTS:
            raise UsageError(
                f"Entities cannot be aligned as {alignment!r}.", hint=did_you_mean(alignment, ALIGNMENTS)
            )
        self.recognizer = recognizer
        self.alignment = alignment
        self.keep = keep
        self.spans_key = spans_key

    def __call__(self, doc: Doc) -> Doc:
        """One document."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Any number of documents, `batch_size` at a time."""
        for docs in minibatch(stream, batch_size):
            answers = self.recognizer.predict([_post(doc) for doc in docs])
            for doc, entities in zip(docs, answers, strict=True):
                self._set(doc, entities)
                yield doc

    def _set(self, doc: Doc, entities: Sequence[Entity]) -> None:
        found, scores = [], {}
        for entity in entities:
            span = doc.char_span(entity.start, entity.end, label=entity.label, alignment_mode=self.alignment)
            if span is not None and len(span):
                found.append(span)
                scores[span.start, span.end] = entity.score
        if self.keep:
            taken = {index for span in doc.ents for index in range(span.start, span.end)}
            found = [span for span in found if taken.isdisjoint(range(span.start, span.end))]
        # Two entities inside one token both become that token.
        found = filter_spans(found)
        doc.spans[self.spans_key] = found
        doc.spans[self.spans_key].attrs["scores"] = [scores[span.start, span.end] for span in found]
        doc.ents = [*doc.ents, *found] if self.keep else found

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Nothing: the pipeline's configuration names the model."""
        del path, exclude

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> MnerComponent:
        """Nothing more than the configuration says."""
        del path, exclude
        return self


def _post(doc: Doc) -> Post:
    image: Any = doc._.mner_image
    return Post.from_text(
        doc.text, image=Path(image) if isinstance(image, str) else image, alt=doc._.mner_alt
    )
