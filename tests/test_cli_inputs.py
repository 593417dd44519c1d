"""The grammar of ``--input`` and ``--batch-size``."""

from __future__ import annotations

import pytest
import torch

from cnnscope import targets
from cnnscope.errors import UnusableInput
from cnnscope.inputs import Input, arguments, chosen, parse


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1x3x224x224", Input((1, 3, 224, 224))),
        ("1X3×8", Input((1, 3, 8))),
        ("7", Input((7,))),
        ("1x128:int64", Input((1, 128), "int64")),
        ("mask=1x16", Input((1, 16), "float32", "mask")),
        ("ids_2=1x16:bool", Input((1, 16), "bool", "ids_2")),
        ("[3x320x320]", Input((3, 320, 320), listed=1)),
        ("images=[3x8x8:float16]", Input((3, 8, 8), "float16", "images", 1)),
    ],
)
def test_an_input_is_read(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1x", "1,3,224,224", "-1x3", "1x3x", "=1x3", "2a=1x3", "1x3:", "a=b=1", "1.5x3", "[1x3", "1x3]", "[]"],
)
def test_an_input_that_cannot_be_read_is_named_with_the_way_out(text):
    with pytest.raises(UnusableInput) as caught:
        parse(text)
    assert repr(text) in str(caught.value) and "1x3x224x224" in str(caught.value)


def test_sizes_are_at_least_one_and_names_are_given_once():
    with pytest.raises(UnusableInput, match="size of 0"):
        parse("1x0x3")
    with pytest.raises(UnusableInput, match="'a' is given twice"):
        chosen(["a=1x2", "a=1x3"], None, None, "net")


def test_the_batch_replaces_the_first_size_of_every_input():
    assert chosen([], ((1, 3, 8, 8),), 16, "net") == (Input((16, 3, 8, 8)),)
    assert chosen(["1x3", "m=2x4"], ((1, 3, 8, 8),), 5, "net") == (Input((5, 3)), Input((5, 4), "float32", "m"))
    with pytest.raises(UnusableInput, match="--input 1x3x224x224"):
        chosen([], None, None, "net.py:Net")


def test_a_list_of_tensors_grows_with_the_batch():
    assert chosen(["[3x8x9]"], None, 4, "net") == (Input((3, 8, 9), listed=4),)
    assert chosen([], ([(3, 8, 9)],), None, "net") == (Input((3, 8, 9), listed=1),)
    (positional,), keywords = arguments(chosen(["[3x8x9]", "y=[2:int64]"], None, 2, "net"))
    assert [tuple(each.shape) for each in positional] == [(3, 8, 9)] * 2
    assert [each.dtype for each in keywords["y"]] == [torch.int64] * 2


def test_a_tensor_that_cannot_be_is_refused():
    assert targets.tensor((2, 3), "int64").dtype == torch.int64
    for shape, dtype in [((2, 3), "float99"), ((2, 3), "nn"), ((10**30,), "float32"), ((10**12, 10**12), "float32")]:
        with pytest.raises(UnusableInput):
            targets.tensor(shape, dtype)
