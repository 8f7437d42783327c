"""Which part may know which: the arrows of the design, read from the imports.

cli → app → { amqp, ws, auth, store, admin } → core ← consumers
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES_MAX = 400

EDGES = ("amqp", "ws", "auth", "store", "admin")
PIPELINE = ("ingest", "fanout", "reader")
ARROWS: dict[str, set[str]] = {
    # part       what it may know of the bridge
    "core": set(),
    **{part: {"core"} for part in (*EDGES, *PIPELINE)},
    **{part: {"core", "cancellation"} for part in ("amqp", "store")},
    "cancellation": set(),
    "sections": {"core"},
    "settings": {"core", "sections"},
    "keyring": {"core", "settings", "auth"},
    "storage": {"core", "settings", "store"},
    "sockets": {"core", "settings", "ws"},
    "ceilings": {"core", "settings"},
    "retention": {"settings", "amqp"},
    "spans": {"core"},
    "tracing": {"core", "settings", "spans"},
    "logs": set(),
    "collector": set(),
    "lag": {"core"},
    "workers": {"core", "settings", "admin"},
    "view": {"core", "admin", "amqp", "ws", "ingest"},
    "console": {"core", "settings", "view", "admin", "amqp"},
    "app": {
        "core",
        "consumers",
        "settings",
        "keyring",
        "ceilings",
        "sockets",
        "storage",
        "retention",
        "tracing",
        "lag",
        "logs",
        "view",
        "console",
        *EDGES,
        *PIPELINE,
    },
    "cli": {
        "app",
        "collector",
        "workers",
        "core",
        "consumers",
        "settings",
        "keyring",
        "ceilings",
        "sockets",
        "storage",
        "retention",
        "tracing",
        "logs",
        *EDGES,
    },
    "__init__": set(),
    "__main__": {"cli"},
    "consumers": {"core"},
}

OWNERS: dict[str, set[str]] = {
    # library              the only parts that may import it
    "aio_pika": {"amqp"},
    "aiormq": {"amqp"},
    "pamqp": {"amqp"},
    "websockets": {"ws"},
    "jwt": {"auth"},
    "joserfc": {"auth"},
    "cryptography": {"auth"},
    "asyncpg": {"store"},
    "aiohttp": {"admin", "auth"},  # To be asked, and to ask for keys.
    "prometheus_client": {"admin"},
    "opentelemetry": {"spans"},  # An extra: `tracing` imports it only if it is wanted.
    "typer": {"cli"},
    "rich": {"cli"},
}

# What the core may use of the standard library: nothing that waits, looks outside, or looks at a clock.
PURE = {
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "struct",
    "typing",
}
PURE_LIBRARIES = {"jiter", "msgspec", "pydantic", "pydantic_core"}
IMPURE_CALLS = {
    "now",
    "utcnow",
    "today",
    "open",
    "print",
    "input",
    "exec",
    "eval",
    "__import__",
    "breakpoint",
}


def files() -> list[Path]:
    """Return every file of the product."""
    return sorted([*ROOT.glob("bridge/**/*.py"), *ROOT.glob("consumers/**/*.py")])


def name_of(path: Path) -> str:
    """Return a file's path, as test names show it."""
    return str(path.relative_to(ROOT))


def part_of(module: str) -> str:
    """Return the part of the house that a module of the product is in: `bridge.core.hub` → `core`."""
    package, _, rest = module.partition(".")
    if package == "consumers":
        return package
    part = rest.partition(".")[0]
    is_there = (ROOT / "bridge" / part).is_dir() or (ROOT / "bridge" / f"{part}.py").is_file()
    return part if part and is_there else "__init__"  # Such as the version.


def module_of(path: Path) -> str:
    """Return the module that a file is."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in the file, for types alone or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                is_package = (ROOT / Path(*module.split("."))).is_dir()
                yield from (f"{module}.{alias.name}" if is_package else module for alias in node.names)
            case ast.ImportFrom():
                yield ".relative"


every_file = pytest.mark.parametrize("path", files(), ids=name_of)
core_file = pytest.mark.parametrize(
    "path", [path for path in files() if path.parent.name == "core"], ids=name_of
)


@every_file
def test_arrows(path: Path) -> None:
    """A part knows only those that its arrow points to; no edge knows another edge, and core knows nobody."""
    own = part_of(module_of(path))
    known = {part_of(module) for module in imports(path) if module.split(".")[0] in ("bridge", "consumers")}

    assert known - {own, "__init__"} <= ARROWS[own]


@every_file
def test_libraries(path: Path) -> None:
    """Each library of the outside world is known to one part."""
    own = part_of(module_of(path))
    used = {module.split(".")[0] for module in imports(path)}

    assert [library for library in used if own not in OWNERS.get(library, {own})] == []


@every_file
def test_imports_are_absolute(path: Path) -> None:
    """Imports name the whole path, so that they can be found, and this test can read them."""
    assert ".relative" not in imports(path)


@every_file
def test_length(path: Path) -> None:
    """A file past 400 lines usually hides two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@every_file
def test_nothing_is_awaited_in_except_star(path: Path) -> None:
    """Before Python 3.11.4 a cancellation inside an `except*` would come out of it wrapped in a group."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    handlers = [
        handler for node in ast.walk(tree) if isinstance(node, ast.TryStar) for handler in node.handlers
    ]
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)

    assert [node.lineno for one in handlers for node in ast.walk(one) if isinstance(node, waits)] == []


@core_file
def test_core_is_pure(path: Path) -> None:
    """The core imports nothing that does I/O, waits, logs, or looks at a clock."""
    outside = {module for module in imports(path) if module.split(".")[0] != "bridge"}

    assert {module.partition(".")[0] if module not in PURE else module for module in outside} <= (
        PURE | PURE_LIBRARIES
    )


@core_file
def test_core_does_not_ask_outside(path: Path) -> None:
    """The core asks neither the clock nor the system, and awaits nothing but the log behind its interface."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }

    assert not called & IMPURE_CALLS
    assert not any(isinstance(node, ast.Await) for node in ast.walk(tree))


def test_consumers_are_pure() -> None:
    """The files of the domains declare events; they need the core, pydantic, and nothing that does I/O."""
    declaring = ROOT.glob("consumers/[!_]*.py")
    used = {module.split(".")[0] for path in declaring for module in imports(path)} - {"bridge", "consumers"}

    assert used <= PURE | PURE_LIBRARIES


def test_every_part_is_known() -> None:
    """A new part of the house gets its place in the table above."""
    assert {part_of(module_of(path)) for path in files()} <= ARROWS.keys()


def test_the_standard_library_is_what_it_says() -> None:
    """What the core may use are modules of the standard library, spelt right."""
    assert {module.split(".")[0] for module in PURE} <= sys.stdlib_module_names
