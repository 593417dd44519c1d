"""What is installed is what is in the repository: the wheel, the sdist, and the wheel made from the sdist."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "architectures"
PAGES = ROOT / "cnnscope" / "render" / "page" / "templates"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output of a command; fails with all that it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, source: Path, into: Path) -> Path:
    """The one file that the build leaves; not isolated, so that it needs no network."""
    into.mkdir()
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", into, source, cwd=into)
    (built,) = into.iterdir()
    return built


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("direct") / "out")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist") / "out")


def test_the_package_holds_a_link_to_the_architectures():
    link = ROOT / "cnnscope" / "architectures"
    assert link.is_symlink()
    assert os.readlink(link) == os.path.join("..", "architectures")


def test_wheel_holds_what_pages_are_made_of(wheel: Path):
    templates = {f"cnnscope/{file.relative_to(ROOT / 'cnnscope')}" for file in PAGES.iterdir()}
    assert {"page.html", "style.css", "diagram.js"} <= {Path(file).name for file in templates} and len(templates) > 8
    assert templates <= wheel_files(wheel)


def test_wheel_holds_every_architecture(wheel: Path):
    zoo = {
        f"cnnscope/architectures/{path.relative_to(ZOO).as_posix()}"
        for path in ZOO.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "cnnscope/architectures/catalog.toml" in zoo
    assert {name for name in wheel_files(wheel) if name.startswith("cnnscope/architectures/")} == zoo


def test_wheel_is_typed_licensed_and_nothing_but_cnnscope(wheel: Path):
    files = wheel_files(wheel)
    assert "cnnscope/py.typed" in files
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)
    assert {name.split("/")[0].split("-")[0] for name in files} == {"cnnscope"}


def test_wheel_from_the_sdist_is_the_same(wheel: Path, sdist: Path, tmp_path: Path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert not (source / "architectures").exists(), "the sdist holds the zoo once, inside the package"
    assert wheel_files(build("wheel", source, tmp_path / "out")) == wheel_files(wheel)


def test_installed_wheel_builds_its_zoo_elsewhere(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    # PYTHONPATH comes before the environment's own packages, so this is not the checkout under test.
    program = (
        "import cnnscope, cnnscope.architectures as zoo, pathlib;"
        "print(pathlib.Path(cnnscope.__file__).parent, pathlib.Path(zoo.__file__).parent, sep='\\n');"
        "print(*cnnscope.names()); print(type(cnnscope.build('vgg16')).__mro__[-2].__name__)"
    )
    package, architectures, names, base = run(
        sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(site)
    ).splitlines()
    assert Path(package) == site / "cnnscope"
    assert Path(architectures) == site / "cnnscope" / "architectures"
    assert "vgg16" in names.split()
    assert base == "Module"
    assert (site / "bin" / "cnnscope").exists() or os.name == "nt"
