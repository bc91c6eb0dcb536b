"""A metric in a file of its own."""

from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.result import RunResult


@metric("quote")
def turnover(result: RunResult, facts: RunFacts) -> float | None:
    """Notional of all trades after burn-in at their prices; None where trades were not recorded."""
    trades = result.columns("trades", ("step", "price", "quantity"))
    after = trades[trades["step"] >= 0]
    return float((after["price"] * after["quantity"]).sum()) if len(trades) else None
