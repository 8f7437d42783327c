"""What every event passes, compiled by mypyc as `make wheel` does it, keeps what its sources promise."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.commands import printed_by

ROOT = Path(__file__).parents[1]
BUILD_SECONDS_MAX = 180.0
TEST_SECONDS_MAX = 180.0
TESTED = (
    "tests/amqp/test_frames.py",
    "tests/amqp/test_frames_any.py",
    "tests/amqp/test_properties.py",
    "tests/core/test_codec.py",
    "tests/core/test_dedupe.py",
    "tests/core/test_envelope.py",
    "tests/core/test_hub.py",
    "tests/core/test_intake.py",
    "tests/core/test_intake_traces.py",
    "tests/core/test_plain.py",
    "tests/core/test_rooms.py",
    "tests/core/test_run.py",
    "tests/core/test_stats.py",
    "tests/core/test_times.py",
    "tests/core/test_tracecontext.py",
    "tests/core/test_window.py",
    "tests/test_end_to_end.py",
    "tests/test_fanout.py",
    "tests/test_ingest.py",
    "tests/test_storms.py",
    "tests/test_revocation.py",
    "tests/test_traces.py",
    "tests/ws/test_wire.py",
)
THROUGH = ("bridge/app.py", "bridge/core/event.py")  # All of test_end_to_end.py, and every event there is.
INSIDE = "looks inside of what is compiled here"  # Why a test is skipped, and only with what is compiled.


def modules() -> list[str]:
    """Return the paths of all that is compiled, from the root of the checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    return [path.removeprefix("/") for path in hook["include"]]


def missing_tool() -> str:
    """Say what this machine lacks to compile with, empty if nothing."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler here ({compiler})"
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    return "" if header.exists() else f"the headers of Python are not here ({header})"


def run(*command: str, seconds_max: float, **environment: str) -> str:
    """Run a command in the checkout and return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return printed_by(*command, folder=ROOT, variables=inherited | environment, seconds_max=seconds_max)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the compiled wheel installs."""
    if missing := missing_tool():
        pytest.skip(missing)
    dist, folder = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("compiled")
    run("devel/wheel.sh", str(dist), sys.executable, seconds_max=BUILD_SECONDS_MAX)
    (wheel,) = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def in_front(folder: Path) -> dict[str, str]:
    """Return the environment in which what is imported comes from a folder before the checkout."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize("path", modules())
def test_what_is_compiled_holds_nothing_that_compiling_changes(path: str) -> None:
    """A compiled module has no structs or models, no coroutines, and no `yield` inside of an `except`.

    mypyc drops the keywords of a class statement in silence, such as `frozen=True`, and what a suspended
    coroutine or generator is handling becomes everybody's `sys.exc_info()`.
    """
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base).partition("[")[0] for one in classes for base in one.bases}
    handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler)]

    assert not [one.name for one in classes if one.keywords]
    assert bases <= {"Exception", "Generic", "NamedTuple", "Protocol"}
    assert not [node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef)]
    assert not [
        node for one in handlers for node in ast.walk(one) if isinstance(node, ast.Yield | ast.YieldFrom)
    ]


@pytest.mark.parametrize("path", modules())
def test_what_is_compiled_is_tested(path: str) -> None:
    """Each compiled module is imported by a test that runs with it, or by what such a test is about."""
    name = path.removesuffix(".py").replace("/", ".")

    importing = [one for one in (*TESTED, *THROUGH) if name in (ROOT / one).read_text(encoding="utf-8")]

    assert importing


def test_all_that_is_listed_is_compiled(compiled: Path) -> None:
    """Each module of the list is imported as machine code, and lies in the wheel as source, too."""
    names = [path.removesuffix(".py").replace("/", ".") for path in modules()]
    program = "import sys, importlib\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"

    printed = run(sys.executable, "-c", program, *names, seconds_max=TEST_SECONDS_MAX, **in_front(compiled))

    files = [Path(line) for line in printed.splitlines()]
    assert len(files) == len(names) > 0
    for path, file in zip(modules(), files, strict=True):
        assert file.is_relative_to(compiled)
        assert file.suffix in {".so", ".pyd"}, path
        assert (compiled / path).exists()


def test_checkout_stays_as_it_was(compiled: Path) -> None:
    """Compiling leaves nothing beside the sources, where it would be imported in their place."""
    assert compiled.is_dir()
    assert not [path for package in ("bridge", "consumers") for path in (ROOT / package).rglob("*.so")]
    assert not list(ROOT.glob("*.so"))


def test_compiled_modules_pass_their_tests(compiled: Path) -> None:
    """The tests of what is compiled pass with it, from a frame to a socket with a real broker."""
    flags = ("--quiet", "-rs", "--import-mode=importlib", "-p", "no:cacheprovider")

    printed = run(
        *(sys.executable, "-m", "pytest", *flags, *TESTED),
        seconds_max=TEST_SECONDS_MAX,
        **in_front(compiled),
    )

    assert " passed" in printed
    assert INSIDE in printed
