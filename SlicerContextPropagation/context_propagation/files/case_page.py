"""A case as one HTML page that needs no other file; nothing in it names a patient but the title, if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from context_propagation import __version__
from context_propagation.core.provenance import commit
from context_propagation.core.session.saved_session import SavedPropagation
from context_propagation.files.case_measures import Case, CaseMeasures, PlaneChanges, SliceRow
from context_propagation.files.self_contained_page import self_contained_page

TITLE = "Case summary"


NOT_RECORDED = "not recorded"


UNDEFINED = "not defined"
"""A measure between two contours of which one is empty."""


WHERE_MOST = ", where first and final contour differ most"


Rows = list[tuple[str, str]]


_BODY = """<h1>{{ title }}</h1>
<p>Made by Context Propagation on {{ written_at }}. Research software: not a medical device.</p>
{% macro table(rows) %}
<table>
{% for name, value in rows %}
<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table>
{% endmacro %}
{% macro columns(head, rows) %}
<table>
<tr>{% for name in head %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endmacro %}
<section><h2>First and final contour</h2>
<p>DSC and distance compare the final contour with the first one. They say how much was changed; they do not say how
accurate either contour is.</p>
{{ table(measures) }}
{% for plane in planes %}
{{ picture(plane.contours, plane.caption) }}
{% endfor %}
</section>
<section><h2>Edits</h2>
{% if edits %}
<p>Slices are counted from 0 along the image's array. Voxels changed are those that the propagation changed, the drawing
itself not counted. Edits that were undone are left out.</p>
{{ columns(["Edit", "Time", "Plane", "Slices drawn", "Reach", "Voxels changed", "Slices changed",
            "Voxels refused by masks"], edits) }}
{% else %}
<p>No edit was propagated.</p>
{% endif %}
{{ table(work) }}
</section>
{% for plane in planes %}
{% if plane.rows %}
<section><h2>Changes per {{ plane.name }} slice</h2>
{% if plane.changes %}
{{ picture(plane.changes, "Voxels that each edit changed on each slice.") }}
{% endif %}
<p>Every slice that was drawn or changed. Added and removed: voxels from the first to the final contour, the drawing
counted. DSC: between both, on this slice.</p>
{{ columns(plane.head, plane.rows) }}
</section>
{% endif %}
{% endfor %}
<section><h2>Image, model and programs</h2>
{{ table(origin) }}
</section>
"""


def case_page(
    case: Case,
    measures: CaseMeasures,
    contours: Sequence[bytes],
    changes: Sequence[bytes | None],
    title: str = "",
) -> str:
    """The page's HTML.

    Args:
        case: What was done.
        measures: Its figures.
        contours: A PNG for each plane of `measures.planes`.
        changes: A chart for each of them, or None.
        title: What the user calls the case; empty for no name.

    Raises:
        MissingDependencyError: Jinja2 is not installed.
    """
    pictures = zip(measures.planes, contours, changes, strict=True)
    return self_contained_page(
        title.strip() or TITLE,
        _BODY,
        written_at=_utc(datetime.now(timezone.utc)),
        measures=_measure_rows(measures),
        edits=[_edit_row(number, done, case) for number, done in enumerate(case.saved.edited, start=1)],
        work=_work_rows(case, measures),
        planes=[_plane(plane, shown, chart) for plane, shown, chart in pictures],
        origin=_origin_rows(case),
    )


def _measure_rows(found: CaseMeasures) -> Rows:
    plane = found.planes[0].plane
    return [
        ("Volume of the first contour", f"{found.first_ml:.2f} mL"),
        ("Volume of the final contour", f"{found.final_ml:.2f} mL"),
        ("Voxels added, removed", f"{found.added}, {found.removed}"),
        ("DSC", _known(found.dsc, "{:.3f}")),
        ("Hausdorff distance, 95 %", _known(found.hd95_mm, "{:.1f} mm")),
        (f"Added path length, {plane}", f"{found.added_path_mm:.0f} mm"),
        ("Of it, on drawn slices", f"{found.added_path_drawn_mm:.0f} mm"),
    ]


def _known(value: float | None, form: str) -> str:
    return f"{UNDEFINED}, as a contour is empty" if value is None else form.format(value)


def _edit_row(number: int, done: SavedPropagation, case: Case) -> list[str]:
    changed = done.changed_per_slice
    return [
        str(number),
        _utc(_time(done)),
        case.volume.plane_of_axis[done.edits[0].axis],
        ", ".join(str(edit.index) for edit in done.edits),
        done.scope or NOT_RECORDED,
        str(sum(changed.values())),
        str(len(changed)),
        str(done.refused),
    ]


def _work_rows(case: Case, found: CaseMeasures) -> Rows:
    saved, since = case.saved, case.changed_since
    drawn = {(edit.axis, edit.index) for done in saved.propagations for edit in done.edits}
    return [
        ("Edits propagated", str(len(saved.edited))),
        ("Slices drawn in them", str(len(drawn))),
        ("Slices drawn before and kept", str(len(saved.kept))),
        ("Slices confirmed without being drawn", str(sum(len(case.confirmed_on(axis)) for axis in range(3)))),
        ("From the first to the last edit", _between(saved.edited)),
        ("Voxels changed by hand on other slices", str(found.by_hand_elsewhere)),
        (
            "Voxels changed since the last edit",
            "unknown, as the voxel grid was changed" if since is None else str(since),
        ),
    ]


def _between(propagations: Sequence[SavedPropagation]) -> str:
    """Minutes and seconds, or hours before them."""
    times = [_time(done) for done in propagations]
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return NOT_RECORDED
    return str(timedelta(seconds=round((max(known) - min(known)).total_seconds())))


def _time(done: SavedPropagation) -> datetime | None:
    """When it was made, in UTC; None where nobody knows."""
    try:
        time = datetime.fromisoformat(done.made_at)
        return time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _utc(time: datetime | None) -> str:
    return NOT_RECORDED if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _plane(plane: PlaneChanges, contours: bytes, changes: bytes | None) -> dict[str, Any]:
    return {
        "name": plane.plane,
        "contours": contours,
        "caption": (
            f"Through {plane.plane} slice {plane.most_changed}{WHERE_MOST if plane.differs else ''}. Yellow: first "
            "contour. Red: final contour. Dashed lines: drawn slices."
        ),
        "changes": changes,
        "head": ["Slice", "State", "Added", "Removed", "DSC", *(f"By edit {number}" for number in plane.numbers)],
        "rows": [_slice_row(row, plane.numbers) for row in plane.rows],
    }


def _slice_row(row: SliceRow, numbers: Sequence[int]) -> list[str]:
    dsc = UNDEFINED if row.dsc is None else f"{row.dsc:.3f}"
    state = "drawn" if row.drawn else "confirmed" if row.confirmed else ""
    told = [str(row.index), state, str(row.added), str(row.removed), dsc]
    return [*told, *(str(row.changed.get(number, 0)) for number in numbers)]


def _origin_rows(case: Case) -> Rows:
    saved, volume = case.saved, case.volume
    size = " x ".join(str(n) for n in reversed(volume.shape_kji))
    spacing = " x ".join(f"{mm:.4g}" for mm in reversed(volume.spacing_kji_mm))
    return [
        ("Image", f"{size} voxels of {spacing} mm"),
        *((f"Image, channel {n}, SHA-256", sha256) for n, sha256 in enumerate(saved.image_sha256, start=1)),
        ("Model", case.model_kind or "not loaded when this page was made"),
        ("Model's label", saved.label),
        ("Model, SHA-256", saved.model_sha256),
        ("Network for far slices, SHA-256", saved.fusion_sha256 or "none"),
        ("Images turned to", saved.orientation or "as stored"),
        ("Computed on", saved.device),
        ("This extension", f"{__version__}, commit {commit()}"),
        *((f"Program {name}", version) for name, version in saved.versions.items()),
        *((f"Setting {name}", value) for name, value in _flat(saved.settings)),
    ]


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", "by default" if value is None else str(value)
