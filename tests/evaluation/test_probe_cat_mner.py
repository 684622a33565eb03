"""CAT-MNER, from scratch, on the image probe; a file of its own, so that systems train side by side."""

from __future__ import annotations

import pytest

from tests.evaluation.probe_training import assert_reads_pictures, probe_folder, trained


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_reads_follows_and_leaves_the_picture(tmp_path_factory, tmp_path):
    # Its recipe falls short of what is asked of the others in the pairs (see docs/results.md).
    result = trained("cat-mner", probe_folder(tmp_path_factory), tmp_path / "run")
    assert_reads_pictures(result, least=0.8, followed=0.8)
