"""Plain functions from a ModelGraph to a Table; no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..errors import UnusableInput

F = TypeVar("F", bound=Callable[..., Any])


def of_graph(analysis: F) -> F:
    """An analysis that says so when it is given a model, a table or anything else that is no graph."""

    @functools.wraps(analysis)
    def checked(graph: Any, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(graph, "storages"):
            raise UnusableInput(
                f"{analysis.__name__}() takes the graph that trace(model, input) returns, not {type(graph).__name__}"
            )
        return analysis(graph, *args, **kwargs)

    return cast(F, checked)
