"""CAT-MNER, from scratch, on the image probe; a file of its own, so that systems train side by side."""

from __future__ import annotations

import pytest

from tests.evaluation.probe_training import assert_reads_pictures, probe_folder, trained


@pytest.mark.slow
def test_it_reads_follows_and_leaves_the_picture(tmp_path_factory, tmp_path):
    assert_reads_pictures(trained("cat-mner", probe_folder(tmp_path_factory), tmp_path / "run"))
