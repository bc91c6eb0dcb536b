"""The figures of a run in plain numpy, from its recorded tables: the slow twin of ``core/record/figures.py``.

Nothing here knows what the kernels keep while they run. What tables do not hold (messages, refused orders) is left out.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Table = Mapping[str, Array]
"""Column -> values; names are text."""

YEAR = 365.0 * 86_400.0
OFF_BOOK = ("takeover", "adl", "socialise")
CLOSED = ("liquidation", *OFF_BOOK)
PARTS = 4000
"""A longer event window is counted in so many parts."""


class Options(NamedTuple):
    """The dealers' options, arrays of one value each: terms, forward over the price, and what all dealers hold."""

    strike: Array
    years: Array
    is_call: Array
    volatility: Array
    ratio: Array
    held: Array


class Setting(NamedTuple):
    """What the tables do not say.

    Attributes
    ----------
    steps, dt
        Steps after burn-in, and seconds of one.
    first, last
        First and last step of the event window.
    shock
        Step of the first shock, None without one.
    direction
        +1 if most open leverage is long as step 0 begins, else -1.
    initial_price
        Price as the run was set up.
    late
        Whether close-outs take time to the book.
    options
        None without any.
    """

    steps: int
    dt: float
    first: int
    last: int
    shock: int | None
    direction: int
    initial_price: float
    late: bool = False
    options: Options | None = None


def chosen(table: Table, rows: Array) -> Table:
    """Some rows of a table."""
    return {name: values[rows] for name, values in table.items()}


def between(table: Table, first: int, last: int) -> Table:
    """Rows whose step lies in ``first`` .. ``last``, both included."""
    return chosen(table, (table["step"] >= first) & (table["step"] <= last))


def marks(series: Table, setting: Setting, first: int, last: int) -> Array:
    """The mark before step ``first`` and at the end of each step up to ``last``."""
    before = between(series, first - 1, first - 1)["mark"]
    start = before if len(before) else [setting.initial_price]
    return np.concatenate((start, between(series, first, last)["mark"]))


def excursion(path: Array, direction: int) -> tuple[float, float | None, int | None]:
    """Excursion of a path of log moves, share of it undone at the end, steps until half was."""
    trough = int(np.argmin(path * direction))
    depth = path[trough]
    if depth == 0.0:
        return depth, None, None
    recovered = np.flatnonzero(path[trough:] / depth <= 0.5)
    return depth, 1.0 - path[-1] / depth, int(recovered[0]) if len(recovered) else None


def drawdown(path: Array) -> float:
    """Largest fall from the running peak, as a fraction of it."""
    peak = np.maximum.accumulate(path)
    return float(np.max((peak - path) / peak))


def realised_volatility(path: Array, dt: float) -> float | None:
    """Annualised volatility from returns over a minute, or a step if that is longer."""
    stride = max(1, round(60.0 / dt))
    returns = np.diff(np.log(path[::stride]))
    return float(np.sqrt(np.mean(returns**2) * YEAR / (stride * dt))) if len(returns) >= 2 else None


def worst_depth(series: Table, setting: Setting) -> float | None:
    """Least depth of the window within 0.1 %, over the mean before the shock."""
    depth = series["bid_depth_10bp"].astype(float) + series["ask_depth_10bp"]
    steps = series["step"]
    window = depth[(steps >= setting.first) & (steps <= setting.last)]
    calm = depth[(steps >= 0) & (steps < (setting.steps if setting.shock is None else setting.shock))]
    if not len(window) or not len(calm) or not calm.mean() > 0.0:
        return None
    return float(window.min() / calm.mean())


def densest_share(amounts: Array, width: int) -> float | None:
    """Largest share of a total that falls into ``width`` consecutive entries."""
    total = amounts.sum()
    if not total > 0.0:
        return None
    width = min(width, len(amounts))
    return float(max(amounts[k : k + width].sum() for k in range(len(amounts) - width + 1)) / total)


