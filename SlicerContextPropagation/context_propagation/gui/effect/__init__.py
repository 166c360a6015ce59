"""The Segment Editor's effect "Propagate Edit"."""
