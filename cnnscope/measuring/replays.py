"""The same inference as a CUDA graph: the host launches one thing, so what remains is the GPU's own time."""

from __future__ import annotations

import torch

from ..records import Samples, samples
from .clocks import Clock, sampled
from .subjects import Subject

_GRAPHS = 4


class NotCaptured(Exception):
    """The call cannot be a CUDA graph; the message is the reason."""


def replays(subject: Subject, clock: Clock, expected: float, budget: float) -> Samples:
    """Times of replays, of one graph for each of the first few inputs in turn.

    Raises:
        NotCaptured: on a CPU, in training, or when the model does something that no graph can hold.
    """
    if subject.device.type != "cuda":
        raise NotCaptured("a CPU has no CUDA graphs")
    if subject.optimizer is not None:
        raise NotCaptured("only inference is captured as a CUDA graph")
    try:
        graphs = _captured(subject)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        torch.cuda.synchronize()
        raise NotCaptured(f"no CUDA graph holds this model: {str(error).partition(chr(10))[0]}") from error
    times, _ = sampled(lambda number: graphs[number % len(graphs)].replay(), clock, expected, budget)
    return samples(times)


def _captured(subject: Subject) -> list[torch.cuda.CUDAGraph]:
    """Warmed up on another stream first, as torch asks; all graphs share one pool, because none runs beside another."""
    count = min(_GRAPHS, len(subject.buffers))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for number in range(count):
            subject.call(number)
    torch.cuda.current_stream().wait_stream(stream)
    pool = torch.cuda.graph_pool_handle()
    graphs = []
    for number in range(count):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            subject.call(number)
        graphs.append(graph)
    return graphs
