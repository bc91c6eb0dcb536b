"""What a run leaves behind: the tape of the kernels, copied in chunks and turned into result tables."""

from cascade_sim.recorder.recorder import (
    RAW_TABLES,
    AccountRecords,
    Recorder,
)

__all__ = [
    "RAW_TABLES",
    "AccountRecords",
    "Recorder",
]
