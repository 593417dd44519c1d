"""cnnscope: what a neural network costs, before it runs.

The public names are loaded on first use (PEP 562), so `import cnnscope` imports neither torch nor
anything else heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnscope import errors, render
    from cnnscope.analyses.costs import cost
    from cnnscope.analyses.depths import depth
    from cnnscope.analyses.layering import layers
    from cnnscope.analyses.memory import memory
    from cnnscope.analyses.parameters import params
    from cnnscope.analyses.receptive import receptive_field
    from cnnscope.analyses.rooflines import roofline
    from cnnscope.analyses.shape import shapes
    from cnnscope.claims import check
    from cnnscope.graph import ModelGraph
    from cnnscope.measuring.sessions import measure
    from cnnscope.reporting import report
    from cnnscope.summaries import summary
    from cnnscope.sweeping.sweeps import sweep
    from cnnscope.table import Table, by_module, by_phase
    from cnnscope.tracing import trace
    from cnnscope.whatifs import what_if
    from cnnscope.zoo import build, names

__version__ = "0.1.0"

__all__ = [
    "ModelGraph",
    "Table",
    "__version__",
    "build",
    "by_module",
    "by_phase",
    "check",
    "cost",
    "depth",
    "errors",
    "layers",
    "measure",
    "memory",
    "names",
    "params",
    "receptive_field",
    "render",
    "report",
    "roofline",
    "shapes",
    "summary",
    "sweep",
    "trace",
    "what_if",
]

# Public name -> the module that defines it; "" means that the name is itself a module of this package.
_HOMES = {
    "ModelGraph": "graph",
    "Table": "table",
    "build": "zoo",
    "by_module": "table",
    "by_phase": "table",
    "check": "claims",
    "cost": "analyses.costs",
    "depth": "analyses.depths",
    "errors": "",
    "layers": "analyses.layering",
    "measure": "measuring.sessions",
    "memory": "analyses.memory",
    "names": "zoo",
    "params": "analyses.parameters",
    "receptive_field": "analyses.receptive",
    "render": "",
    "report": "reporting",
    "roofline": "analyses.rooflines",
    "shapes": "analyses.shape",
    "summary": "summaries",
    "sweep": "sweeping.sweeps",
    "trace": "tracing",
    "what_if": "whatifs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    value = import_module(f"{__name__}.{home or name}")
    if home:
        value = getattr(value, name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
