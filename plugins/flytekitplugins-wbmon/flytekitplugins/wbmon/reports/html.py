"""What the pages of reports are built from: sections, verdicts, tables and their cells.

Pages are self-contained (no script, no outside file), follow the reader's light or dark theme, and
serve as Flyte Deck, as W&B panel and as a file. Everything here escapes the text it is given; only
what is said to be markup is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from flytekitplugins.wbmon.names import shown_name

_STYLE = """
.wbmon{--ink:#1d2733;--dim:#5d6b7a;--line:#dde3ea;--paper:#fff;--ref:#9fb3c8;--cur:#d9622b;
--good:#1a7f4b;--warn:#a86400;--bad:#b3261e;font:14px/1.45 system-ui,sans-serif;color:var(--ink);
background:var(--paper);max-width:1080px;margin:0 auto;padding:20px;overflow-x:auto}
@media(prefers-color-scheme:dark){.wbmon{--ink:#e6ebf0;--dim:#9aa8b6;--line:#36424f;--paper:#161c22;
--ref:#6f8499;--cur:#ee8a58;--good:#5fcf98;--warn:#f0b45a;--bad:#f28b82}}
.wbmon h1{font-size:17px;margin:0 0 10px;color:var(--dim);font-weight:600}
.wbmon .verdict{font-size:21px;font-weight:650;border-left:6px solid;padding:6px 14px;margin:0}
.wbmon .good{color:var(--good)}.wbmon .warn{color:var(--warn)}.wbmon .bad{color:var(--bad)}
.wbmon .dim,.wbmon .none{color:var(--dim)}.wbmon .why{margin:8px 0 18px 20px}
.wbmon table{border-collapse:collapse;width:100%;margin:6px 0 18px}
.wbmon th{font-weight:600;text-align:left;color:var(--dim);font-size:12px}
.wbmon th,.wbmon td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
.wbmon th,.wbmon td{min-width:3em;overflow-wrap:anywhere}.wbmon td b{unicode-bidi:plaintext}
.wbmon p,.wbmon li{overflow-wrap:anywhere}
.wbmon th,.wbmon td,.wbmon p,.wbmon li{white-space:pre-wrap}
.wbmon td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.wbmon .key span{display:inline-block;width:10px;height:10px;margin:0 5px 0 0}
.wbmon .key span~span{margin-left:14px}
.wbmon svg{display:block}.wbmon a{color:inherit}.wbmon summary{cursor:pointer;color:var(--dim)}
"""
_TONE = {
    "ok": "good",
    "pass": "good",
    "better": "good",
    "resolved": "good",
    "ship": "good",
    "warning": "warn",
    "pending": "warn",
    "warn": "warn",
    "insufficient": "warn",
    "no_data": "warn",
    "no_labels": "warn",
    "undecided": "warn",
    "at_risk": "warn",
    "drift": "bad",
    "fail": "bad",
    "worse": "bad",
    "firing": "bad",
    "error": "bad",
    "hold": "bad",
    "exceeded": "bad",
}


def page(title: str, *sections: str) -> str:
    """A whole document of sections (markup), in the order given."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body style="margin:0">{"".join(sections)}</body></html>'
    )


def section(title: str, body: Iterable[str]) -> str:
    """A titled part of a page; the body is markup."""
    return f'<div class="wbmon">{heading(title)}{"".join(body)}</div>'


def heading(text: str) -> str:
    """A title inside a section."""
    return f"<h1>{escape(text)}</h1>"


def verdict(state: str, words: str, reason: str) -> str:
    """What a section says first, in the tone of a state, and why."""
    return headline(tone(state), words, reason)


def headline(colour: str, words: str, reason: str) -> str:
    """What a section says first, in a tone: `good`, `warn`, `bad`, `dim` or `none`."""
    return f'<p class="verdict {colour}">{escape(words)}</p><p class="why">{escape(reason)}</p>'


def tone(state: str) -> str:
    """How a state looks: `good`, `warn`, `bad`, or `none` for one that means neither."""
    return _TONE.get(state, "none")


def facts(*words: str) -> str:
    """A quiet line of facts."""
    return f'<p class="dim">{" · ".join(map(escape, words))}</p>'


def warning(text: str) -> str:
    """A line that must not be overlooked."""
    return f'<p class="warn">{escape(text)}</p>'


def notes(title: str, items: Sequence[str], colour: str) -> str:
    """A titled list; nothing if it is empty."""
    if not items:
        return ""
    points = "".join(f'<li class="{colour}">{escape(item)}</li>' for item in items)
    return f"{heading(title)}<ul>{points}</ul>"


def links(named: Mapping[str, str]) -> str:
    """A quiet line of links by name; an address no browser opens stands there as text."""
    if not named:
        return ""
    shown = [link(name, url, else_show=f"{name}: {url}") for name, url in named.items()]
    return f'<p class="dim">{" · ".join(shown)}</p>'


def link(name: str, url: str, *, else_show: str) -> str:
    """A link to a web page, or a text where the address is none (`s3://`, `javascript:`)."""
    if not url.startswith(("https://", "http://")):
        return escape(else_show)
    return f'<a href="{escape(url, quote=True)}">{escape(name)}</a>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells (markup) under a head (text)."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def folded_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, shown: int, more: str
) -> Iterable[str]:
    """A table of the first rows, and a second one with the rest, folded under how many there are.

    Args:
        head: The names of the columns.
        rows: Cells as markup.
        shown: How many rows are not folded.
        more: What follows the number of folded rows.
    """
    yield table(head, rows[:shown])
    if rest := rows[shown:]:
        summary = escape(f"{len(rest)} {more}")
        yield f"<details><summary>{summary}</summary>{table(head, rest)}</details>"


def cell(text: str) -> str:
    """A cell that holds a number or something as short."""
    return f'<td class="n">{escape(text)}</td>'


def dim_cell(text: str) -> str:
    """A cell that stands back."""
    return f'<td class="dim">{escape(text)}</td>'


def name_cell(name: str, below: str = "") -> str:
    """The cell that says what a row is about, with a quiet word below it."""
    under = f'<br><span class="dim">{escape(below)}</span>' if below else ""
    return f"<td><b>{escape(shown_name(name))}</b>{under}</td>"


def prose_cell(text: str) -> str:
    """A cell of words, which may wrap."""
    return f"<td>{escape(text)}</td>"


def state_cell(state: str) -> str:
    """A cell that holds a state in its tone."""
    return f'<td class="{tone(state)}">{escape(state.replace("_", " "))}</td>'


def number(value: float) -> str:
    """A number with four significant digits; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def share(value: float) -> str:
    """A share as percent; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.1%}"


def milliseconds(value: float) -> str:
    """A time in whole milliseconds; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:,.0f} ms"


def interval(low: float, high: float, form: Callable[[float], str] = number) -> str:
    """An interval; `form` is `number` or `share`."""
    return f"{form(low)} … {form(high)}"
