"""Devices to predict for: what their sheets promise, from ``devices.toml`` or a file of one's own."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .efficiencies import Efficiencies, quoted, read, written
from .errors import UnknownDevice
from .table import Table, column, table

RATES = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")
_SCALES = {"bandwidth": 10**9, "memory": 2**30, "tdp": 1}  # GB/s, GiB, W
_TEXTS = ("name", "capability", "sheet", "url")
_KEYS = {*_TEXTS, *_SCALES, "aliases", "rates", "efficiencies"}


@dataclasses.dataclass(frozen=True)
class Device:
    """What a device can do at most. None, or no entry in ``rates``: it cannot, or nobody says.

    rates: dense operations a second by precision (``RATES``), a multiply-add being two; fp32 on the plain cores, the
    others on tensor cores with fp32 accumulation. bandwidth: bytes a second; memory: bytes; tdp: watts.
    sheet, url: where the figures stand. efficiencies: what kernels reach of them, where it was measured on this device.
    """

    name: str
    rates: Mapping[str, float]
    bandwidth: float | None = None
    memory: int | None = None
    capability: str | None = None
    tdp: int | None = None
    sheet: str = ""
    url: str = ""
    aliases: tuple[str, ...] = ()
    efficiencies: Efficiencies | None = None

    def rate(self, precision: str) -> float | None:
        """Operations a second. Where there is no tf32, float32 runs on the plain cores."""
        return self.rates.get(precision) or (self.rates.get("fp32") if precision == "tf32" else None)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A device as a row of a table: FLOP/s by precision, bytes/s, bytes, W."""

    name: str = column("device")
    module: str = column("module", hidden=True, default="")
    fp32: float | None = column("fp32", "FLOP/s", rank=5, default=None)
    tf32: float | None = column("tf32", "FLOP/s", rank=6, default=None)
    fp16: float | None = column("fp16", "FLOP/s", rank=3, default=None)
    bf16: float | None = column("bf16", "FLOP/s", rank=4, default=None)
    fp8: float | None = column("fp8", "FLOP/s", default=None)
    int8: float | None = column("int8", "FLOP/s", default=None)
    bandwidth: float | None = column("bandwidth", "byte/s", rank=2, default=None)
    memory: int | None = column("memory", "byte", rank=1, default=None)
    tdp: int | None = column("W", "count", default=None)
    capability: str | None = column("capability", default=None)
    sheet: str = column("sheet", hidden=True, default="")
    url: str = column("url", hidden=True, default="")
    aliases: tuple[str, ...] = column("also", hidden=True, default=())
    missing: tuple[str, ...] = column("missing", hidden=True, default=())


_NOTES = (
    "FLOP/s dense, with fp32 accumulation (GeForce boxes print twice as much); bandwidth in bytes/s; W: TDP",
    "empty: the device cannot, or its sheet does not say; where a figure stands: --columns sheet, --columns url",
)


def catalog() -> Table[Sheet]:
    """All devices that are known by name, one row each."""
    return table("devices", [_row(device) for device in _known()], Sheet, notes=_NOTES)


def _row(device: Device) -> Sheet:
    return Sheet(
        name=device.name,
        **{rate: device.rates.get(rate) for rate in RATES},  # type: ignore[arg-type]
        bandwidth=device.bandwidth,
        memory=device.memory,
        tdp=device.tdp,
        capability=device.capability,
        sheet=device.sheet,
        url=device.url,
        aliases=device.aliases,
    )


def device(name: str) -> Device:
    """The device of that name or alias, or the one that a TOML file describes; case and blanks make no difference.

    Raises:
        UnknownDevice: nobody knows it, the message names the closest; or the file describes no device.
    """
    if name.endswith(".toml"):
        return _from_file(Path(name))
    known = {_plain(alias): each for each in _known() for alias in (*each.aliases, each.name)}
    if _plain(name) in known:
        return known[_plain(name)]
    close = difflib.get_close_matches(_plain(name), known, n=6, cutoff=0.5)
    names = list(dict.fromkeys(known[each].name for each in close))[:3]
    hint = f"closest: {', '.join(names)}" if names else "'cnnscope devices' lists them"
    raise UnknownDevice(f"no device {name!r}; {hint}. A device of your own: --device my.toml, as in 'cnnscope devices'")


