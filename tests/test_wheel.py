"""What is shipped: a wheel that is whole and runs outside the checkout; an image and its neighbours."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path

import pytest

from tests.commands import printed_by

ROOT = Path(__file__).parents[1]
SECONDS_MAX = 120.0


def run(*command: str, folder: Path, path: Path | None = None) -> str:
    """Run a command in a folder, away from the checkout and its settings, and return what it printed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "PYTHON"))
    }
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return printed_by(*command, folder=folder, variables=environment, seconds_max=SECONDS_MAX)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    flags = ("--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder))
    run(sys.executable, "-m", "pip", "wheel", *flags, str(ROOT), folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    flags = ("--quiet", "--no-deps", "--no-index", "--target", str(folder))
    run(sys.executable, "-m", "pip", "install", *flags, str(wheel), folder=folder)
    return folder


def test_wheel_is_whole(wheel: Path) -> None:
    """Modules, SQL statements, the console's page, the mark of typed code and the licence are in it."""
    contents = set(zipfile.ZipFile(wheel).namelist())

    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("bridge", "consumers")
        for path in (ROOT / package).rglob("*.py")
    }
    statements = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bridge").rglob("*.sql")}
    page = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bridge" / "admin" / "static").rglob("*")
        if path.is_file()
    }
    assert modules <= contents
    assert "bridge/admin/static/index.html" in page
    assert page <= contents
    assert statements
    assert statements <= contents
    assert "bridge/py.typed" in contents
    assert any(name.endswith("/licenses/LICENSE") for name in contents)


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    """Tests, benchmarks, tools and settings of developers stay out of the wheel."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"bridge", "consumers"}


def test_version(installed: Path, tmp_path: Path) -> None:
    """`python -m bridge --version` works outside the checkout and prints the wheel's version."""
    printed = run(sys.executable, "-m", "bridge", "--version", folder=tmp_path, path=installed)

    assert f"cloudphone_bridge-{printed.strip()}.dist-info" in {path.name for path in installed.iterdir()}


def test_code_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    """What runs outside the checkout is what was installed there, with every built-in domain."""
    program = "import bridge, consumers; print(bridge.__file__, len(consumers.domains()))"

    file, domains = run(sys.executable, "-c", program, folder=tmp_path, path=installed).split()

    assert Path(file).is_relative_to(installed)
    assert int(domains) > 0


def test_console_script(installed: Path, tmp_path: Path) -> None:
    """The console script is installed and starts."""
    script = installed / "bin" / "cloudphone-bridge"

    assert "serve" in run(sys.executable, str(script), "--help", folder=tmp_path, path=installed)


def test_wheel_of_the_python_client(tmp_path: Path) -> None:
    """The Python client is a wheel of its own, typed, that needs websockets and nothing of the bridge."""
    flags = ("--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tmp_path))
    run(sys.executable, "-m", "pip", "wheel", *flags, str(ROOT / "clients" / "python"), folder=tmp_path)

    (built,) = tmp_path.glob("*.whl")
    contents = zipfile.ZipFile(built)
    tops = {name.partition("/")[0] for name in contents.namelist()}
    (metadata,) = (name for name in contents.namelist() if name.endswith("/METADATA"))
    needs = re.findall(r"^Requires-Dist: (\w+)", contents.read(metadata).decode(), flags=re.MULTILINE)

    assert {top for top in tops if not top.endswith(".dist-info")} == {"bridge_client"}
    assert "bridge_client/py.typed" in contents.namelist()
    assert needs == ["websockets"]
    assert run(sys.executable, "-c", "import bridge_client", folder=tmp_path, path=built) == ""


def read(name: str) -> str:
    """Return the text of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_compose() -> None:
    """compose.yaml has the three services, no default for a secret, and no operators' port for the world."""
    text = read("compose.yaml")
    used = re.findall(r"\$\{(\w+)([^}]*)\}", text)

    services = re.findall(r"^  ([a-z]+):$", text.partition("\nvolumes:")[0], flags=re.MULTILINE)
    assert services == ["rabbitmq", "postgres", "bridge"]
    for name, rest in used:
        assert rest.startswith(":?" if re.search("SECRET|PASSWORD", name) else ":-"), name
    for port in ("5672", "8081"):
        (published,) = re.findall(rf'- "(.+:{port})"', text)
        assert published.startswith("127.0.0.1:")


def test_example_of_the_environment() -> None:
    """config/example.env has every variable that compose.yaml uses, and no secret has a value."""
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", read("config/example.env"), flags=re.MULTILINE)

    assert {name for name, _ in lines} == set(re.findall(r"\$\{(\w+)", read("compose.yaml")))
    assert not [name for name, value in lines if value and re.search("SECRET|PASSWORD", name)]


def test_image() -> None:
    """The image does not run as root, drains on SIGTERM, tells how it is, and takes nothing unlocked."""
    text = read("Dockerfile")
    runtime = text.rpartition("\nFROM ")[2]

    assert re.search(r"^USER (?!root)\w+$", runtime, flags=re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in runtime
    assert re.search(r"^HEALTHCHECK .*CMD \[", runtime, flags=re.MULTILINE)
    installs = re.findall(r"pip install (.*)", text)
    assert installs
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


def test_image_is_compiled() -> None:
    """The image's wheel is compiled, in a stage with the same Python and the same Debian as the image."""
    text = read("Dockerfile")
    stage, image = re.findall(r"^FROM python:(\S+)", text, flags=re.MULTILINE)

    assert re.search(r"HATCH_BUILD_HOOK_ENABLE_MYPYC=1 pip wheel", text)
    assert stage == image.replace("-slim", "")


def test_image_gets_what_it_copies() -> None:
    """What the Dockerfile copies is there, and .dockerignore lets it through."""
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", read("Dockerfile"), flags=re.MULTILINE)
        for word in line.split()[:-1]
    ]
    let_through = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}

    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(path == name or path.startswith(f"{name}/") for path in let_through), name
