"""What a figure was measured with: printed by every benchmark."""

from __future__ import annotations

from context_propagation.core.provenance import provenance as provenance_of_this_machine


def provenance(seed: int, cases: int) -> str:
    """Seed, sizes, hardware, commit and versions, one line each."""
    lines = [f"seed {seed}; {cases} cases"]
    lines += [f"{name}: {value}" for name, value in provenance_of_this_machine().items()]
    return "\n".join(lines)
