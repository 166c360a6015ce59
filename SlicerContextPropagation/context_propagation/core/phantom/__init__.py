"""Phantoms of no patient, made from a seed."""
