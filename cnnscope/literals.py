"""Calls written as text, ``net(depth=28, k=10)``: read as data, never evaluated."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple


class LiteralCall(NamedTuple):
    """What the text names, its arguments, and whether there are parentheses at all."""

    what: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    called: bool


def literal_call(text: str) -> LiteralCall:
    """A name, dotted perhaps, with or without a call whose arguments are literals.

    Raises:
        ValueError: the text is nothing of the kind.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call):
            return LiteralCall(ast.unparse(node), (), {}, False)
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        kwargs = dict(_keyword(keyword) for keyword in node.keywords)
        return LiteralCall(ast.unparse(node.func), args, kwargs, True)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no name and no call with literal arguments") from error


def _keyword(keyword: ast.keyword) -> tuple[str, Any]:
    if keyword.arg is None:
        raise ValueError("**arguments are no literals")
    return keyword.arg, ast.literal_eval(keyword.value)
