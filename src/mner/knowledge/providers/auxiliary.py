"""Auxiliary knowledge by a multimodal model on this machine that sees the picture alone (MMAVK).

The real model is Qwen2-VL-7B-Instruct; any image-text-to-text model of transformers can be named instead
(LLaVA, say). The prompt aims at four kinds of target: people, places, organisations, and the rest. The
post's text is never shown, so that one answer serves all posts with the same picture.
"""

from __future__ import annotations

from mner.knowledge.providers.picture_text import PictureTextProvider


class AuxiliaryProvider(PictureTextProvider):
    """What can be identified in a picture; see `PictureTextProvider` for the arguments."""

    name = "auxiliary"
    kind = "auxiliary"
    sees_text = False
    default_model = "Qwen/Qwen2-VL-7B-Instruct"
    default_tokens = 256
    instructed_prompt = "auxiliary"
    completion_prompt = "auxiliary"
