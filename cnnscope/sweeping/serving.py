"""A server process that examines one model after another, each in a child of its own that may die or hang.

The server imports torch once and runs no model, so every child is forked from the same clean state (where there is no
fork, each starts afresh). It is a session of its own: Ctrl-C is not for it, and it ends, with its child, when the
process that asks is gone. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .examining import Examination, examined
from .journals import stamp
from .requests import Request, Setting
from .selecting import LIBRARIES

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_LOOK = 0.5  # seconds between two looks whether somebody still waits for the answer

_PR_SET_PDEATHSIG = 1

Task = Mapping[str, Any]
_answers: int | None = None  # the pipe to the one who asks


def main() -> None:
    """Answer the requests on stdin until it is closed. What models print goes to stderr."""
    global _answers
    _answers = os.dup(1)
    answers = os.fdopen(_answers, "w", encoding="utf-8")
    os.dup2(2, 1)
    asker = os.getppid()
    signal.signal(signal.SIGTERM, _stop)
    for line in sys.stdin.buffer:
        with contextlib.suppress(OSError):
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        for answer in _served(json.loads(line), asker):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _stop(*_: Any) -> None:
    raise SystemExit(0)  # past the child, which is ended on the way


def _served(task: Task, asker: int) -> Iterator[Any]:
    """The names of a library's models, or for each setting of a target what was found."""
    if "list" in task:
        yield from (found for found in _apart(_list, (task["list"],), None, asker) if found is not None)
        return
    settings = [Setting(*each) for each in task["settings"]]
    if task["stamp"] != stamp():
        other = "this worker has another cnnscope, torch or Python than the one that asks; install the same on both"
        yield from ({"error": other, "passing": True} for _ in settings)
        return
    request = Request(**task["request"])
    _prepare(task["target"], settings, request)
    while settings:
        made = False
        for found in _apart(examined, (task["target"], settings, request), request.timeout, asker):
            if found is None:
                made = True
                continue
            # What ends the process while the model is made would end it again for each setting.
            count = len(settings) if found.pop("fatal", False) and not made else 1
            yield from [found] * count
            settings = settings[count:]


def _prepare(target: str, settings: list[Setting], request: Request) -> None:
    """Import what the children are going to need, unless the cache has all their graphs."""
    with contextlib.suppress(Exception):  # the child meets the same and says so
        if not all(map(Examination(target, request).is_kept, settings)):
            _load_torch()
            if target.partition(":")[0] in LIBRARIES:
                _load_library(target.partition(":")[0])


def _load_torch() -> None:
    if "torch" in sys.modules:
        return
    import gc

    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read when it is imported; there are as many servers as cores
    from .. import targets, tracing  # noqa: F401

    sys.modules["torch"].set_num_threads(1)
    for name, value in before.items():  # the memory of kernels is told for as many threads as the user has
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    gc.freeze()  # no collection in a child need copy these pages


def _load_library(name: str) -> Any:
    from ..libraries import imported

    return imported("torchvision.models" if name == "torchvision" else name, name)


def _list(library: str, tell: Callable[[Any], None]) -> None:
    try:
        tell({"names": sorted(_load_library(library).list_models())})
    except Exception as error:
        tell({"error": str(error)})


# -- one child --------------------------------------------------------------------------------------------------------


def _apart(work: Callable[..., None], arguments: tuple[Any, ...], limit: float | None, asker: int) -> Iterator[Any]:
    """What a child tells, each within so many seconds; a last ``fatal`` answer if it comes to another end than its own.

    Ends this process too when nobody is left to answer to.
    """
    kind = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(kind)
    ours, theirs = context.Pipe(duplex=False)
    said = _size_of_stderr()
    child = context.Process(target=_work, args=(work, arguments, theirs, _answers if kind == "fork" else None))
    child.start()
    theirs.close()
    try:
        while True:
            if not _heard(ours, limit, asker):
                yield {"error": f"took more than {limit:g} s (--timeout)", "fatal": True}
                return
            found = ours.recv()
            if found == "end":
                return
            yield found
    except (EOFError, OSError):
        child.join(5)
        yield {"error": _fate(child.exitcode, said), "fatal": True}
    finally:
        _kill(child)


def _work(work: Callable[..., None], arguments: tuple[Any, ...], answer: Any, answers: int | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if answers is not None:
        os.close(answers)  # who waits for the server is not to wait for this process
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()  # what the model itself starts ends with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # and it ends with the server; on Linux
    try:
        work(*arguments, answer.send)
        answer.send("end")
    except BaseException as error:
        answer.send({"error": f"{type(error).__name__}: {error}".strip(": "), "fatal": True})
        answer.send("end")


def _heard(connection: Any, limit: float | None, asker: int) -> bool:
    """Whether something came within the limit."""
    end = None if limit is None else time.monotonic() + limit
    while True:
        left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
        if connection.poll(max(left, 0)):
            return True
        if os.getppid() != asker:
            raise SystemExit(1)
        if end is not None and time.monotonic() >= end:
            return False


def _kill(child: Any) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # also what it has left running
    child.kill()
    child.join()


def _fate(code: int | None, said: int) -> str:
    """How a process ended, and its last words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        how = f"its process was killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    else:
        how = f"its process ended by itself, with code {code}"
    words = _said_since(said)
    return f"{how}; it said: {words}" if words else how


def _size_of_stderr() -> int:
    try:
        return os.fstat(2).st_size
    except OSError:
        return 0


def _said_since(start: int) -> str:
    """The last line on stderr, where that is a file."""
    try:
        lines = os.pread(2, 10_000, max(start, _size_of_stderr() - 10_000)).decode(errors="replace").splitlines()
    except (OSError, AttributeError):
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
