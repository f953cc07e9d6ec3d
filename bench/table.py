"""The results as Markdown, for people and the README, and as JSON, for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.rows import Row, Section, Target
from bench.samples import Samples

_HEAD = "| What | Moongate | Beside it | Ratio | Target | Met |\n|---|---|---|---|---|---|"


def markdown(sections: Sequence[Section], machine: Mapping[str, str], conditions: Sequence[str]) -> str:
    """The whole page: machine, conditions, one table per section."""
    lines = ["# Measured", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- {line}" for line in conditions]
    lines += ["", _tally(sections)]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.how]
        if section.rows:
            lines += ["", _HEAD, *(_row(row) for row in section.rows)]
        if section.troubles:
            lines += ["", *(f"- Not measured: {_cell(trouble)}" for trouble in section.troubles)]
    return "\n".join(lines) + "\n"


def as_json(
    sections: Sequence[Section], machine: Mapping[str, str], conditions: Sequence[str]
) -> dict[str, object]:
    """The same, with the value of every round."""
    return {
        "machine": dict(machine),
        "conditions": list(conditions),
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "how": section.how,
                "troubles": section.troubles,
                "rows": [_row_json(row) for row in section.rows],
            }
            for section in sections
        ],
    }


def number(value: float) -> str:
    """Three figures that matter, thousands parted, no exponent."""
    size = abs(value)
    if value == int(value) and size < 1000:
        return str(int(value))
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.01 else f"{value:.2g}"


def target_text(target: Target, unit: str) -> str:
    """A target as a reader sees it: `≥ 0.9×`, `≤ 50 ms`."""
    sign = {"at least": "≥ ", "at most": "≤ ", "exactly": "= "}[target.sense]
    return f"{sign}{number(target.number)}" + ("×" if target.of == "ratio" else f" {unit}")


def _tally(sections: Sequence[Section]) -> str:
    verdicts = [row.met for section in sections for row in section.rows if row.met is not None]
    missed = [
        f"{section.title}: {row.what}" for section in sections for row in section.rows if row.met is False
    ]
    text = f"**{sum(verdicts)} of {len(verdicts)} targets met.**"
    return text + (" Missed: " + "; ".join(missed) + "." if missed else "")


def _row(row: Row) -> str:
    beside = f"{_spread(row.theirs)} {row.unit} ({row.beside})" if row.theirs else "–"
    ratio = (
        f"{number(row.ratio.median)}× ({number(row.ratio.least)}–{number(row.ratio.greatest)})"
        if row.ratio
        else "–"
    )
    target = target_text(row.target, row.unit) if row.target else "–"
    met = {True: "yes", False: "**no**", None: "–"}[row.met]
    what = row.what + (f" – {row.note}" if row.note else "")
    return f"| {_cell(what)} | {_spread(row.ours)} {row.unit} | {beside} | {ratio} | {target} | {met} |"


def _spread(samples: Samples) -> str:
    if samples.least == samples.greatest:
        return number(samples.median)
    return f"{number(samples.median)} ({number(samples.least)}–{number(samples.greatest)})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _row_json(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "unit": row.unit,
        "ours": list(row.ours.values),
        "beside": row.beside,
        "theirs": list(row.theirs.values) if row.theirs else None,
        "ratio": list(row.ratio.values) if row.ratio else None,
        "ratio_median": row.ratio.median if row.ratio else None,
        "target": {"sense": row.target.sense, "number": row.target.number, "of": row.target.of}
        if row.target
        else None,
        "met": row.met,
        "note": row.note,
    }
