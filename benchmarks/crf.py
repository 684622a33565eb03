"""Time the CRF beside pytorch-crf, in one process, on the same tensors.

    OMP_WAIT_POLICY=passive python benchmarks/crf.py --batch 64 --words 128 --tags 17

Both compute the same first: losses, gradients and paths must agree, or nothing is timed. The repeats of both
are interleaved, so that whatever else runs on the machine slows both alike; the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torchcrf import CRF

from mner.nn.crf import ChainCRF, marginals, span_probabilities, viterbi
from mner.tags import BIO, allowed_transitions, parse, tag_names


def medians(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of each task, the median over interleaved repeats."""
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(measured) * 1e3 for name, measured in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="posts")
    parser.add_argument("--words", type=int, default=128, help="words of the longest post")
    parser.add_argument("--tags", type=int, default=17, help="tags")
    parser.add_argument(
        "--shortest", type=int, help="words of the shortest post; all are equally long without"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    B, W, K = arguments.batch, arguments.words, arguments.tags

    ours, theirs = ChainCRF(K), CRF(K, batch_first=True)
    with torch.no_grad():
        ours.first.copy_(theirs.start_transitions.normal_())
        ours.pairs.copy_(theirs.transitions.normal_())
        ours.last.copy_(theirs.end_transitions.normal_())
    emissions = torch.randn(B, W, K, requires_grad=True)
    tags = torch.randint(K, (B, W))
    lengths = torch.randint(arguments.shortest or W, W + 1, (B,))
    lengths[0] = W
    mask = torch.arange(W) < lengths.unsqueeze(1)

    def our_step() -> tuple[torch.Tensor, ...]:
        loss = -ours(emissions, tags, mask).mean()
        return loss, *torch.autograd.grad(loss, (emissions, ours.first, ours.pairs, ours.last))

    def their_step() -> tuple[torch.Tensor, ...]:
        loss = -theirs(emissions, tags, mask, reduction="mean")
        inputs = (emissions, theirs.start_transitions, theirs.transitions, theirs.end_transitions)
        return loss, *torch.autograd.grad(loss, inputs)

    chain = ours.chain()

    def our_paths() -> torch.Tensor:
        return viterbi(emissions, chain, mask)[0]

    @torch.no_grad()
    def their_paths() -> list[list[int]]:
        return theirs.decode(emissions, mask)

    for mine, other in zip(our_step(), their_step(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    paths = [row[:length] for row, length in zip(our_paths().tolist(), lengths.tolist(), strict=True)]
    assert paths == their_paths(), "the best paths differ"
    print(f"{B} posts, {W} words, {K} tags, {arguments.threads} threads: equal losses, gradients and paths")

    # All that a prediction needs, on the constrained chain: path, sums, and a probability for each span.
    # pytorch-crf has no counterpart of the latter two.
    names = tag_names([str(number) for number in range((K - 1) // 2)], BIO)
    constrained = ChainCRF(len(names), allowed_transitions(names, BIO)).chain()
    parsed = [parse(name) for name in names]
    continues = torch.tensor(
        [[(a, b) in BIO.continues and left == right for b, right in parsed] for a, left in parsed]
    )
    fewer = emissions.detach()[..., : len(names)]
    # One span of one to three words in every ten words.
    posts, starts = (mask[:, ::10]).nonzero(as_tuple=True)
    ends = torch.minimum(starts * 10 + 1 + torch.arange(len(posts)) % 3, lengths[posts])
    starts = starts * 10
    span_tags = torch.tensor([1, 2, 2]).expand(len(posts), 3)

    def our_prediction() -> torch.Tensor:
        viterbi(fewer, constrained, mask)
        return span_probabilities(fewer, constrained, mask, posts, starts, ends, span_tags, continues)

    found = medians(
        {
            "training step": our_step,
            "training step, pytorch-crf": their_step,
            "Viterbi": our_paths,
            "Viterbi, pytorch-crf": their_paths,
            "marginals": lambda: marginals(emissions, chain, mask),
            "prediction": our_prediction,
        },
        arguments.repeats,
    )
    for name in ("training step", "Viterbi"):
        mine, other = found[name], found[f"{name}, pytorch-crf"]
        print(f"{name:15} {mine:8.2f} ms   pytorch-crf {other:8.2f} ms   {other / mine:5.1f} times as fast")
    print(f"{'marginals':15} {found['marginals']:8.2f} ms   of tags and of pairs of tags")
    print(f"{'prediction':15} {found['prediction']:8.2f} ms   best paths and {len(posts)} span probabilities")


if __name__ == "__main__":
    main()
