"""A caption made for the post and its domain, by a model on this machine (CDNER's DDC, eq. 1).

The real model is BLIP-2; any image-text-to-text model of transformers can be named instead. With OPT
inside, BLIP-2 goes on with a text and follows no instructions, so that it is asked in another form than a
model trained on conversations.
"""

from __future__ import annotations

from mner.knowledge.providers.picture_text import PictureTextProvider


class CaptionProvider(PictureTextProvider):
    """A caption for the post and its domain; see `PictureTextProvider` for the arguments."""

    name = "caption"
    kind = "caption"
    sees_text = True
    default_model = "Salesforce/blip2-opt-2.7b"
    default_tokens = 48
    instructed_prompt = "caption"
    completion_prompt = "caption-completion"
