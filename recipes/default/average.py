"""Writes the average of several runs of one model, as a run folder to start from.

Wortsman et al., 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time". The runs must come from the same backbone and have the same types.

    python recipes/default/average.py runs/default/start runs/bert-crf-2015-1 runs/bert-crf-2017-1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mner import Recognizer


@torch.no_grad()
def average(runs: list[Path], folder: Path) -> None:
    """Write the average of the runs' weights.

    Args:
        runs: The run folders.
        folder: The folder to write.
    """
    first, *others = (Recognizer.from_pretrained(run, device="cpu") for run in runs)
    mean = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    for count, other in enumerate(others, start=2):
        for name, tensor in other.model.state_dict().items():
            if tensor.is_floating_point():
                mean[name] += (tensor - mean[name]) / count
    first.model.load_state_dict(mean)
    first.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    average(arguments.runs, arguments.folder)
