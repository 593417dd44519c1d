"""From what a person writes for a model to the model."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

import cnnscope
from cnnscope import libraries, targets
from cnnscope.errors import UnusableTarget

# -- the zoo -----------------------------------------------------------------------------------------------------------


def test_build_gives_a_real_model_and_load_one_without_weights():
    model = cnnscope.build("lenet5_modern")
    assert isinstance(model, nn.Module) and not any(p.is_meta for p in model.parameters())
    target = targets.load("lenet5_modern")
    assert all(p.is_meta for p in target.model.parameters())
    assert target.default_input == ((1, 1, 32, 32),) and target.name == "lenet5_modern"


# -- files and modules ------------------------------------------------------------------------------------------------

NETS = """
import torch
from torch import nn
from sibling import WIDTH

class Net(nn.Module):
    def __init__(self, width=WIDTH, *, bias=True):
        super().__init__()
        self.fc = nn.Linear(3, width, bias=bias)
    def forward(self, x):
        return self.fc(x)

class Needy(nn.Module):
    def __init__(self, width):
        super().__init__()

class Numbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.rates = torch.linspace(0, 1, 3).tolist()
        self.fc = nn.Linear(3, 2)

def make(width=2):
    return Net(width)

def nothing():
    return None

net = Net()
three = 3
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "sibling.py").write_text("WIDTH = 5\n")
    (tmp_path / "nets.py").write_text(NETS)
    yield tmp_path / "nets.py"
    sys.modules.pop("sibling", None)


@pytest.mark.parametrize(
    "what, width", [("Net", 5), ("Net(7)", 7), ("Net(width=8, bias=False)", 8), ("make", 2), ("net", 5)]
)
def test_a_class_a_function_or_a_model_in_a_file(nets, what, width):
    path = list(sys.path)
    target = targets.load(f"{nets}:{what}")
    assert target.model.fc.out_features == width and target.default_input is None
    assert target.name == what.partition("(")[0]
    assert sys.path == path and "nets" not in sys.modules


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("place, dots", [("net.py", "."), ("deep/net.py", "..")])
def test_a_file_with_relative_imports_belongs_to_the_package_of_its_folder(tmp_path, place, dots, init):
    package = tmp_path / "cnnscope_made_up"
    (package / "deep").mkdir(parents=True)
    for folder in (package, package / "deep") if init or dots == ".." else ():
        (folder / "__init__.py").touch()
    (package / "sizes.py").write_text("WIDTH = 5")
    (package / place).write_text(NETS.replace("from sibling", f"from {dots}sizes"))
    path = list(sys.path)
    try:
        assert targets.load(f"{package / place}:Net").model.fc.out_features == 5
        assert sys.path == path
    finally:
        for name in [name for name in sys.modules if name.startswith("cnnscope_made_up")]:
            del sys.modules[name]


def test_relative_imports_without_a_package_are_refused(tmp_path):
    folder = tmp_path / "no-name"
    folder.mkdir()
    (folder / "net.py").write_text("from .sizes import WIDTH")
    with pytest.raises(UnusableTarget, match="attempted relative import with no known parent package"):
        targets.load(f"{folder / 'net.py'}:Net")


def test_a_module_in_the_current_folder(nets, monkeypatch):
    package = nets.parent / "package_of_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from torch import nn\ndef make(n=2, name=''): return nn.Linear(n, n)\n")
    monkeypatch.chdir(nets.parent)
    assert targets.load("package_of_nets.inner:make(n=4, name='x')").model.in_features == 4
    assert targets.load("torch.nn:Linear(3, 4)").model.out_features == 4


def test_a_constructor_that_needs_numbers_gets_them(nets):
    model = targets.load(f"{nets}:Numbers").model
    assert model.rates == [0.0, 0.5, 1.0] and not model.fc.weight.is_meta


