from __future__ import annotations

import pytest
import torch

from mner.encoding.features import FeatureStore
from mner.errors import DataError


def test_each_way_of_making_vectors_has_a_file_of_its_own(tmp_path):
    store = FeatureStore(tmp_path).of("one")
    store["a"] = torch.tensor([1.0, 2.0])
    store["b"] = torch.tensor([3.0, 4.0])
    store.save()
    store.of("two")
    assert len(store) == 0
    store["a"] = torch.tensor([5.0, 6.0])
    store.save()
    assert len(list(tmp_path.iterdir())) == 2
    again = FeatureStore(tmp_path)
    assert again.of("one")["a"].tolist() == [1.0, 2.0]
    assert again.of("two")["a"].tolist() == [5.0, 6.0]
    assert "b" not in again
    assert again.of("one")["b"].tolist() == [3.0, 4.0]


def test_the_vectors_not_asked_for_longest_go_first():
    store = FeatureStore(most_bytes=3 * 8).of("")
    for name in "abc":
        store[name] = torch.zeros(2)
    _ = store["a"]
    store["d"] = torch.zeros(2)
    assert [name for name in "abcd" if name in store] == ["a", "c", "d"]
    store["d"] = torch.ones(2)
    assert len(store) == 3


def test_nothing_is_written_without_a_folder_or_anything_new(tmp_path):
    store = FeatureStore().of("")
    store["a"] = torch.zeros(2)
    store.save()
    assert store.file is None
    store = FeatureStore(tmp_path).of("")
    store.save()
    assert list(tmp_path.iterdir()) == []
    store["a"] = torch.zeros(2)
    store.save()
    written = store.file.stat().st_mtime_ns
    store.save()
    assert store.file.stat().st_mtime_ns == written
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_damaged_file_is_named(tmp_path):
    store = FeatureStore(tmp_path).of("")
    store["a"] = torch.zeros(2)
    store.save()
    store.file.write_bytes(store.file.read_bytes()[:-4])
    with pytest.raises(DataError, match="Delete the file"):
        FeatureStore(tmp_path).of("")
