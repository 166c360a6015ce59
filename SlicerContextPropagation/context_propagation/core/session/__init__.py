"""The only state: image, cache, edits, result; saved and restored; memory foreseen; the next slice suggested."""
