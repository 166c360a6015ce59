"""Files as Python reads them, once for all tests that look at them."""

from __future__ import annotations

import ast
from functools import cache

parsed = cache(ast.parse)
"""Files are looked at for several reasons."""


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All of a tree's: it takes longer to go through a file than to parse it."""
    return tuple(ast.walk(tree))
