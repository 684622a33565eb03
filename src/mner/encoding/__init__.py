"""Posts and their knowledge to tensors, with the map back to words and characters."""

from __future__ import annotations

from mner.encoding.batch import Batch, TokenBlock, VisualBlock
from mner.encoding.encoder import EncodingSettings, Inputs, PostEncoder
from mner.encoding.grouping import LengthGroupedBatches, sorted_batches
from mner.encoding.pictures import PictureInputs, Preprocessing
from mner.encoding.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "EncodingSettings",
    "Inputs",
    "LengthGroupedBatches",
    "PictureInputs",
    "PostEncoder",
    "Preprocessing",
    "TokenBlock",
    "VisualBlock",
    "Vocabulary",
    "sorted_batches",
]