def _plain(name: str) -> str:
    return "".join(name.lower().replace("-", " ").replace("_", " ").split())


@cache
def _known() -> tuple[Device, ...]:
    text = files(__package__).joinpath("devices.toml").read_text(encoding="utf-8")
    return tuple(_device(entry, "devices.toml") for entry in tomllib.loads(text)["device"])


def _from_file(path: Path) -> Device:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownDevice(f"no device file {str(path)!r}; 'cnnscope calibrate -o {path}' makes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UnknownDevice(f"cannot read the device file {str(path)!r}: {error}") from error
    entries = found.get("device")
    entries = [entries] if isinstance(entries, dict) else entries
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise UnknownDevice(f"{path} describes no device; it needs one [device] with name, rates and bandwidth")
    return _device(entries[0], str(path))


def _device(entry: Mapping[str, Any], where: str) -> Device:
    """One entry of a file, held to be what it says.

    Raises:
        UnknownDevice: a key is unknown, misses, or has a value of another kind.
    """
    problem = next(_problems(entry), None)
    if problem:
        raise UnknownDevice(f"{where}: the device {entry.get('name', '')!r} {problem}")
    figures = {key: entry[key] * scale for key, scale in _SCALES.items() if key in entry}
    reached = entry.get("efficiencies")
    try:
        efficiencies = None if reached is None else read(reached)
    except ValueError as error:
        raise UnknownDevice(f"{where}: efficiencies of {entry['name']!r}: {error}") from error
    return Device(
        **{key: entry[key] for key in _TEXTS if key in entry},
        rates={key: round(value * 10**12) for key, value in entry["rates"].items()},
        bandwidth=figures.get("bandwidth"),
        memory=round(figures["memory"]) if "memory" in figures else None,
        tdp=entry.get("tdp"),
        aliases=tuple(entry.get("aliases", ())),
        efficiencies=efficiencies,
    )


def _problems(entry: Mapping[str, Any]) -> Iterator[str]:
    if not entry.get("name"):
        yield "has no name"
    for key in entry.keys() - _KEYS:
        yield f"has {key!r}, which is none of {', '.join(sorted(_KEYS))}"
    for key in _TEXTS:
        if not isinstance(entry.get(key, ""), str):
            yield f"has {key} = {entry[key]!r}, which is no text"
    rates = entry.get("rates")
    if not isinstance(rates, dict) or not rates.keys() <= set(RATES):
        yield f"needs rates = {{ fp32 = ... }} in TFLOP/s, with keys among {', '.join(RATES)}"
        return
    numbers = {**rates, **{key: entry[key] for key in _SCALES if key in entry}}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            yield f"has {key} = {value!r}; give a number above 0, or leave out what is not known"
    if "bandwidth" not in entry:
        yield "needs bandwidth, in GB/s"


def as_toml(found: Device) -> str:
    """A device file, as ``device`` reads it."""
    rates = ", ".join(f"{key} = {value / 10**12:.4g}" for key, value in found.rates.items())
    lines = ["[device]"]
    lines += [f"{key} = {quoted(getattr(found, key))}" for key in _TEXTS if getattr(found, key)]
    lines += [f"rates = {{ {rates} }}  # TFLOP/s"]
    for key, unit in (("bandwidth", "GB/s"), ("memory", "GiB"), ("tdp", "W")):
        if getattr(found, key) is not None:
            lines.append(f"{key} = {getattr(found, key) / _SCALES[key]:.4g}  # {unit}")
    text = "\n".join([*lines, ""])
    return text if found.efficiencies is None else f"{text}\n{written(found.efficiencies, 'device.efficiencies')}"
