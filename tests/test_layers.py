"""The house plan, checked: rooms meet in `records` alone, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import instructpt

PACKAGE = Path(instructpt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    ("errors", "interrupts", "seeds"),
    ("devices", "models", "records", "sample"),
    ("files",),
    ("artifacts",),
    ("executors", "progress", "words"),
    ("engines",),
    ("assembly", "corpus", "templates", "verification.checks"),
    ("synthesis", "training"),
    ("collection", "mining", "verification"),
    ("evaluation", "queries"),
    ("report",),
    ("recipes", "viewer"),
    ("cli",),
    ("__main__",),
)
"""From the ground up: a room imports rooms of the floors below its own, never one beside it, never one above."""
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def room_of(module: str) -> str:
    """The room that a module is in, without the package's name: "corpus.files" is in "corpus"."""
    names = module.split(".")
    return next(room for room in (".".join(names[:2]), names[0]) if room in FLOOR)


def imported(path: Path) -> set[str]:
    """The rooms that a module imports from anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {name.removeprefix("instructpt.") for name in found if name.startswith("instructpt.")}
    return {room_of(name) for name in own if name != "__version__"}


def test_rooms_import_what_lies_below_them_alone() -> None:
    for path in MODULES:
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module != "__init__":
            room = room_of(module)
            for other in imported(path) - {room}:
                assert FLOOR[other] < FLOOR[room], f"{module} imports {other}"


@pytest.mark.parametrize(
    "statement", ["import instructpt", "from instructpt.cli.commands import main; main(['--help'])"]
)
def test_the_package_and_its_help_load_nothing_heavy(statement: str) -> None:
    heavy = "torch", "transformers", "pyarrow", "numpy", "lm_eval", "datasets", "ray", "aiohttp", "llguidance"
    code = f"{statement}\nimport sys\nprint('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize("command", ["augment", "run", "plan"])
def test_help_of_a_recipe_loads_no_torch(command: str) -> None:
    words = [command, *(["demo"] if command != "augment" else []), "--help"]
    code = (
        f"from instructpt.cli.commands import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "import sys\nprint('LOADED', [name for name in ('torch', 'transformers', 'lm_eval') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("LOADED []\n")


def test_no_file_and_no_function_grows_too_long() -> None:
    """Of a file 350 lines, of a function 60 without its signature and its docstring; and some air."""
    for path in MODULES:
        text = path.read_text()
        assert text.count("\n") <= 360, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert (node.end_lineno or 0) - first.lineno <= 72, f"{path}:{node.lineno} {node.name}"


def test_randomness_comes_from_named_streams_only() -> None:
    for path in MODULES:
        if path.name != "seeds.py":
            text = path.read_text()
            for banned in ("random.seed(", "np.random.seed", "np.random.rand", "torch.seed(", " hash(", "time_ns("):
                assert banned not in text, f"{path}: {banned}"
