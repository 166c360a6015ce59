"""Nodes to arrays and back, on any grid, under any linear transform."""
