"""Small plots as inline SVG. Colours come from the sheet, by class; every plot is told in words, too."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from markupsafe import Markup

_TONES = 6


def bar(parts: Sequence[tuple[str, float]], label: str) -> Markup:
    """One bar in parts, each as wide as its share; the largest come first and keep their colours."""
    whole = sum(max(0.0, value) for _, value in parts)
    if whole <= 0:
        return Markup()
    pieces, at = [], 0.0
    for number, (name, value) in enumerate(parts):
        width = 100 * max(0.0, value) / whole
        pieces.append(
            Markup(
                '<rect class="tone-{}" x="{}" y="0" width="{}" height="8"><title>{} {}</title></rect>'
            ).format(
                number % _TONES, f"{at:.3f}", f"{max(width - 0.25, 0.2):.3f}", name, f"{value / whole:.0%}"
            )
        )
        at += width
    return Markup(
        '<svg class="plot-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(label, Markup().join(pieces))


_VERDICT_TONES = ("bad", "warn", "mute", "mute", "good")


def verdicts(counts: Sequence[int], label: str) -> Markup:
    """A bar of dangerous, suspicious, failed, unscanned and clean, in this order and their colours."""
    whole = sum(counts) or 1
    pieces, at = [], 0.0
    for tone, count in zip(_VERDICT_TONES, counts, strict=True):
        width = 100 * count / whole
        pieces.append(
            Markup('<rect class="fill-{}" x="{}" y="0" width="{}" height="8"/>').format(
                tone, f"{at:.3f}", f"{width:.3f}"
            )
        )
        at += width
    return Markup(
        '<svg class="plot-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        'aria-label="{}: {} of {} dangerous or suspicious">{}</svg>'
    ).format(label, counts[0] + counts[1], sum(counts), Markup().join(pieces))


def ring(share: float, label: str) -> Markup:
    """A ring that is filled to a share between 0 and 1."""
    radius = 15.5
    around = 2 * pi * radius
    filled = around * min(1.0, max(0.0, share))
    return Markup(
        '<svg class="plot-ring" viewBox="0 0 40 40" role="img" aria-label="{}">'
        '<circle class="ring-rest" cx="20" cy="20" r="{r}" fill="none" stroke-width="5"/>'
        '<circle class="ring-part" cx="20" cy="20" r="{r}" fill="none" stroke-width="5" '
        'stroke-linecap="round" stroke-dasharray="{filled} {around}" transform="rotate(-90 20 20)"/></svg>'
    ).format(label, r=radius, filled=f"{filled:.2f}", around=f"{around:.2f}")