def forced_share(events: Table, setting: Setting) -> float | None:
    """Share of what was closed by force in the window that falls into its densest twentieth."""
    closed = between(chosen(events, np.isin(events["type"], CLOSED)), setting.first, setting.last)
    length = setting.last - setting.first + 1
    parts = min(length, PARTS)
    amounts = np.zeros(parts)
    for step, filled in zip(closed["step"], closed["filled"], strict=True):
        amounts[(int(step) - setting.first) * parts // length] += filled
    return densest_share(amounts, max(1, round(0.05 * parts)))


def volume_share(trades: Table, events: Table, setting: Setting, cause: str) -> float | None:
    """Share of a cause in what takers traded in the window, what stages after the book moved left out."""
    inside = between(trades, setting.first, setting.last)
    moved = events["event_id"][np.isin(events["type"], OFF_BOOK)]
    inside = chosen(inside, ~np.isin(inside["taker_event_id"], moved))
    total = float(inside["quantity"].sum())
    part = float(inside["quantity"][inside["taker_cause"] == cause].sum())
    return part / total if total > 0.0 else None


def shortfall(events: Table, series: Table, setting: Setting) -> float | None:
    """What close-outs in the book fetched less than the mark that decided them, bp of their value there.

    With latency it was decided at the mark of an earlier step.
    """
    mark = dict(zip(series["step"].tolist(), series["mark"].tolist(), strict=True))
    lost = worth = 0.0
    for place in np.flatnonzero((events["type"] == "liquidation") & (events["filled"] > 0.0)):
        filled, price = events["filled"][place], events["mark"][place]
        if setting.late:
            waited = round(events["waited_seconds"][place] / setting.dt)
            price = mark[int(events["step"][place]) - waited]
        lost += events["side"][place] * (events["fill_price"][place] - price) * filled
        worth += price * filled
    return 1e4 * lost / worth if worth > 0.0 else None


def profits(accounts: Table, transfers: Table) -> dict[str, float]:
    """Change of equity of every class since step 0 without collateral that was brought in."""
    change = accounts["equity_end"] - accounts["equity_start"]
    for place in np.flatnonzero((transfers["kind"] == "collateral") & (transfers["step"] >= 0)):
        amount = transfers["amount_atom"][place] * 1e-8
        change[transfers["to_account_id"][place]] -= amount
        change[transfers["from_account_id"][place]] += amount
    found: dict[str, float] = {}
    for name, gain in zip(accounts["account_class"], change, strict=True):
        found[str(name)] = found.get(str(name), 0.0) + float(gain)
    return found


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def option_values(options: Options, price: float, elapsed: float) -> float:
    """Value of all options at a price, by Black (1976)."""
    total = 0.0
    for strike, years, is_call, volatility, ratio, held in zip(*options, strict=True):
        forward, deviation = price * ratio, volatility * math.sqrt(years - elapsed)
        first = math.log(forward / strike) / deviation + 0.5 * deviation
        sign = 1.0 if is_call else -1.0
        total += (
            held * sign * (forward * _normal(sign * first) - strike * _normal(sign * (first - deviation)))
        )
    return total


def gamma_exposure(options: Options, price: float, elapsed: float) -> float:
    """What must be traded per 1 % move, quote currency."""
    total = 0.0
    for strike, years, _, volatility, ratio, held in zip(*options, strict=True):
        forward, deviation = price * ratio, volatility * math.sqrt(years - elapsed)
        first = math.log(forward / strike) / deviation + 0.5 * deviation
        total += (
            held
            * math.exp(-0.5 * first * first)
            / math.sqrt(2.0 * math.pi)
            / (forward * deviation)
            * ratio**2
        )
    return 0.01 * total * price * price


def peak_gamma(series: Table, setting: Setting) -> float:
    """Largest gamma exposure at the ends of minutes."""
    stride = max(1, round(60.0 / setting.dt))
    peak = 0.0
    if setting.options is None:
        return peak
    for step, mid, mark in zip(series["step"].tolist(), series["mid"], series["mark"], strict=True):
        if step >= 0 and (step + 1) % stride == 0:
            at = float(mark if np.isnan(mid) else mid)
            exposure = gamma_exposure(setting.options, at, step * setting.dt / YEAR)
            peak = exposure if abs(exposure) > abs(peak) else peak
    return peak


def figures(tables: Mapping[str, Table], setting: Setting) -> dict[str, Any]:
    """Every figure that the tables of a fully recorded run tell, under the names of an ensemble's columns."""
    series, events, trades, accounts = (tables[name] for name in ("series", "events", "trades", "accounts"))
    whole = marks(series, setting, 0, setting.steps - 1)
    window = marks(series, setting, setting.first, setting.last)
    depth, retrace, recovered = excursion(1e4 * np.log(window / window[0]), setting.direction)
    after = series["step"] >= 0
    closed = {
        by: float(series[f"liquidated_notional_{by}"][after].sum()) for by in ("book", "backstop", "adl")
    }
    made = profits(accounts, tables["transfers"])
    filled = chosen(events, events["filled"] > 0.0)
    own = np.isin(filled["type"], CLOSED) & (filled["account_class"] != "insurance_fund")
    first, adl = filled["step"][own], filled["step"][filled["type"] == "adl"]
    drag = None
    if setting.options is not None:
        ended = option_values(setting.options, whole[-1], setting.steps * setting.dt / YEAR)
        drag = option_values(setting.options, whole[0], 0.0) - ended - made["options_dealer"]
    return {f"loss_by_class_{name}": -gain for name, gain in made.items()} | {
        "max_adverse_excursion": depth,
        "retrace": retrace,
        "recovery_seconds": None if recovered is None else recovered * setting.dt,
        "max_drawdown": drawdown(whole),
        "realised_volatility": realised_volatility(whole, setting.dt),
        "worst_depth": worst_depth(series, setting),
        "mark_start": window[0],
        "mark_lowest": window.min(),
        "mark_highest": window.max(),
        "mark_end": whole[-1],
        "liquidated_accounts": len(set(filled["account_id"][own].tolist())),
        "liquidated_notional": sum(closed.values()),
        "liquidated_quantity": float(filled["filled"][filled["type"] == "liquidation"].sum()),
        "first_liquidation_seconds": float(first.min()) * setting.dt if len(first) else None,
        "first_adl_seconds": float(adl.min()) * setting.dt if len(adl) else None,
        "throughput_bound_seconds": float(series["throughput_binding"][after].sum()) * setting.dt,
        "liquidation_shortfall": shortfall(events, series, setting),
        "densest_liquidation_share": forced_share(events, setting),
        "liquidation_volume_share": volume_share(trades, events, setting, "liquidation"),
        "hedge_volume_share": volume_share(trades, events, setting, "delta_hedge"),
        "backstop_notional": closed["backstop"],
        "adl_notional": closed["adl"],
        "insurance_fund_end": float(
            accounts["equity_end"][accounts["account_class"] == "insurance_fund"].sum()
        ),
        "bad_debt": float(series["bad_debt_cumulative"][-1]),
        "socialised_loss": float(series["socialised_cumulative"][-1]),
        "fees": float((trades["taker_fee"] + trades["maker_fee"])[trades["step"] >= 0].sum()),
        "peak_gamma_exposure": peak_gamma(series, setting) if "options_dealer" in made else None,
        "gamma_drag": drag,
        "steps": setting.steps,
        "trades": int((trades["step"] >= 0).sum()),
    }
