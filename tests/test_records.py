"""Records: a round trip, no None without its reason, other schemas refused with one clear sentence."""

from __future__ import annotations

import dataclasses
import json
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnscope import records
from cnnscope.errors import UnusableInput, UnusableRecord
from cnnscope.records import Measurement, Settings

NUMBERS = st.floats(1e-9, 1e12)
COUNTS = st.integers(0, 2**50)
TEXTS = st.text(max_size=12)


def parts(kind: type, **more: st.SearchStrategy) -> st.SearchStrategy:
    """A part of a record with any values, None included where the type allows it."""
    simple = {"float": NUMBERS, "int": COUNTS, "str": TEXTS, "bool": st.booleans(),
              "tuple[float, ...]": st.just((0.5,)), "tuple[str, ...]": st.just(("a", "b"))}  # fmt: skip
    fields = {}
    for field in dataclasses.fields(kind):
        plain = str(field.type).removesuffix(" | None")
        if field.name in more or plain in simple:
            value = more.get(field.name, simple.get(plain))
            fields[field.name] = value | st.none() if str(field.type).endswith("| None") else value
    return st.builds(kind, **fields)


LAYERS = st.lists(
    st.builds(records.LayerTime, TEXTS, TEXTS, NUMBERS | st.none(), NUMBERS | st.none(), NUMBERS, st.just((0, 3))),
    max_size=3,
).map(tuple)
KERNELS = st.lists(st.builds(records.KernelTime, TEXTS, COUNTS, NUMBERS, COUNTS), max_size=3).map(tuple)
HOLDERS = st.lists(st.builds(records.Holder, TEXTS, TEXTS, COUNTS, COUNTS), max_size=3).map(tuple)
SAMPLES = parts(records.Samples)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """Any record that keeps the rules: what is None has a reason, by its own path or by a part's."""
    stopped = draw(st.sampled_from(["", "interrupted while measuring power"]))
    fields = {
        "model": draw(TEXTS), "target": draw(TEXTS), "batch": draw(COUNTS), "inputs": {"x": "1x3x8x8"},
        "settings": Settings(dtype=draw(st.sampled_from(["fp32", "bf16"])), seed=draw(COUNTS)),
        "environment": draw(parts(records.Environment)),
        "time": draw(st.none() | parts(records.Time, whole=SAMPLES, graph=SAMPLES)),
        "layers": draw(st.none() | parts(records.Layers, rows=LAYERS)),
        "kernels": draw(st.none() | parts(records.Kernels, rows=KERNELS)),
        "memory": draw(st.none() | parts(records.Memory, holders=HOLDERS)),
        "power": draw(st.none() | parts(records.Power)),
        "notes": tuple(draw(st.lists(TEXTS, max_size=2))), "complete": not stopped, "stopped": stopped,
    }  # fmt: skip
    empty = [path for name, part in fields.items() for path in records.unmeasured(part, name)]
    return Measurement(**fields, missing=dict.fromkeys(empty, "nobody could"))


@settings(max_examples=40)
@given(measurements())
def test_a_record_survives_the_round_trip(record):
    text = record.to_json()
    again = records.parse(text)
    assert again == record
    assert json.loads(text)["schema_version"] == 1  # any JSON reader takes it
    for path in record.missing:
        assert again.reason(path) == "nobody could"


@settings(max_examples=40)
@given(measurements(), st.data())
def test_none_without_a_reason_cannot_be(record, data):
    paths = sorted(record.missing)
    if paths:
        forgotten = data.draw(st.sampled_from(paths))
        left = {path: why for path, why in record.missing.items() if path != forgotten}
        with pytest.raises(UnusableRecord, match="no value and no reason"):
            dataclasses.replace(record, missing=left)
    with pytest.raises(UnusableRecord, match="which is not empty"):
        dataclasses.replace(record, missing={**record.missing, "model": "it has one"})


@settings(max_examples=40)
@given(measurements())
def test_a_stop_and_completeness_exclude_each_other(record):
    with pytest.raises(UnusableRecord, match="complete"):
        dataclasses.replace(record, complete=not record.complete)


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=300))
def test_samples_say_what_statistics_says(seconds):
    found = records.samples(seconds)
    assert found.median == pytest.approx(statistics.median(seconds), rel=1e-4)
    assert found.least == pytest.approx(min(seconds), rel=1e-4) and found.count == len(seconds)
    assert 1 <= len(found.seconds) <= 40 and found.iqr >= 0
    assert min(found.seconds) >= min(seconds) * 0.9999 and max(found.seconds) <= max(seconds) * 1.0001


BROKEN = {
    "no JSON": ("{", "is no record that can be read"),
    "something else": ('{"schema_version": 1, "rows": []}', "is no record of cnnscope"),
    "a list": ("[1, 2]", "is no record of cnnscope"),
    "from the future": ('{"schema_version": 9, "environment": {}}', "schema 9, and this cnnscope reads 1: upgrade"),
    "of old": ('{"schema_version": 0, "environment": {}}', "schema 0, and this cnnscope reads 1: measure again"),
    "a text for a number": ('{"schema_version": 1, "environment": {"device": 3}}', "Expected `str`"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_record_is_refused_in_one_sentence(kind, tmp_path):
    text, words = BROKEN[kind]
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UnusableRecord) as caught:
        records.read(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UnusableRecord, match="no such file"):
        records.read(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"device": "tpu"}, "'tpu'"), ({"dtype": "int4"}, "fp32, tf32"), ({"optimizer": "adam"}, "--train"),
     ({"train": True, "optimizer": "lion"}, "sgd-momentum"), ({"dtype": "tf32"}, "NVIDIA GPUs")],
)  # fmt: skip
def test_settings_that_there_are_not(wrong, words):
    with pytest.raises(UnusableInput, match=words):
        Settings(**wrong)
