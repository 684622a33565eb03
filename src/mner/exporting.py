"""What becomes of a run folder when it leaves: packed, a few megabytes that add to a package's encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

from mner.data.files import refuse_existing
from mner.packing import ADAPTER_FILE, pack_weights
from mner.recognizer import CONFIG_FILE, SETTINGS_FILE, checked_settings, write_json


def export_adapter(run: str | Path, target: str | Path, *, overwrite: bool = False) -> int:
    """Write a run as a folder of adapters and heads, which needs the encoder's package to predict.

    Args:
        run: A run folder that was trained with ``[adapter]`` on the embedded encoder.
        target: The folder to write.
        overwrite: Whether a packed recogniser that stands there may be replaced.

    Returns:
        The size of what was written, in bytes.

    Raises:
        RunFolderError: The run was trained without adapters, or on an encoder that no package carries.
        UsageError: There is a recogniser already.
    """
    run, target = Path(run), Path(target)
    settings = checked_settings(run)
    if not overwrite:
        refuse_existing(target / SETTINGS_FILE)
    target.mkdir(parents=True, exist_ok=True)
    base = pack_weights(run, target)
    shutil.copyfile(run / CONFIG_FILE, target / CONFIG_FILE)
    settings["base"] = base.as_dict()
    settings["files"] = {name: (target / name).stat().st_size for name in (CONFIG_FILE, ADAPTER_FILE)}
    write_json(target / SETTINGS_FILE, settings)
    return sum((target / name).stat().st_size for name in (CONFIG_FILE, ADAPTER_FILE, SETTINGS_FILE))
