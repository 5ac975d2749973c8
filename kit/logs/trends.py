"""From a frame of attempts to what a chart and its tables show. Pure, and fast enough to follow a slider.

A selection is a mask over the frame's rows, made from the codes of its categories; counting is `numpy.bincount` over codes.
Ten million attempts take some tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kit.model import Outcome

MOST_BARS: Final = 400
_WIDTHS: Final = ("1min", "5min", "15min", "1h", "3h", "6h", "12h", "1D", "7D", "28D")
_SUCCESS: Final = Outcome.SUCCESS.value

Mask = npt.NDArray[np.bool_]


def select(
    frame: pd.DataFrame,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    outcomes: Collection[str] = (),
    causes: Collection[str] = (),
    users: Collection[str] = (),
    addresses: Collection[str] = (),
) -> Mask:
    """The rows that fit every condition given; an empty one does not narrow. `since` is included, `until` is not."""
    mask = np.ones(len(frame), bool)
    for column, wanted in (("outcome", outcomes), ("cause", causes), ("user", users), ("client_ip", addresses)):
        if wanted:
            codes = frame[column].cat.categories.get_indexer(pd.Index(list(wanted)))
            mask &= np.isin(frame[column].cat.codes.to_numpy(), codes[codes >= 0])
    if since is not None:
        mask &= (frame["time"] >= pd.Timestamp(since)).to_numpy()
    if until is not None:
        mask &= (frame["time"] < pd.Timestamp(until)).to_numpy()
    return mask


def trend(frame: pd.DataFrame, mask: Mask, *, width: str | None = None) -> pd.DataFrame:
    """Tries a bin by cause: one row a bin from the first selected try to the last (UTC), one column a cause, the commonest first.

    `width` is that of a bin, as pandas writes it (`15min`); without it, the narrowest that gives at most MOST_BARS.
    """
    times, causes = frame["time"][mask], frame["cause"][mask]
    if times.empty:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="time"))
    step = pd.Timedelta(width or fitting_width(times.min(), times.max()))
    first = times.min().floor("7D" if step >= pd.Timedelta("7D") else step)
    bins = ((times - first) // step).to_numpy().astype(np.int64)
    names = causes.cat.categories
    cells = bins * len(names) + causes.cat.codes.to_numpy()
    shape = (int(bins.max()) + 1, len(names))
    counts = np.bincount(cells, frame["count"][mask].to_numpy(np.int64), shape[0] * shape[1]).astype(np.int64).reshape(shape)
    index = pd.date_range(first, periods=shape[0], freq=step, name="time")
    table = pd.DataFrame(counts, index=index, columns=list(names))
    totals = table.sum().sort_values(ascending=False, kind="stable")
    return table[[name for name, total in totals.items() if total]]


def fitting_width(first: pd.Timestamp, last: pd.Timestamp) -> str:
    """The narrowest bin that covers the time with at most MOST_BARS, one of them for a first try late in its bin."""
    return next((width for width in _WIDTHS if (last - first) / pd.Timedelta(width) < MOST_BARS - 1), _WIDTHS[-1])


def top(frame: pd.DataFrame, mask: Mask, column: str, *, beside: Mask | None = None, most: int = 10) -> pd.DataFrame:
    """Who stands out: for each value of `column` among the selected rows, its failures, successes and last try.

    `beside` adds rows to those who are selected already, their successes for instance, and nobody else.
    One row a value, the most failures first; columns `failures`, `successes`, `last` (UTC), and `addresses` or `users`,
    the number of different ones.
    """
    other, label = ("client_ip", "addresses") if column == "user" else ("user", "users")
    codes = frame[column].cat.codes.to_numpy()
    counted = mask if beside is None else (mask | beside) & np.isin(codes, np.unique(codes[mask]))
    chosen = frame.loc[counted, [column, other, "outcome", "count", "time"]].dropna(subset=[column])
    good = chosen["outcome"] == _SUCCESS
    grouped = chosen.assign(failures=chosen["count"].where(~good, 0), successes=chosen["count"].where(good, 0)).groupby(
        column, observed=True
    )
    table = grouped.agg(failures=("failures", "sum"), successes=("successes", "sum"), last=("time", "max"), **{label: (other, "nunique")})
    return table.sort_values(["failures", "successes", "last"], ascending=False).head(most)


def totals(frame: pd.DataFrame, mask: Mask) -> pd.Series:
    """Tries by outcome among the selected rows, the commonest first."""
    sums = frame.loc[mask].groupby("outcome", observed=True)["count"].sum()
    return sums[sums > 0].sort_values(ascending=False, kind="stable")
