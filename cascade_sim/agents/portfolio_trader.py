"""Portfolio traders: leveraged accounts with a position in every market and one pool of collateral."""

from typing import Any

from cascade_sim.agents.base import Opening, Population
from cascade_sim.domain.enums import AccountClass
from cascade_sim.scenario import Scenario


class PortfolioTraders(Population):
    """Each holds one account per market, its leg there; with cross margin the legs share their collateral."""

    account_class = AccountClass.LEVERAGED_TRADER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """As many portfolios as the scenario says."""
        return scenario.portfolios.count

    def open(self, opening: Opening) -> None:
        """Say what the legs in this market are drawn from."""
        if self.count == 0:
            return
        values, plan = opening.scenario.portfolios, opening.plan.portfolios
        shared = opening.scenario.switches.cross_margin
        config = opening.state.world.config
        config.portfolio_account = self.first_account
        config.portfolios = self.count if shared else 0
        plan.first_account, plan.accounts = self.first_account, self.count
        plan.shared_collateral = int(shared)
        plan.shared_seed = config.seed
        plan.lots = round(opening.lots(values.open_interest))
        plan.long_share, plan.hedged_share = values.long_share, values.hedged_share
        plan.size_dispersion = values.size_dispersion
        plan.inverse_low, plan.inverse_high = values.inverse_leverage

    def join(self, opening: Opening, shared_seed: Any) -> None:
        """Make these accounts the further legs of the portfolios that the first market draws from ``shared_seed``."""
        opening.plan.portfolios.shared_seed = shared_seed
        opening.plan.portfolios.further = 1
