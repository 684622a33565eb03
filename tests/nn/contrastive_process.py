"""One of two processes that compare their texts with the pictures of both; run by test_contrastive."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist

from mner.nn import contrastive, processes

# Five posts, of which the first process has three; a picture is missing and one occurs in both processes.
NUMBERS = [4, -1, 5, 6, 4]
PARTS = [slice(0, 3), slice(3, 5)]


def data():
    """A map, texts and pictures."""
    torch.manual_seed(0)
    return torch.randn(4, 4), torch.randn(5, 4), torch.randn(5, 4)


def loss_of(weight, texts, pictures, numbers):
    """The sum of both losses, as a model computes it."""
    projected, start = processes.gather_rows(pictures @ weight)
    numbers, _ = processes.gather_rows(numbers)
    similarities = contrastive.cosine_similarities(texts @ weight, projected)
    own = start + torch.arange(len(texts))
    candidates = contrastive.candidate_pictures(numbers, own)
    total = torch.zeros(())
    for positives in (
        contrastive.most_similar(similarities, candidates, 2),
        torch.nn.functional.one_hot(own, len(numbers)).bool() & candidates,
    ):
        losses = contrastive.positive_share_losses(similarities, candidates, positives, 0.5)
        total = total + processes.mean_over_processes(losses.sum(), positives.any(1).sum())
    return total


def main(target: str) -> None:
    """Compute this process's share and write it to a file."""
    dist.init_process_group("gloo")
    part = PARTS[int(os.environ["RANK"])]
    weight, texts, pictures = data()
    weight.requires_grad_()
    loss = loss_of(weight, texts[part], pictures[part], torch.tensor(NUMBERS)[part])
    loss.backward()
    torch.save({"loss": loss.detach(), "gradient": weight.grad}, target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
