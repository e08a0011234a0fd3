"""The figures as a table."""

from __future__ import annotations

from collections.abc import Sequence

from figures import Figure, short

_HEAD = ("case", "", "target", "measured", "spread", "")


def table(figures: Sequence[Figure], *, judged: bool = True) -> str:
    """`judged`: whether verdicts are shown; those of small sizes are worth nothing."""
    return aligned([_HEAD, *(_line(figure, judged=judged) for figure in figures)])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _line(figure: Figure, *, judged: bool) -> tuple[str, ...]:
    least, most = min(figure.values), max(figure.values)
    spread = f"{short(least)} - {short(most)}" if len(figure.values) > 1 else ""
    return (
        figure.case,
        figure.what,
        figure.target.text(figure.unit),
        f"{short(figure.median)}{figure.unit}",
        spread,
        figure.verdict() if judged else "",
    )


def details(figure: Figure) -> str:
    """What a figure's values were made of: median (least - greatest) of each part."""
    parts = [f"{name}: {_figures(values)}" for name, values in figure.raw.items()]
    return f"  {figure.case}, {figure.what}: {'; '.join(parts)}" if parts else ""


def _figures(values: Sequence[float]) -> str:
    median = sorted(values)[len(values) // 2]
    return f"{short(median)} ({short(min(values))} - {short(max(values))})" if len(values) > 1 else short(median)
