"""Contrastive losses against loops that follow the formulas, and gathered rows in two processes."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.nn import contrastive, processes
from tests.machine import PATIENCE


def slow_candidates(numbers, own, with_own):
    """For each text the places of the pictures that it is compared with."""
    chosen = []
    for place in own:
        seen = {}
        for other, number in enumerate(numbers):
            if number >= 0 and number not in seen:
                seen[number] = other
        if numbers[place] >= 0:
            seen[numbers[place]] = place
            if not with_own:
                del seen[numbers[place]]
        chosen.append(sorted(seen.values()))
    return chosen


@settings(max_examples=60)
@given(
    numbers=st.lists(st.integers(-1, 4), min_size=1, max_size=8),
    with_own=st.booleans(),
    count=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_candidates_positives_and_losses_equal_loops(numbers, with_own, count, seed):
    generator = torch.Generator().manual_seed(seed)
    similarities = torch.rand(len(numbers), len(numbers), generator=generator, dtype=torch.float64) * 2 - 1
    own = torch.arange(len(numbers))
    candidates = contrastive.candidate_pictures(torch.tensor(numbers), own, with_own)
    positives = contrastive.most_similar(similarities, candidates, count)
    losses = contrastive.positive_share_losses(similarities, candidates, positives, 0.3)
    for text, allowed in enumerate(slow_candidates(numbers, range(len(numbers)), with_own)):
        assert candidates[text].nonzero().flatten().tolist() == allowed
        ranked = sorted(allowed, key=lambda place: -similarities[text, place].item())[:count]
        assert positives[text].nonzero().flatten().tolist() == sorted(ranked)
        if not allowed:
            assert losses[text] == 0
            continue
        shares = {place: math.exp(similarities[text, place].item() / 0.3) for place in allowed}
        expected = -math.log(sum(shares[place] for place in ranked) / sum(shares.values()))
        assert losses[text].item() == pytest.approx(expected, abs=1e-9)
        if len(allowed) <= count:
            assert losses[text] == 0


def test_rows_without_candidates_have_no_gradient_and_no_nan():
    similarities = torch.randn(2, 2, requires_grad=True)
    nothing = torch.tensor([[False, False], [True, True]])
    losses = contrastive.positive_share_losses(similarities, nothing, nothing & torch.eye(2).bool(), 0.07)
    losses.sum().backward()
    assert torch.isfinite(similarities.grad).all()
    assert similarities.grad[0].abs().sum() == 0
    assert similarities.grad[1].abs().sum() > 0


def test_cosines():
    texts, pictures = torch.randn(2, 5), torch.randn(3, 5)
    expected = [
        [float(text @ picture / text.norm() / picture.norm()) for picture in pictures] for text in texts
    ]
    torch.testing.assert_close(contrastive.cosine_similarities(texts, pictures), torch.tensor(expected))
    # A post without anything pooled has no direction: 0, not no number.
    assert contrastive.cosine_similarities(torch.zeros(1, 5), pictures).abs().sum() == 0


def test_one_process_gathers_its_own_rows():
    rows = torch.randn(3, 2)
    gathered, start = processes.gather_rows(rows)
    assert gathered is rows
    assert start == 0
    assert processes.mean_over_processes(torch.tensor(6.0), torch.tensor(3)) == 2.0
    assert processes.mean_over_processes(torch.tensor(0.0), torch.tensor(0)) == 0.0


def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("contrastive_process.py")
    environment = {
        **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / f"{rank}.pt")],
            env={**environment, "RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors.decode()
    from tests.nn.contrastive_process import NUMBERS, data, loss_of

    weight, texts, pictures = data()
    weight.requires_grad_()
    loss = loss_of(weight, texts, pictures, torch.tensor(NUMBERS))
    loss.backward()
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    # Data-parallel training averages losses and gradients over the processes.
    torch.testing.assert_close((results[0]["loss"] + results[1]["loss"]) / 2, loss.detach())
    torch.testing.assert_close((results[0]["gradient"] + results[1]["gradient"]) / 2, weight.grad)
