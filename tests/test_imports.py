"""Who imports whom: nothing heavy before it is needed, and the fences between the parts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cnnscope

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cnnscope"
HEAVY = {"torch", "torchvision", "timm", "fvcore", "pynvml", "numpy", "pandas", "vl_convert"}
HEAVY |= {"distributed", "joblib", "pyarrow", "ray"}


def modules_of(folder: str) -> list[str]:
    """The dotted names of all modules in a folder of the package, the folder's own included."""
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files, f"cnnscope/{folder} has no modules"
    dotted = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in dotted]


TORCH_FREE = [
    "cnnscope",
    *(
        f"cnnscope.{name}"
        for name in (
            *("budgets", "caching", "claims", "cli", "encoding", "errors", "fusing", "graph", "pytest_plugin"),
            *("papers", "reporting", "table", "testing", "units", "views", "zoo"),
            *("confirming", "predicting", "reckoning", "records"),
            *("precisions", "devices", "efficiencies", "kernels", "merging"),
        )
    ),
    *modules_of("analyses"),
    *modules_of("claiming"),
    *modules_of("render"),
    *modules_of("sweeping"),
]


def loaded_by(program: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after the program."""
    report = f"import sys; print('LOADED', *({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{report}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def loaded_by_command(*arguments: str) -> set[str]:
    return loaded_by(
        "from cnnscope.cli import main\n"
        f"try: main({list(arguments)!r}, prog_name='cnnscope')\n"
        "except SystemExit as stop: assert not stop.code, stop.code"
    )


@pytest.mark.parametrize("module", TORCH_FREE)
def test_module_loads_nothing_heavy(module: str):
    assert loaded_by(f"import {module}") == set()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["list"], ["devices"]),
        *([each, "--help"] for each in ("table", "graph", "report", "confirm", "fit", "calibrate", "sweep")),
    ],
)
def test_command_loads_nothing_heavy(arguments: list[str]):
    assert loaded_by_command(*arguments) == set()


def test_import_cnnscope_loads_no_networkx():
    assert loaded_by("import cnnscope, sys; assert 'networkx' not in sys.modules") == set()


def test_the_instrument_sees_torch():
    """If this did not find torch, the tests above would prove nothing."""
    assert "torch" in loaded_by("import cnnscope.tracing")


@pytest.mark.parametrize("name", cnnscope.__all__)
def test_public_name_is_there(name: str):
    assert name in dir(cnnscope)
    assert getattr(cnnscope, name) is getattr(cnnscope, name) is not None


def test_public_names_are_what_the_type_checker_sees():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(cnnscope.__all__)


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        cnnscope.no_such_name  # noqa: B018


def test_import_contracts_hold():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("file", sorted((ROOT / "architectures").glob("*.py")), ids=lambda file: file.stem)
def test_architecture_needs_torch_and_its_neighbours_only(file: Path):
    allowed = {*sys.stdlib_module_names, "torch", *(f".{each.stem}" for each in file.parent.glob("*.py"))}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            needed = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            needed = {"." * node.level + (node.module or alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            needed = {str(node.module).split(".")[0]}
        else:
            continue
        assert needed <= allowed, f"line {node.lineno} imports {needed - allowed}"
