"""The house plan, checked: rooms meet in `records` alone, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import instructpt

PACKAGE = Path(instructpt.__file__).parent
ROOMS = ("corpus", "collection", "synthesis", "templates", "assembly", "training", "evaluation")
GROUND = {
    "records",
    "errors",
    "seeds",
    "vocabulary",
    "storage",
    "streams",
    "devices",
    "engines",
    "sample",
    "overlap",
    "ngrams",
    "wordforms",
    "languages",
    "models",
}
"""What every room may use."""
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports anywhere in it: "corpus", "records"..."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "instructpt":
            found |= {f"instructpt.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.split(".")[1] for name in found if name.startswith("instructpt.")} - {"__version__"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_meet_in_the_records_alone(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        assert imported(path) <= GROUND | {room}, path


def test_only_recipes_and_commands_know_the_stages() -> None:
    for path in MODULES:
        part = path.relative_to(PACKAGE).parts[0]
        if part not in ("recipes", "cli.py", "stages"):
            assert "stages" not in imported(path), path


def test_the_ground_knows_no_room() -> None:
    for name in (
        "records",
        "errors",
        "seeds",
        "languages",
        "ngrams",
        "wordforms",
        "vocabulary",
        "storage",
        "streams",
        "devices",
        "tally",
        "progress",
        "locking",
        "stage",
        "partitions",
        "budget",
        "board",
        "panel",
        "status",
    ):
        assert not imported(PACKAGE / f"{name}.py") & {*ROOMS, "artifacts", "stages", "recipes", "cli", "report"}, name


@pytest.mark.parametrize("statement", ["import instructpt", "from instructpt.cli import main; main(['--help'])"])
def test_the_package_and_its_help_load_nothing_heavy(statement: str) -> None:
    heavy = "torch", "transformers", "pyarrow", "numpy", "lm_eval", "datasets", "ray", "aiohttp", "llguidance"
    code = f"{statement}\nimport sys\nprint('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize("command", ["augment", "run", "plan"])
def test_help_of_a_recipe_loads_no_torch(command: str) -> None:
    words = [command, *(["demo"] if command != "augment" else []), "--help"]
    code = (
        f"from instructpt.cli import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "import sys\nprint('LOADED', [name for name in ('torch', 'transformers', 'lm_eval') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("LOADED []\n")


def test_no_file_and_no_function_grows_too_long() -> None:
    """Bounds with some air above the guides of 400 and 60 lines; a docstring does not count."""
    for path in MODULES:
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert (node.end_lineno or 0) - first.lineno <= 75, f"{path}:{node.lineno} {node.name}"


def test_randomness_comes_from_named_streams_only() -> None:
    for path in MODULES:
        if path.name != "seeds.py":
            text = path.read_text()
            for banned in ("random.seed(", "np.random.seed", "np.random.rand", "torch.seed(", " hash(", "time_ns("):
                assert banned not in text, f"{path}: {banned}"
