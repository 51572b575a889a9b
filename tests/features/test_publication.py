"""When numbers could be read: the table of the data's README by hand, and what must hold for every rule."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.calendar import TradingCalendar
from features.contracts import TimeArray
from features.errors import DataContractError
from features.market import MarketSpec, Rule, builtin_markets, load_market
from features.publication import known_times, rule_days

ZONES = {"cn": "Asia/Shanghai", "us": "America/New_York"}


@cache
def market(name: str) -> MarketSpec:
    return load_market(name)


@cache
def calendar(name: str) -> TradingCalendar:
    return TradingCalendar.build(market(name).schedule.calendar, "1990-01-01", "2024-12-31")


def known(name: str, series: str, period: str, release: str | None = None) -> tuple[str, bool]:
    """Return local time and whether it is an estimate."""
    spec = market(name).series[series]
    days = None if release is None else np.array([release], "datetime64[us]")
    time, estimated = known_times(spec, np.array([period], "datetime64[us]"), days, calendar(name), ZONES[name])
    local = pd.Timestamp(time[0], tz="UTC").tz_convert(ZONES[name])
    return f"{local:%a %Y-%m-%d %H:%M}", bool(estimated[0])


# One line per series and case: worked out with a paper calendar from the table in ../shared/data/README.md.
CHINA = """
csi300.close               2023-11-24  Fri 2023-11-24 15:15   the same day, after the close
csi300.amount              2023-11-24  Fri 2023-11-24 15:15
if_main.close              2023-11-24  Fri 2023-11-24 15:15
ic_main.volume             2023-11-24  Fri 2023-11-24 15:15
a_share_amount             2023-11-24  Fri 2023-11-24 15:15
northbound_net_flow        2023-11-24  Fri 2023-11-24 15:15
basis_ic                   2023-11-24  Fri 2023-11-24 15:15
size_deciles.d1_ret        2023-11-24  Fri 2023-11-24 15:15
shibor_3m                  2023-11-24  Fri 2023-11-24 11:00
usdcny                     2023-11-24  Fri 2023-11-24 09:15
gov_10y                    2023-11-24  Fri 2023-11-24 18:00   after the decision: next trading day's
gov_30y                    2023-11-24  Fri 2023-11-24 18:00
dr007                      2023-11-24  Fri 2023-11-24 18:00
etf_csi300_shares          2023-11-24  Fri 2023-11-24 18:00
margin_financing_balance   2023-11-24  Mon 2023-11-27 09:00   morning of the next trading day
margin_financing_balance   2023-01-20  Mon 2023-01-30 09:00   over Spring Festival
margin_financing_buy       2023-09-28  Mon 2023-10-09 09:00   over National Day
margin_short_balance       2023-11-23  Fri 2023-11-24 09:00
csi300.pe                  2023-11-24  Mon 2023-11-27 15:15   close of the next trading day
csi500.pb                  2023-01-20  Mon 2023-01-30 15:15
all_share_pe               2023-11-23  Fri 2023-11-24 15:15
us_gov_10y                 2023-11-23  Fri 2023-11-24 07:00   after the China close of the same date
us_gov_10y                 2023-11-24  Sat 2023-11-25 07:00
rrr_large                  2023-09-14  Thu 2023-09-14 18:00   the announcement, evening
"""
CHINA_ESTIMATED = """
pmi_mfg                    2023-10-31  Mon 2023-11-06 18:00   1st, plus three
pmi_mfg                    2022-12-31  Fri 2023-01-06 18:00   1st and 2nd are New Year: 3rd, plus three
pmi_nonmfg                 2023-09-30  Thu 2023-10-12 18:00   the 1st lies in National Day: 9th, plus three
cpi_yoy                    2023-09-30  Thu 2023-10-19 18:00   16th, a Monday, plus three
ppi_yoy                    2021-01-31  Tue 2021-02-23 18:00   the 16th lies in Spring Festival: 18th, plus three
m2_yoy                     2023-09-30  Fri 2023-10-20 18:00   17th, plus three
m1_yoy                     2021-01-31  Tue 2021-02-23 18:00   the 17th lies in Spring Festival: 18th, plus three
tsf_flow                   2023-08-31  Thu 2023-09-21 18:00   17th is a Sunday: 18th, plus three
rmb_loans_tsf_basis        2023-09-30  Fri 2023-10-20 18:00
ip_yoy                     2023-09-30  Wed 2023-10-25 18:00   20th, a Friday, plus three
retail_yoy                 2023-01-31  Thu 2023-03-23 18:00   January comes with February: 20 March, plus three
fai_month_yoy              2023-02-28  Thu 2023-03-23 18:00
exports_usd_yoy            2023-09-30  Tue 2023-10-24 18:00   19th, plus three
consumer_confidence        2023-09-30  Fri 2023-11-03 18:00   last day of October, plus three
"""
AMERICA = """
spy.adj_close              2023-11-24  Fri 2023-11-24 16:00   at the close
iwm.volume                 2023-03-13  Mon 2023-03-13 16:00   first session of daylight saving
DGS10                      2023-11-24  Mon 2023-11-27 16:15   next business day
VIXCLS                     2023-11-22  Fri 2023-11-24 16:15   over Thanksgiving
BAMLH0A0HYM2               2023-11-21  Wed 2023-11-22 16:15
ICSA                       2023-11-18  Thu 2023-11-23 08:30   week ending Saturday, plus five days
NFCI                       2023-01-27  Wed 2023-02-01 08:30   Friday plus five days
WALCL                      2023-11-15  Thu 2023-11-16 16:30   Wednesday plus one day
WALCL                      2023-11-22  Fri 2023-11-24 16:30   over Thanksgiving
DTWEXBGS                   2023-11-13  Mon 2023-11-20 16:15   next Monday
ism_pmi                    2023-10-31  Wed 2023-11-01 10:00   first business day
ism_pmi                    2023-12-31  Tue 2024-01-02 10:00   New Year is none
ism_pmi                    2014-08-31  Tue 2014-09-02 10:00   nor is Labor Day
"""
AMERICA_ESTIMATED = """
INDPRO                     2023-09-30  Fri 2023-10-20 18:00   17th, plus three
CPIAUCSL                   2023-09-30  Thu 2023-10-19 18:00   the 15th is a Sunday: 16th, plus three
PAYEMS                     2023-09-30  Wed 2023-10-11 18:00   first Friday, the 6th, plus three
M2SL                       2023-09-30  Fri 2023-10-27 18:00   fourth Tuesday, the 24th, plus three
BUSLOANS                   2023-09-30  Thu 2023-10-19 18:00
UMCSENT                    2023-10-31  Fri 2023-11-03 18:00   last day of its own month, plus three
finra_margin_debt          2023-09-30  Mon 2023-10-30 18:00   25th, plus three
cfnai                      2023-09-30  Mon 2023-10-30 18:00
conference_board_lei       2023-03-31  Thu 2023-04-27 18:00   22nd is a Saturday: 24th, plus three
oecd_cli_us_normalised     2023-03-31  Thu 2023-05-18 18:00   15th of the second month after, plus three
"""


def lines(text: str) -> list[tuple[str, str, str]]:
    return [(line[:27].strip(), line[27:37], line[39:59]) for line in text.strip().splitlines()]


CASES = [
    (name, *line, estimated)
    for name, text, estimated in (
        ("cn", CHINA, False),
        ("cn", CHINA_ESTIMATED, True),
        ("us", AMERICA, False),
        ("us", AMERICA_ESTIMATED, True),
    )
    for line in lines(text)
]


@pytest.mark.parametrize(("name", "series", "period", "expected", "estimated"), CASES)
def test_the_table_by_hand(name: str, series: str, period: str, expected: str, estimated: bool) -> None:
    assert known(name, series, period) == (expected, estimated)


@pytest.mark.parametrize(
    ("series", "period", "release", "expected"),
    [
        ("pmi_mfg", "2022-01-31", "2022-01-30", "Sun 2022-01-30 09:30"),  # before its month ended, on a Sunday
        ("cpi_yoy", "2023-10-31", "2023-11-09", "Thu 2023-11-09 09:30"),
        ("ip_yoy", "2023-10-31", "2023-11-15", "Wed 2023-11-15 10:00"),
        ("m2_yoy", "2020-01-31", "2020-02-20", "Thu 2020-02-20 18:00"),  # no fixed hour: the next decision
        ("exports_usd_yoy", "2023-10-31", "2023-11-07", "Tue 2023-11-07 11:30"),
    ],
)
def test_a_stated_date_counts_instead_of_the_rule(series: str, period: str, release: str, expected: str) -> None:
    assert known("cn", series, period, release) == (expected, False)


def test_stated_and_missing_dates_side_by_side() -> None:
    spec = market("cn").series["cpi_yoy"]
    period = np.array(["2023-08-31", "2023-09-30"], "datetime64[us]")
    release = np.array(["2023-09-09", "NaT"], "datetime64[us]")
    time, estimated = known_times(spec, period, release, calendar("cn"), ZONES["cn"])
    assert time.astype(str).tolist() == ["2023-09-09T01:30:00.000000", "2023-10-19T10:00:00.000000"]
    assert estimated.tolist() == [False, True]


def test_recessions_are_dated_twenty_months_later() -> None:
    assert known("us", "USREC", "2020-02-29")[0] >= "Sat 2021-10-29"


def test_beyond_the_calendar_the_message_names_the_remedy() -> None:
    spec = market("cn").series["m2_yoy"]
    with pytest.raises(
        DataContractError, match=r"m2_yoy: no publication time for period 2024-12-31.*exchange_calendars"
    ):
        known_times(spec, np.array(["2024-12-31"], "datetime64[us]"), None, calendar("cn"), ZONES["cn"])


MONTHLY = sorted(
    {
        (name, spec.known)
        for name in builtin_markets()
        for spec in load_market(name).series.values()
        if spec.known.estimated
    },
    key=str,
)


@settings(max_examples=150)
@given(st.sampled_from(MONTHLY), st.integers(1996 * 12, 2023 * 12))
def test_an_estimate_is_three_sessions_after_the_bare_day(case: tuple[str, Rule], month: int) -> None:
    """Never before the bare rule, always a session, and the naive count of sessions agrees."""
    name, rule = case
    following = pd.Period(year=month // 12, month=month % 12 + 1, freq="M")
    period = np.array([(following.asfreq("D", "end")).to_timestamp()], "datetime64[us]")
    sessions = calendar(name).sessions
    target = following + rule.offset + int(rule.january_with_february and following.month == 1)
    if rule.day is not None:
        bare = pd.Timestamp(f"{target}-01") + pd.Timedelta(days=rule.day - 1)
        if rule.day < 0 or bare.month != target.month:
            bare = target.asfreq("D", "end").to_timestamp()
    elif rule.weekday is not None:
        number = ["mon", "tue", "wed", "thu", "fri"].index(rule.weekday)
        bare = [day for day in pd.date_range(f"{target}-01", periods=31) if day.weekday() == number][rule.nth - 1]
    else:
        bare = pd.Timestamp(sessions[sessions >= np.datetime64(f"{target}-01")][rule.nth - 1])
    day = rule_days(rule, period, calendar(name))[0]
    assert day >= np.datetime64(bare, "us")
    later = sessions[sessions >= np.datetime64(bare, "us")]
    assert day == later[3]


@given(st.integers(0, 6000), st.integers(0, 5))
def test_business_days_skip_weekends_only(offset: int, lag: int) -> None:
    period = pd.Timestamp("2005-01-01") + pd.Timedelta(days=offset)
    rule = Rule(kind="business_days", lag=lag)
    start = period - pd.Timedelta(days=max(0, period.weekday() - 4))
    days: TimeArray = rule_days(rule, np.array([period], "datetime64[us]"), calendar("us"))
    assert days[0] == np.datetime64(start + pd.offsets.BDay(lag) if lag else start, "us")


# --------------------------------------------------------------------------------------------------------- real data
def genuine_dates(root: Path) -> dict[str, pd.DataFrame]:
    """Return period and stated date of every monthly series of `cn`."""
    found = {}
    releases = pd.read_csv(root / "cn" / "releases.csv", parse_dates=["release_date"])
    for name, spec in market("cn").series.items():
        if spec.shape == "monthly" and spec.file is not None and (root / spec.file).exists():
            table = pd.read_csv(root / spec.file, parse_dates=["release_date"]).dropna(subset="release_date")
            table["period"] = pd.PeriodIndex(table["period"].str[:7], freq="M").to_timestamp("M").normalize()
            found[name] = table
        elif spec.shape == "releases" and spec.column == "actual" and "pmi" not in name:
            # The month before the release; a PMI may come in its own month.
            table = releases[(releases["series"] == spec.key) & (releases["genuine_release_date"] == 1)].copy()
            table["period"] = table["release_date"].dt.to_period("M").dt.start_time - pd.Timedelta(days=1)
            found[name] = table
    return found


@pytest.mark.real
def test_no_genuine_date_is_later_than_the_estimate_would_have_been(real_data: Path) -> None:
    """Quarterly GDP included; a second print within the month (FX reserves) counts like a first one."""
    found = genuine_dates(real_data)
    assert sum(len(table) > 20 for table in found.values()) >= 18
    for name, table in found.items():
        period = table["period"].to_numpy("datetime64[us]")
        estimate = rule_days(market("cn").series[name].known, period, calendar("cn"))
        late = table[table["release_date"].to_numpy("datetime64[us]") > estimate]
        assert late.empty, f"{name}: {late[['period', 'release_date']].to_dict('records')}"
