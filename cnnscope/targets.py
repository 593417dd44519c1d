"""From what a person writes for a model to the model: ``load("torchvision:resnet50")``.

    vgg16                              an architecture of the zoo
    torchvision:resnet50               a model of torchvision, timm:resnet50 one of timm
    path/to/file.py:Net                a class, a function that makes a model, or a model in a file
    package.module:net(classes=10)     the same in an importable module, with literal arguments
    path/to/net.pt2, path/to/net.onnx  an exported program, an ONNX graph

Loading a Python file or a module runs its code; exported programs and ONNX graphs are data and run none. Models are
built on the meta device, where weights take no memory.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import nn

from . import libraries, zoo
from .errors import CnnscopeError, UnusableInput, UnusableTarget
from .graph import Shape
from .literals import literal_call


class Target(NamedTuple):
    """A model that was loaded.

    default_input: the shapes that it is known to take, None where nobody says, a list of shapes for a list of tensors;
    dtypes: their types, where they are not all float32.
    """

    model: nn.Module
    default_input: tuple[Shape | list[Shape], ...] | None
    name: str
    dtypes: tuple[str, ...] = ()


class Reference(NamedTuple):
    """``where:what(arguments)`` in parts."""

    where: str
    what: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    called: bool


def load(target: str, device: str = "meta") -> Target:
    """The model that ``target`` names (see the module's own description), without weights where that is possible.

    device: where its tensors are made; on another one than meta it has fresh weights.

    Raises:
        UnknownArchitecture: neither a form above nor a name in the zoo.
        UnusableTarget: the file, module, package or name is not there, or its code failed.
    """
    if zoo.meant(target):
        entry = zoo.entry(target)
        return Target(_built(lambda: zoo.build(target), target, device), (tuple(entry["input"]),), entry["name"])
    if target.endswith((".pt2", ".onnx")):
        return _from_file(target)
    reference = _parsed(target)
    if reference.where in ("torchvision", "timm"):
        return _from_library(reference, target, device)
    with _importable(reference.where):
        module = _imported(reference.where)
        found = _attribute(module, reference)
        if isinstance(found, nn.Module):
            return Target(found, None, reference.what)
        model = _built(lambda: found(*reference.args, **reference.kwargs), target, device)
    return Target(model, None, reference.what)


def _from_library(reference: Reference, target: str, device: str) -> Target:
    name = reference.what
    make = libraries.torchvision_model(name) if reference.where == "torchvision" else libraries.timm_model(name)
    model = _built(lambda: make(*reference.args, **reference.kwargs), target, device)
    known = (
        libraries.torchvision_input(name, model) if reference.where == "torchvision" else libraries.timm_input(model)
    )
    return Target(model, known, name)


def _from_file(path: str) -> Target:
    from .files.exported import exported
    from .files.onnx_graphs import onnx_graph

    model, inputs = exported(path) if path.endswith(".pt2") else onnx_graph(path)
    name = Path(path).stem
    if inputs is None:
        return Target(model, None, name)
    return Target(model, tuple(each.example for each in inputs), name, tuple(each.dtype for each in inputs))


def has_room(model: nn.Module) -> bool:
    """Whether weights, and as much again three times, fit into the memory that is free."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # a system that does not say
        return True
    return 4 * sum(each.numel() * each.element_size() for each in model.parameters()) < int(free)


def tensor(shape: Shape, dtype: str = "float32") -> torch.Tensor:
    """A tensor without data.

    Raises:
        UnusableInput: torch has no such type, or no tensor can be that large.
    """
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise UnusableInput(f"torch has no type {dtype!r}; give float32, float16, bfloat16, int64, bool ...")
    try:
        return torch.empty(shape, dtype=kind, device="meta")
    except (RuntimeError, OverflowError, TypeError) as error:
        raise UnusableInput(f"no tensor can have the shape {'x'.join(map(str, shape))}: {_line(error)}") from error


# -- reading the target -----------------------------------------------------------------------------------------------


def _parsed(target: str) -> Reference:
    where, _, expression = target.partition(":")
    if not where or not expression:
        raise UnusableTarget(f"{target!r} does not say which model; write {where or 'path/to/file.py'}:Net")
    try:
        return Reference(where, *literal_call(expression))
    except ValueError:
        # timm writes some names that are no Python, and takes them as they are.
        if where == "timm":
            return Reference(where, expression, (), {}, False)
        raise UnusableTarget(
            f"cannot read {expression!r} in {target!r}; write a name, or a name with literal arguments: "
            f"{where}:Net(classes=10)"
        ) from None


def _attribute(module: ModuleType, reference: Reference) -> Any:
    """What the reference names: a model, or something that makes one."""
    found: Any = module
    for name in reference.what.split("."):
        if not hasattr(found, name):
            raise UnusableTarget(f"{reference.where} has no {name!r}; {_offered(module)}")
        found = getattr(found, name)
    if isinstance(found, nn.Module) and reference.called:
        raise UnusableTarget(f"{reference.where}:{reference.what} is a model already; leave out the arguments")
    if not callable(found):
        kind = type(found).__name__
        raise UnusableTarget(
            f"{reference.where}:{reference.what} is of type {kind}, neither a model nor makes one; {_offered(module)}"
        )
    return found


def _offered(module: ModuleType) -> str:
    """The models and model classes that a module holds, its own or those of its package."""
    package = module.__name__.partition(".")[0]
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, nn.Module)
        or (isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.partition(".")[0] == package)
    ]
    more = ", ..." if len(own) > 6 else ""
    return f"it has {', '.join(own[:6])}{more}" if own else "it defines no nn.Module; name a function that returns one"


