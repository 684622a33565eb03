"""Contrastive losses between texts and pictures, over the posts of a batch or of all processes' batches.

The loss of a text with one positive is InfoNCE (van den Oord et al. 2018, "Representation Learning with
Contrastive Predictive Coding", eq. 4); with several, their sum stands inside the logarithm (Miech et
al. 2020, "End-to-End Learning of Visual Representations from Uncurated Instructional Videos", eq. 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_similarities(texts: Tensor, pictures: Tensor) -> Tensor:
    """(B, d) and (N, d) to cosines (B, N), in float32."""
    return F.normalize(texts.float(), dim=-1) @ F.normalize(pictures.float(), dim=-1).T


def candidate_pictures(numbers: Tensor, own: Tensor, with_own: bool = True) -> Tensor:
    """Which pictures a text is compared with: each different one once.

    Args:
        numbers: (N,) the same for the same picture, -1 for none.
        own: (B,) where each text's own post stands among the N.
        with_own: Whether a text is compared with its own picture.

    Returns:
        (B, N) true at the first post of each picture; for a text's own picture at its own post.
    """
    present = numbers >= 0
    same = numbers[:, None] == numbers
    first = present & ~torch.tril(same, diagonal=-1).any(1)
    its_own = same[own] & present
    itself = F.one_hot(own, len(numbers)).bool() & present
    others = first & ~its_own
    return others | itself if with_own else others


def most_similar(similarities: Tensor, candidates: Tensor, count: int) -> Tensor:
    """(B, N) true at the `count` most similar candidates of each row; at all where there are no more."""
    nearest = similarities.masked_fill(~candidates, -torch.inf).topk(min(count, candidates.shape[1])).indices
    return torch.zeros_like(candidates).scatter(1, nearest, True) & candidates


def positive_share_losses(
    similarities: Tensor, candidates: Tensor, positives: Tensor, temperature: float
) -> Tensor:
    """-log of the share of the positives among all candidates, a row each.

    Args:
        similarities: (B, N).
        candidates: (B, N) true at what a row is compared with.
        positives: (B, N) those of them that are positive.
        temperature: What similarities are divided by.

    Returns:
        (B,), 0 in rows without a positive. Where all candidates are positive the share is 1 and the loss 0.
    """
    logits = similarities / temperature
    least = torch.finfo(logits.dtype).min
    among = logits.masked_fill(~candidates, least).logsumexp(1)
    chosen = logits.masked_fill(~positives, least).logsumexp(1)
    return torch.where(positives.any(1), among - chosen, torch.zeros_like(among))
