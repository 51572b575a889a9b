"""Marks of events on a chart."""

from datetime import date

from matplotlib.figure import Figure

from features.events import MarketEvent
from serving.report.event_marks import draw_marks, event_marks


def _event(day: date, title: str) -> MarketEvent:
    return MarketEvent(
        date=day, kind="rescue", title=title, title_zh=f"{title}中", source="s", confidence="page_text"
    )  # fmt: skip


EVENTS = (_event(date(2023, 9, 1), "b"), _event(date(2023, 8, 27), "a"), _event(date(2023, 9, 1), "c"))


def test_events_of_a_day_share_a_mark() -> None:
    marks = event_marks(EVENTS, "en")
    assert [(mark.number, mark.day, mark.text) for mark in marks] == [
        (1, date(2023, 8, 27), "a"),
        (2, date(2023, 9, 1), "b; c"),
    ]
    assert event_marks(EVENTS, "zh")[1].text == "b中；c中"


def test_marks_stand_at_their_day_without_words() -> None:
    axes = Figure().subplots()
    draw_marks(axes, event_marks(EVENTS, "en"))
    assert [line.get_xdata()[0] for line in axes.lines] == [mark.day.toordinal() for mark in event_marks(EVENTS, "en")]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
