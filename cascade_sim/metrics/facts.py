"""What metrics need to know about a run that its tables do not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cascade_sim.domain.errors import CascadeError, expectation


@dataclass(frozen=True)
class RunFacts:
    """Numbers of the scenario and totals of the kernels.

    Attributes
    ----------
    steps, burn_in_steps : int
        Steps after and during burn-in; step numbers run from ``-burn_in_steps`` to ``steps - 1``.
    dt : float
        Seconds per step.
    initial_price : float
        Price as the run was set up, quote currency.
    first_shock_step : int or None
        Step of the first scheduled shock; None without one, and the event window then begins with step 0.
    window_end_step : int or None
        Last step of the event window; None for the last step of the run.
    majority_direction : int
        +1 if most open leverage is long at the shock (adverse is down), -1 if short.
    insurance_fund_start : float
        Capital of the insurance fund at the start, quote currency.
    dealer_option_value_start, dealer_option_value_end : float or None
        Signed value of all option positions of the dealers as step 0 begins and at the end, quote currency;
        None where there are no options.
    totals : mapping
        What :func:`recorder.run_totals` returned.
    """

    steps: int
    burn_in_steps: int
    dt: float
    initial_price: float
    first_shock_step: int | None
    majority_direction: int
    insurance_fund_start: float
    window_end_step: int | None = None
    dealer_option_value_start: float | None = None
    dealer_option_value_end: float | None = None
    totals: Mapping[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what a metric would otherwise silently get wrong."""
        if self.majority_direction not in (-1, 1):
            raise CascadeError(expectation("majority_direction", "+1 or -1", self.majority_direction))
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

    def total(self, name: str) -> int | float:
        """Return a total of the run.

        Parameters
        ----------
        name : str
            Key of ``totals``.

        Raises
        ------
        CascadeError
            If it was not given.
        """
        if name not in self.totals:
            raise CascadeError(expectation("totals", "a total of the run", name, self.totals))
        return self.totals[name]
