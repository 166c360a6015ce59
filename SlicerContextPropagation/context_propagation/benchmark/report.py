"""The report that is printed: made of what is written as JSON, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

GIGA = 1e9


def report(results: dict[str, Any]) -> str:
    """All tables.

    Args:
        results: See `Results.as_json`.
    """
    lines = [f"{name}: {value}" for name, value in results["provenance"].items()]
    rates = results["rates"]
    convolving = ", ".join(
        f"{value / GIGA:.4g} G multiply-adds/s ({name.rpartition('_')[2]} channels)"
        for name, value in rates.items()
        if name.startswith("multiply_adds")
    )
    lines.append(f"measured rates: 3 x 3 x 3 convolution {convolving}; copy {rates['bytes'] / GIGA:.4g} GB/s")
    places = dict.fromkeys((row["network"], row["window"], row["blob"]) for row in results["rows"])
    for place in places:
        lines += ["", _title(*place), *_of_place(results, place)]
    lines += [f"not measured: {failure}" for failure in results["failures"]]
    return "\n".join(lines)


def _title(network: str, window: str, blob: str) -> str:
    return f"{network}, window {window}" + (f", blob {blob}" if blob else "")


def _of_place(results: dict[str, Any], place: tuple[str, str, str]) -> Iterable[str]:
    def is_here(one: dict[str, Any]) -> bool:
        return (one["network"], one["window"], one["blob"]) == place

    rows, ratios = ([one for one in results[name] if is_here(one)] for name in ("rows", "ratios"))
    yield from _table(
        ("what", "level", "build", "seconds", "MiB", "remarks"),
        [
            (
                row["what"],
                "" if row["level"] is None else str(row["level"]),
                row["build"],
                f"{row['seconds']:.4g}",
                "" if row["mib"] is None else f"{row['mib']:.0f}",
                row["remarks"],
            )
            for row in rows
        ],
    )
    yield ""
    yield from _table(
        ("ratio", "level", "of", "value"),
        [
            (
                f"{_named(one['over'])} / {_named(one['under'])}",
                "" if one["level"] is None else str(one["level"]),
                {"seconds": "seconds", "mib": "memory"}[one["quantity"]],
                "does not count" if one["value"] is None else f"{one['value']:.4g}",
            )
            for one in ratios
        ],
    )


def _named(end: Sequence[str]) -> str:
    build, what = end
    return f"{what} (against)" if build == "against" else what


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Columns of equal width, two spaces apart."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    for line in (head, ["-" * width for width in widths], *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
