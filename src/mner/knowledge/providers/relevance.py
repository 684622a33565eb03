"""How much a picture has to do with its post, as one number.

CLIP's cosine of picture and text is what MMAVK filters its knowledge by (ViT-B/32: a mean of 0.30 over
Twitter posts, best threshold 0.35; the numbers belong to that CLIP). Without a download, the similarity of
the post and what is known about its picture as text (OCR, caption) stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mner.errors import UsageError
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.local import Checkpoint, LocalProvider
from mner.knowledge.sentences import SentenceEmbedder
from mner.pretrained import DEFAULT

NO_TEXT = "the post has no text to compare with"


class ClipRelevanceProvider(LocalProvider):
    """The cosine, -1 to 1, of picture and text by a model with two towers (CLIP, SigLIP).

    A text longer than the model's limit (77 sub-words for CLIP) is cut at its end; the request says so.

    Args:
        model: A local folder or a hub name.
        revision: Which commit of a hub name.
        dtype: The precision; None takes bfloat16 on a GPU and float32 elsewhere.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Questions at once.
    """

    name = "clip"
    kind = "relevance"
    sees_text = True
    sees_picture = True

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch32",
        *,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, dtype, device)
        self.batch_size = batch_size

    def settings(self) -> dict[str, Any]:
        """The model, pinned."""
        return self.checkpoint.settings()

    @cached_property
    def model(self) -> Any:
        """The two towers."""
        from transformers import AutoModel

        return self.checkpoint.load_model(AutoModel)

    @cached_property
    def tokenizer(self) -> Any:
        """The text's side."""
        from transformers import AutoTokenizer

        return self.checkpoint.load_part(AutoTokenizer, "its tokenizer")

    @cached_property
    def image_processor(self) -> Any:
        """The picture's side."""
        from transformers import AutoImageProcessor

        return self.checkpoint.load_part(AutoImageProcessor, "its image processor")

    @property
    def max_tokens(self) -> int:
        """How many sub-words of a text the model reads."""
        return int(self.model.config.text_config.max_position_embeddings)

    def _load(self) -> None:
        _ = self.model, self.tokenizer, self.image_processor

    def _refusal(self, question: Question) -> str | None:
        return super()._refusal(question) or (None if question.post.text.strip() else NO_TEXT)

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        import torch

        texts = [question.post.text for question in questions]
        # SigLIP was trained on texts padded to its full length, without a mask, and reads nothing else.
        whole = "siglip" in str(self.model.config.model_type)
        tokens = self.tokenizer(
            texts,
            padding="max_length" if whole else True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        reads = {"input_ids"} if whole else {"input_ids", "attention_mask"}
        text_inputs = {name: tokens[name].to(self.model.device) for name in reads}
        pictures = [question.picture for question in questions if question.picture is not None]
        pixels = self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            text_vectors = _pooled(self.model.get_text_features(**text_inputs))  # (b, d)
            picture_vectors = _pooled(self.model.get_image_features(pixel_values=pixels))  # (b, d)
            scores = torch.nn.functional.cosine_similarity(text_vectors, picture_vectors, dim=1)
        lengths = [len(row) for row in self.tokenizer(texts, verbose=False)["input_ids"]]
        return [
            Answer(
                self._knowledge(self.checkpoint.label(), score=score),
                raw=repr(score),
                request={"tokens": length, "read": min(length, self.max_tokens)},
                input_tokens=min(length, self.max_tokens),
            )
            for score, length in zip(scores.tolist(), lengths, strict=True)
        ]


class TextRelevanceProvider(LocalProvider):
    """The cosine of the post and of the texts known about its picture; the largest where there are several.

    It sees no pixels: a picture without caption and without text in it has no score, and a caption by a model
    that saw the post looks more relevant than the picture is.

    Args:
        model: The encoder: ``default`` (the embedded MiniLM), a local folder or a hub name.
        kinds: Which knowledge is compared with the post, as a list or separated by commas.
        revision: Which commit of a hub name.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Questions at once.

    Raises:
        UsageError: No kind is named.
    """

    name = "text-relevance"
    kind = "relevance"
    sees_text = True

    def __init__(
        self,
        model: str = DEFAULT,
        *,
        kinds: Sequence[str] | str = ("caption", "ocr"),
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        named = kinds.split(",") if isinstance(kinds, str) else kinds
        self.sees_knowledge = tuple(kind.strip() for kind in named if kind.strip())
        if not self.sees_knowledge:
            raise UsageError("No knowledge is named to compare the post with.", expected="caption, ocr")
        self.embedder = SentenceEmbedder(model, revision=revision, batch_size=batch_size, device=device)
        self.batch_size = batch_size

    def settings(self) -> dict[str, Any]:
        """The encoder, pinned; which knowledge it compares belongs to the key by itself."""
        return self.embedder.settings()

    def _refusal(self, question: Question) -> str | None:
        if not question.post.text.strip():
            return NO_TEXT
        if self._texts(question):
            return None
        return f"nothing is known about the picture as text ({', '.join(self.sees_knowledge)})"

    def _texts(self, question: Question) -> list[str]:
        known = (question.post.known(kind) for kind in self.sees_knowledge)
        return [found.text for found in known if found is not None and found.text and found.text.strip()]

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        texts = [[question.post.text, *self._texts(question)] for question in questions]
        flat = list(dict.fromkeys(text for row in texts for text in row))
        vector = dict(zip(flat, self.embedder(flat), strict=True))
        answers = []
        for post, *known in texts:
            cosines = [float(vector[post] @ vector[text]) for text in known]
            knowledge = self._knowledge(self.embedder.model, score=max(cosines))
            answers.append(Answer(knowledge, raw=repr(cosines)))
        return answers


def _pooled(output: Any) -> Any:
    # Since transformers 5 the features come with the tower's states.
    return getattr(output, "pooler_output", output)
