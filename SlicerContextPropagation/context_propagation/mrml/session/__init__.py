"""The engine kept in step with a segment: start, propagate, history, the record in the scene."""