# -- running the user's code ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _importable(where: str) -> Iterator[None]:
    """The folder of a file, or the current one for a module, on ``sys.path`` for the time of loading."""
    own = where.endswith(".py") and _is_file(Path(where))
    folder = str(Path(where).resolve().parent) if own else os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have taken it out itself
            sys.path.remove(folder)


def _imported(where: str) -> ModuleType:
    if where.endswith(".py"):
        path = Path(where)
        if not _is_file(path):
            raise UnusableTarget(f"no file {where!r}; give its path from here ({os.getcwd()})")
        return _guarded(lambda: _run_file(path), f"while importing {where}", "run the file by itself with python first")
    try:
        found = importlib.util.find_spec(where)
    except (ImportError, OSError, ValueError):
        found = None
    if found is None:
        raise UnusableTarget(
            f"no module {where!r} here or among the installed packages; write package.module:Net, path/to/file.py:Net, "
            "torchvision:NAME, timm:NAME or a name of the zoo"
        )
    return _guarded(
        lambda: importlib.import_module(where), f"while importing {where}", f"try: python -c 'import {where}'"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no file can have that name
        return False


def _run_file(path: Path) -> ModuleType:
    # Under a name of its own: the file may be called torch.py, and the next one as this one.
    name = f"_cnnscope_{crc32(str(path.resolve()).encode()):08x}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look their module up, also later
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError) and "no known parent package" in str(error):
            return _of_package(path.resolve(), error)
        raise
    return module


def _of_package(path: Path, error: ImportError) -> ModuleType:
    """The module of a file with relative imports, in the package that its folder is, or that of the folders above."""
    top = path.parent
    while _is_file(top.parent / "__init__.py"):
        top = top.parent
    name = ".".join((top.name, *path.relative_to(top).with_suffix("").parts))
    if not all(part.isidentifier() for part in name.split(".")):
        raise error
    sys.path.insert(0, str(top.parent))
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name and name.startswith(missing.name):  # another package has taken the name
            raise error from None
        raise
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(top.parent))
    if not module.__file__ or not os.path.samefile(module.__file__, path):
        raise error
    return module


def _guarded(run: Callable[[], Any], where: str, advice: str) -> Any:
    """The result of the user's code, or their own exception as an ``UnusableTarget``."""
    try:
        return libraries.with_torchvision(run)
    except CnnscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise UnusableTarget(f"{type(error).__name__}: {_line(error)}\nraised {where}\n{advice}") from error


def _built(make: Callable[[], Any], target: str, device: str) -> nn.Module:
    """The model, on the device if its constructor allows it, else with real weights on the CPU."""

    def there_or_on_cpu() -> Any:
        try:
            with torch.device(device):
                return make()
        except CnnscopeError:
            raise
        except (Exception, SystemExit):
            # Constructors that look at numbers (``linspace(...).tolist()``) need them.
            return make()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of torchvision's weight initialisation
        advice = f"arguments are written as literals: {target.partition('(')[0]}(10, name='x')"
        model = _guarded(there_or_on_cpu, f"while making {target}", advice)
    if not isinstance(model, nn.Module):
        raise UnusableTarget(f"{target} gives {type(model).__name__}, not an nn.Module; name what makes the model")
    return model


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "(no message)"
