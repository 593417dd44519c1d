"""What can go wrong, as a caller sees it.

    CnnscopeError                 anything this package refuses, with a message for people
    |-- UnknownArchitecture       a zoo name that does not exist; names the closest ones
    |-- UnusableTarget            a target that cannot be loaded: no such file, attribute or package
    |-- UnusableInput             an input description that cannot be understood
    |-- UntraceableModel          the model's own code failed; carries the part of the graph that was reached
    |-- UnusableBudget            a limit, or a table of limits, that cannot be read
    |-- UnknownDevice             a device that nobody knows, or a file that describes none; names the closest ones
    |-- UnmeasurableModel         the model's own code failed on the device; nothing could be measured
    |-- UnusableDevice            a device that is not there, or that was lost
    |-- UnusableBackend           workers of a sweep that are not installed, cannot be reached, or were lost
    |-- UnusableRecord            a record of a measurement that cannot be read, or that says something impossible
    |-- UnknownColumn             a column that a table does not have; lists those it has
    |-- UnwritableOutput          a file or folder that cannot be written
    '-- InvalidGraph              a ModelGraph that breaks its own rules (a defect of whoever built it)

Every message is one to three lines: the fact, the caller's own values, and the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import ModelGraph


class CnnscopeError(Exception):
    """Base of every error that this package raises on purpose."""


class UnknownArchitecture(CnnscopeError, LookupError):
    """The zoo has no architecture of that name."""


class UnusableTarget(CnnscopeError):
    """A model target (file, module, library name) that does not lead to a model."""


class UnusableInput(CnnscopeError, ValueError):
    """An input that is neither a shape nor a tensor nor a structure of them."""


class UnusableBudget(CnnscopeError, ValueError):
    """A limit that is no amount, or a table of budgets of another form."""


class UntraceableModel(CnnscopeError):
    """The model could not be run to its end on tensors without data.

    Attributes:
        graph: what was recorded up to the failure, or None when nothing was.
        layer: dotted path of the module whose forward was running.
        needs_data: it asked for numbers, or for an operator that runs on nothing else: a real run may do.
    The user's own exception is the ``__cause__``.
    """

    def __init__(
        self, message: str, *, graph: ModelGraph | None = None, layer: str = "", needs_data: bool = False
    ) -> None:
        super().__init__(message)
        self.graph = graph
        self.layer = layer
        self.needs_data = needs_data


class UnknownDevice(CnnscopeError, LookupError):
    """There is no device of that name to predict for, or a device file does not describe one."""


class UnmeasurableModel(CnnscopeError):
    """The model could not be run on the device; the user's own exception is the ``__cause__``."""


class UnusableDevice(CnnscopeError):
    """A device to measure on that is not there, or that was lost on the way."""


class UnusableBackend(CnnscopeError):
    """Workers for a sweep that are not installed or cannot be reached, or that were lost on the way."""


class UnusableRecord(CnnscopeError, ValueError):
    """A record of a measurement that cannot be read, or whose fields contradict one another."""


class UnknownColumn(CnnscopeError, LookupError):
    """A table has no column of that name or title."""


class UnwritableOutput(CnnscopeError, OSError):
    """A result that could not be written where it was asked for."""


class InvalidGraph(CnnscopeError, ValueError):
    """A graph with a repeated name, or one that uses a value before it is made."""
