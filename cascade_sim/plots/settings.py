"""A place for matplotlib's own files, settled before matplotlib is imported."""

import atexit
import os
import tempfile
from pathlib import Path

from cascade_sim.temporaries import remove_abandoned, scratch

_VARIABLE = "MPLCONFIGDIR"


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return folder.is_dir() and os.access(folder, os.W_OK)


def settle_matplotlib_folder() -> None:
    """Give matplotlib a temporary folder where its own cannot be written.

    It would make one as well, and tell standard error about it, which is for the errors of a run. A folder that
    the user names (``MPLCONFIGDIR``) is left alone. The temporary one is removed when the process ends.
    """
    if os.environ.get(_VARIABLE):
        return
    try:
        home = Path.home()
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
        if _usable(config / "matplotlib") and _usable(cache / "matplotlib"):
            return
    except RuntimeError:  # no home directory is known
        pass
    place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    lent = scratch(place)
    os.environ[_VARIABLE] = os.fspath(lent.__enter__())
    atexit.register(lent.__exit__, None, None, None)


settle_matplotlib_folder()
