"""The models of torchvision and timm: how to make them without weights, and which input they take.

torchvision brings compiled operators that must match torch's build. Where they do not (a CPU torch beside PyPI's CUDA
torchvision), ``import torchvision`` fails for want of an operator that only detection models call. Shapes need no
compiled operator, so its schema is declared and the import is tried again. So that a detector can run for real too, the
operator gets a kernel in plain PyTorch.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .errors import UnusableTarget
from .graph import Shape

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SCHEMAS = {"nms": _NMS, "qnms": _NMS}
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_KINDS = ("segmentation", "optical_flow", "detection", "video", "quantization", "classification")
_declared: list[Any] = []  # torch forgets an operator when its Library object goes


def torchvision_model(name: str) -> Callable[..., Any]:
    """The function that makes a model of torchvision, set to load no weights.

    Raises:
        UnusableTarget: torchvision is not installed, or has no such model.
    """
    models = imported("torchvision.models", "torchvision")
    if name not in models.list_models():
        raise UnusableTarget(f"torchvision has no model {name!r}; {_closest(name, models.list_models())}")
    make = models.get_model_builder(name)
    accepted = inspect.signature(make).parameters
    # The backbone's default is to be downloaded; initial values cost time and nobody reads them.
    quiet = {"weights": None, "weights_backbone": None, "init_weights": False}
    known = {key: value for key, value in quiet.items() if key in accepted}
    return lambda *args, **kwargs: make(*args, **(known | kwargs))


def torchvision_input(name: str, model: Any) -> tuple[Shape | list[Shape], ...] | None:
    """The input of a model as its published weights take it; a list stands for a list of images.

    Video models take clips of 16 frames, optical flow two images of 520x960: so torchvision counts what it prints of
    them. Detectors resize what they get; an image of the size that they make of it stays as it is.
    """
    models = imported("torchvision.models", "torchvision")
    kind = next(kind for kind in _KINDS if name in models.list_models(getattr(models, kind, models)))
    if kind == "segmentation":
        return ((1, 3, 520, 520),)
    if kind == "optical_flow":
        return (1, 3, 520, 960), (1, 3, 520, 960)
    if kind == "detection":
        side = model.transform.min_size[-1]
        return ([(3, side, side)],)
    if kind == "video":
        return ((1, 3, 16, *list(models.get_model_weights(name))[-1].transforms.keywords["crop_size"]),)
    # A vision transformer takes the size that it was made for, whatever its best weights want.
    stated = getattr(model, "image_size", None)
    weights = list(models.get_model_weights(name))
    crop = getattr(weights[-1].transforms, "keywords", {}).get("crop_size") if weights else None
    size = stated or (crop if isinstance(crop, int) else 224)
    return ((1, 3, size, size),)


def timm_model(name: str) -> Callable[..., Any]:
    """The function that makes a model of timm without weights.

    Raises:
        UnusableTarget: timm is not installed, or has no such model.
    """
    timm = imported("timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise UnusableTarget(f"timm has no model {name!r}; {_closest(name, timm.list_models())}")
    return lambda *args, **kwargs: timm.create_model(name, False, *args, **kwargs)


def timm_input(model: Any) -> tuple[Shape, ...] | None:
    """The input size that timm states for a model."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    size = config.get("input_size")
    return ((1, *size),) if size else None


def imported(module: str, extra: str) -> Any:
    """A module of one of the libraries.

    Raises:
        UnusableTarget: it is not installed; the message names the extra that installs it.
    """
    import importlib

    try:
        return with_torchvision(lambda: importlib.import_module(module))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != extra:
            raise
        raise UnusableTarget(f"{extra} is not installed; pip install 'cnnscope[{extra}]'") from error


def with_torchvision(run: Callable[[], Any]) -> Any:
    """``run()``, again for each operator that an ``import torchvision`` in it does not find and that we can declare."""
    while True:
        try:
            done = run()
            if _declared:
                _admit()
            return done
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if not missing or missing[1] not in _SCHEMAS or missing[1] in {name for name, _ in _declared}:
                raise
        _declare(missing[1])


def _declare(operator: str) -> None:
    from torch.library import Library

    for name in [name for name in sys.modules if name.partition(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]  # half imported: nothing in them can be used
    library = Library("torchvision", "FRAGMENT")
    library.define(operator + _SCHEMAS[operator])
    if operator == "nms":
        library.impl(operator, _nms, "CPU")
    _declared.append((operator, library))


def _admit() -> None:
    """Let torchvision call the operator; what else is compiled it does without where it can."""
    extension: Any = sys.modules.get("torchvision.extension")
    if extension is not None:
        extension._has_ops = lambda: True


def _nms(boxes: Any, scores: Any, threshold: float) -> Any:
    """Non-maximum suppression: of boxes [N, 4] that overlap by more than the threshold the one of the highest score."""
    import torch

    left, top, right, bottom = boxes.unbind(1)
    areas = (right - left) * (bottom - top)
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        width = (torch.minimum(right[best], right[order]) - torch.maximum(left[best], left[order])).clamp(min=0)
        height = (torch.minimum(bottom[best], bottom[order]) - torch.maximum(top[best], top[order])).clamp(min=0)
        shared = width * height
        order = order[shared / (areas[best] + areas[order] - shared) <= threshold]
    return torch.stack(kept) if kept else order


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=3)
    return f"closest: {', '.join(map(repr, close))}" if close else "see its own list of models"
