"""A reasoning chain without any download, in the same three steps as a language model's (CDNER's CRC).

1. Candidates, from a tagger (one trained on CoNLL-2003, say), or from the post's phrases where there is none.
2. What is known of each: the gloss and kind of the named instance in WordNet that bears the name; for a
   longer name that WordNet does not list, the gloss of its last word (*University*).
3. The type of each among the domain's types: the one whose definition is most like the candidate with its
   gloss and the candidate in its sentence (the sum of two cosines, embedded MiniLM).

What it cannot do: WordNet 3.0 ends in 2006 and knows 7 730 named things, so that most names of a post are
not in it; it does not ask which of several bearers of a name is meant (the most usual is taken); the types
are guessed by likeness of words, not by reasoning, and nothing is ever dropped as no name; English only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mner.errors import UsageError
from mner.knowledge.label_words import default_concepts
from mner.knowledge.phrases import phrases_of
from mner.knowledge.prompts import Domain, load_domain
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.local import LocalProvider
from mner.knowledge.sentences import SentenceEmbedder
from mner.knowledge.wordnet import WordNet
from mner.posts import Entity, Post
from mner.pretrained import DEFAULT, folder_digest, revision_of, sha256_of

Tagger = Callable[[Sequence[Post]], list[list[Entity]]]
"""Gives the entities of each post."""

NO_CANDIDATES = "none"
# Types that say what a thing is; MISC says only what it is not.
_TELLING = ("PER", "LOC", "ORG")
_TELLING_CATEGORIES = ("person", "location", "group")


class OfflineChainProvider(LocalProvider):
    """Candidates, what WordNet knows of each, and its type by similarity.

    Args:
        model: A folder with a trained recogniser that gives the candidates; then `load_tagger` must open it.
        tagger: What gives them, as a callable; then `tagger_name` must say which it is.
        tagger_name: What tells this tagger from others, with its version: part of the answers' key.
        load_tagger: Opens a folder with a trained recogniser; called once, when it is first needed.
        domain: The domain's name or file; its types and their definitions are what is chosen from.
        wordnet: WordNet's folder; None looks in the usual places.
        encoder: The encoder: ``default`` (the embedded MiniLM), a local folder or a hub name.
        device: Where the encoder runs; None takes a GPU where there is one.
        batch_size: Questions at once.

    Raises:
        UsageError: Both a folder and a callable are given, a callable without its name, or a folder that is
            not there or that nothing can open.
    """

    name = "chain"
    kind = "reasoning"
    sees_text = True
    sees_knowledge = ("caption",)

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        tagger: Tagger | None = None,
        tagger_name: str | None = None,
        load_tagger: Callable[[Path], Tagger] | None = None,
        domain: str | Path | Domain = "twitter",
        wordnet: str | Path | None = None,
        encoder: str = DEFAULT,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        if model is not None and tagger is not None:
            raise UsageError(
                "The chain takes its candidates from a folder or from a callable, not from both."
            )
        if tagger is not None and not tagger_name:
            raise UsageError(
                "The chain needs a name for its tagger.",
                hint="Give tagger_name: answers made with different taggers must not share a key.",
            )
        self.folder = None if model is None else Path(model).expanduser()
        if self.folder is not None and not self.folder.is_dir():
            raise UsageError(f"There is no folder {str(model)!r} with a trained recogniser.")
        if self.folder is not None and load_tagger is None:
            raise UsageError(
                "The chain cannot open a trained recogniser by itself.",
                hint="Give load_tagger = lambda folder: Recognizer.from_pretrained(folder).predict",
            )
        self._load_tagger = load_tagger
        self._tagger = tagger
        self._tagger_name = tagger_name
        self.domain = load_domain(domain)
        self.wordnet_folder = wordnet
        self.embedder = SentenceEmbedder(encoder, device=device)
        self.batch_size = batch_size

    def settings(self) -> dict[str, Any]:
        """The tagger, WordNet's files, the encoder and the domain's types."""
        if self.folder is not None:
            tagger: str | None = f"{self.folder.name}@{folder_digest(self.folder)}"
        else:
            tagger = self._tagger_name
        files = [self.wordnet.folder / name for name in ("data.noun", "index.noun")]
        return {
            "tagger": tagger or "phrases",
            "wordnet": [sha256_of(file) for file in files],
            "model": self.embedder.model,
            "revision": revision_of(self.embedder.model),
            "domain": self.domain.name,
            "types": dict(self.domain.types),
        }

    @cached_property
    def wordnet(self) -> WordNet:
        """WordNet's nouns."""
        return WordNet(self.wordnet_folder)

    @cached_property
    def tagger(self) -> Tagger | None:
        """What finds the candidates, or None for the post's phrases."""
        if self.folder is None or self._load_tagger is None:
            return self._tagger
        return self._load_tagger(self.folder)

    @cached_property
    def _type_vectors(self) -> Any:
        return self.embedder([f"{label}: {text}" for label, text in self.domain.types.items()])

    def _load(self) -> None:
        _ = self.wordnet, self.tagger

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        posts = [question.post for question in questions]
        candidates = self.candidates(posts)
        typed = self.types(posts, candidates)
        return [
            self._answer(post, row, labels)
            for post, row, labels in zip(posts, candidates, typed, strict=True)
        ]

    def candidates(self, posts: Sequence[Post]) -> list[list[tuple[str, str]]]:
        """Step 1: for each post its candidates, each with the tagger's type or nothing, each name once."""
        if self.tagger is None:
            return [[(phrase, "") for phrase in phrases_of(post)] for post in posts]
        found = self.tagger(posts)
        return [list({entity.text: (entity.text, entity.label) for entity in row}.values()) for row in found]

    def known_of(self, name: str) -> str:
        """Step 2: what WordNet knows of a name, or nothing."""
        bearers = self.wordnet.named(name)
        if bearers:
            kinds = ", ".join(self.wordnet.synset(kind).words[0] for kind in bearers[0].instance_of)
            return f"{bearers[0].gloss} ({kinds})"
        *before, last = name.split() or [""]
        kinds_of_last = [synset for synset in self.wordnet.synsets(last) if not synset.is_instance]
        if before and kinds_of_last:
            return f"{kinds_of_last[0].words[0]}, {kinds_of_last[0].gloss}"
        return ""

    def types(
        self, posts: Sequence[Post], candidates: Sequence[Sequence[tuple[str, str]]]
    ) -> list[list[str]]:
        """Step 3: for each post the types of its candidates."""
        rows = [(post, name, said) for post, row in zip(posts, candidates, strict=True) for name, said in row]
        if not rows:
            return [[] for _ in posts]
        alone = self.embedder([self._described(name, said) for _, name, said in rows])
        inside = self.embedder([f"{name} in: {post.text}" for post, name, _ in rows])
        best = ((alone + inside) @ self._type_vectors.T).argmax(axis=1)
        labels = list(self.domain.types)
        chosen = iter([labels[index] for index in best])
        return [[next(chosen) for _ in row] for row in candidates]

    def _described(self, name: str, said: str) -> str:
        """A candidate with what it is (after the tagger, else after WordNet) and what is known of it."""
        bearers = self.wordnet.named(name)
        kind = ""
        if said.upper() in _TELLING:
            kind = default_concepts([said])[said][0]
        elif bearers and bearers[0].category in _TELLING_CATEGORIES:
            kind = bearers[0].category
        known = self.known_of(name)
        return (f"{name} ({kind})" if kind else name) + (f": {known}" if known else "")

    def _answer(self, post: Post, candidates: Sequence[tuple[str, str]], types: Sequence[str]) -> Answer:
        caption = post.known("caption")
        known = [f"{name}: {self.known_of(name) or 'not known'}" for name, _ in candidates]
        if caption is not None and caption.text:
            known.append(f"The picture shows: {caption.text}")
        steps = (
            "Candidates: " + ("; ".join(name for name, _ in candidates) or NO_CANDIDATES),
            "\n".join(known) or NO_CANDIDATES,
            "\n".join(f"{name} -> {label}" for (name, _), label in zip(candidates, types, strict=True))
            or NO_CANDIDATES,
        )
        text = "\n".join(steps)
        return Answer(self._knowledge(f"WordNet, {self.embedder.model}", text=text, steps=steps), raw=text)