def test_a_file_may_have_the_name_of_a_library(tmp_path):
    (tmp_path / "json.py").write_text("from torch import nn\nnet = nn.Linear(2, 2)\n")
    import json

    assert targets.load(f"{tmp_path / 'json.py'}:net").model.in_features == 2
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    "what, message",
    [
        ("Nett", "has no 'Nett'; it has Net, Needy, Numbers, net"),
        ("three", "is of type int, neither a model nor makes one"),
        ("nothing", "gives NoneType, not an nn.Module"),
        ("net(3)", "is a model already; leave out the arguments"),
        ("Needy", "TypeError: .*missing 1 required positional argument: 'width'"),
        ("Net(os.getcwd())", "cannot read 'Net\\(os.getcwd\\(\\)\\)'"),
        ("Net(__import__('os'))", "cannot read"),
        ("Net(**{'width': 3})", "cannot read"),
        ("Net(*(3,))", "cannot read"),
        ("lambda: 3", "cannot read|has no"),
        ("", "does not say which model"),
    ],
)
def test_what_is_no_model_is_refused_with_a_reason(nets, what, message):
    with pytest.raises(UnusableTarget, match=message):
        targets.load(f"{nets}:{what}")


@pytest.mark.parametrize(
    "code, first",
    [
        ("raise KeyError('no weights')", "KeyError: 'no weights'"),
        ("import no_such_package_here", "ModuleNotFoundError: No module named 'no_such_package_here'"),
        ("x = (", "SyntaxError: "),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_the_users_own_exception_comes_first(tmp_path, code, first):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(UnusableTarget) as caught:
        targets.load(f"{tmp_path / 'bad.py'}:Net")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(first) and "while importing" in lines[1] and len(lines) == 3
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "target", ["no/such/file.py:Net", "no_such_module_here:Net", "file.py", "torch.nn.no_such:Net"]
)
def test_what_is_not_there_is_refused(target):
    with pytest.raises(UnusableTarget, match=r"no file|no module|does not say which"):
        targets.load(target)


# -- libraries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, size",
    [("resnet50", 224), ("inception_v3", 299), ("efficientnet_b4", 380), ("vit_h_14", 224), ("swin_v2_t", 256)],
)
def test_torchvision_with_the_input_its_weights_take(name, size):
    target = targets.load(f"torchvision:{name}")
    assert target.default_input == ((1, 3, size, size),) and all(p.is_meta for p in target.model.parameters())


def test_torchvision_beyond_classification():
    assert targets.load("torchvision:fcn_resnet50").default_input == ((1, 3, 520, 520),)
    assert targets.load("torchvision:r3d_18").default_input == ((1, 3, 16, 112, 112),)
    assert targets.load("torchvision:resnet18(num_classes=10)").model.fc.out_features == 10


def test_a_torchvision_model_that_looks_at_numbers_is_built_on_the_cpu():
    assert not any(p.is_meta for p in targets.load("torchvision:regnet_y_400mf").model.parameters())


def test_an_unknown_model_of_a_library_gets_the_closest_ones():
    with pytest.raises(UnusableTarget, match="torchvision has no model 'resnet51'; closest: 'resnet"):
        targets.load("torchvision:resnet51")


def test_timm_with_the_input_it_states():
    pytest.importorskip("timm", reason="timm is an extra of its own", exc_type=ImportError)
    target = targets.load("timm:efficientnet_b1")
    assert target.default_input == ((1, 3, 240, 240),)
    with pytest.raises(UnusableTarget, match="timm has no model 'resnet51'"):
        targets.load("timm:resnet51")


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnusableTarget, match=r"timm is not installed; pip install 'cnnscope\[timm\]'"):
        targets.load("timm:resnet50")


def test_torchvision_is_imported_where_its_compiled_operators_are_missing(tmp_path):
    """As with a CPU torch and PyPI's torchvision for CUDA; here simulated by a torchvision that asks for nms once."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "import torch\n"
        "@torch.library.register_fake('torchvision::nms')\n"
        "def fake(dets, scores, iou_threshold): ...\n"
        "from . import models\n"
    )
    (tmp_path / "torchvision" / "models.py").write_text("here = True\n")
    (tmp_path / "net.py").write_text("import torchvision\nfrom torch import nn\nnet = nn.Linear(2, 2)\n")
    program = (
        "from cnnscope import targets, libraries\n"
        f"assert targets.load({str(tmp_path / 'net.py')!r} + ':net').model.in_features == 2\n"
        "assert libraries.imported('torchvision.models', 'torchvision').here"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_other_errors_of_an_import_are_passed_on():
    def fails():
        raise RuntimeError("operator torchvision::unheard_of does not exist")

    with pytest.raises(RuntimeError, match="unheard_of"):
        libraries.with_torchvision(fails)
