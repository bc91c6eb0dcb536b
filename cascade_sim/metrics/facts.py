"""What table metrics need to know about a run that its tables do not hold."""

from dataclasses import dataclass

from cascade_sim.domain.errors import CascadeError, expectation


@dataclass(frozen=True)
class RunFacts:
    """Numbers of the scenario.

    Attributes
    ----------
    steps : int
        Steps after burn-in.
    dt : float
        Seconds per step.
    first_shock_step : int or None
        Step of the first scheduled shock; None without one, and the event window then begins with step 0.
    window_end_step : int or None
        Last step of the event window; None for the last step of the run.
    """

    steps: int
    dt: float
    first_shock_step: int | None
    window_end_step: int | None = None

    def __post_init__(self) -> None:
        """Check what a metric would otherwise silently get wrong."""
        if not self.dt > 0.0:
            raise CascadeError(expectation("dt", "a positive number of seconds", self.dt))
        if not 0 <= self.window_start <= self.window_end < max(self.steps, 1):
            window = f"{self.window_start} to {self.window_end}"
            raise CascadeError(expectation("event window", f"steps within 0 to {self.steps - 1}", window))

    @property
    def window_start(self) -> int:
        """First step of the event window: the step of the first shock, else 0."""
        return 0 if self.first_shock_step is None else self.first_shock_step

    @property
    def window_end(self) -> int:
        """Last step of the event window, included."""
        return max(self.steps - 1, 0) if self.window_end_step is None else self.window_end_step
