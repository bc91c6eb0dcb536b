"""How a close-out is sent to the book."""

from dataclasses import dataclass

from cascade_sim.registry import EXECUTIONS


@EXECUTIONS.register("ioc_at_bankruptcy")
@dataclass(frozen=True)
class IocAtBankruptcy:
    """Immediate or cancel, limited at the account's bankruptcy price: a close-out never creates debt (Binance)."""
