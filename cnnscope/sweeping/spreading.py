"""Portions of work on the cores of this machine or of a cluster, through joblib: answers come as they are ready."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from ..errors import CnnscopeError, UnusableBackend

BACKENDS = ("loky", "dask", "ray", "sequential")
_CONNECT = 10  # seconds to reach a scheduler
_IDLE = 20  # seconds after which a worker ends that nobody gives work, also because nobody is left


class Workers(NamedTuple):
    """Who works: how many at once (None: a worker for each core), through what, and where a cluster is."""

    jobs: int | None = None
    backend: str = "loky"
    scheduler: str | None = None


class Spread(NamedTuple):
    """Workers that are there: how many, and the function that gives them portions."""

    jobs: int
    run: Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]


@contextlib.contextmanager
def workers(asked: Workers) -> Iterator[Spread]:
    """The workers, for the time of a sweep.

    Raises:
        UnusableBackend: they are not installed or cannot be reached; also by ``run``, when they are lost.
    """
    if asked.backend not in BACKENDS:
        raise UnusableBackend(f"no backend {asked.backend!r}; there are {', '.join(BACKENDS)}")
    if asked.scheduler and asked.backend not in ("dask", "ray"):
        raise UnusableBackend(f"the scheduler {asked.scheduler!r} is that of a cluster; add --backend dask or ray")
    if asked.backend == "sequential" or (asked.backend == "loky" and asked.jobs == 1):
        yield Spread(1, lambda work, portions: (work(*portion) for portion in portions))
        return
    import joblib

    with _backend(asked) as options, joblib.parallel_config(asked.backend, n_jobs=asked.jobs or -1, **options):
        yield Spread(joblib.effective_n_jobs(asked.jobs or -1), lambda *work: _guarded(asked, *work))


@contextlib.contextmanager
def _backend(asked: Workers) -> Iterator[dict[str, Any]]:
    """What joblib needs to know of a backend."""
    if asked.backend == "dask":
        with _dask_client(asked) as client:
            yield {"client": client}
    elif asked.backend == "ray":
        _register_ray(asked)
        yield {}
    else:
        yield {"inner_max_num_threads": 1, "idle_worker_timeout": _IDLE}


@contextlib.contextmanager
def _dask_client(asked: Workers) -> Iterator[Any]:
    """A client of the scheduler, or of a cluster on this machine."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise UnusableBackend("distributed is not installed; pip install 'cnnscope[dask]'") from error
    local = {"n_workers": asked.jobs, "threads_per_worker": 1, "dashboard_address": None}
    try:
        if asked.scheduler:
            client = distributed.Client(asked.scheduler, timeout=_CONNECT, set_as_default=False)
        else:
            client = distributed.Client(**local, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableBackend(
            f"no Dask scheduler answers at {asked.scheduler!r}; give its address: --scheduler tcp://host:8786"
        ) from error
    with client:
        yield client


def _register_ray(asked: Workers) -> None:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ModuleNotFoundError as error:
        raise UnusableBackend("ray is not installed; pip install 'cnnscope[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=asked.scheduler, log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise UnusableBackend(f"no Ray cluster answers at {asked.scheduler!r}: {error}") from error
    register_ray()


def _guarded(asked: Workers, work: Callable[..., Any], portions: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    try:
        yield from _parallel(work, portions)
    except CnnscopeError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnusableBackend(
            f"the workers of {asked.backend} were lost: {reason}\nwith -o FILE the rows so far are kept: run it again"
        ) from error


def _parallel(work: Callable[..., Any], portions: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    import joblib
    from joblib.parallel import get_active_backend

    backend, count = get_active_backend()
    calls = (joblib.delayed(work)(*portion) for portion in portions)
    if backend.supports_return_generator:
        yield from joblib.Parallel(batch_size=1, return_as="generator_unordered")(calls)
        return
    while some := list(islice(calls, 4 * backend.effective_n_jobs(count))):  # so that something comes in between
        yield from joblib.Parallel(batch_size=1)(some)
