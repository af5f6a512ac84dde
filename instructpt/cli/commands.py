"""The command `instructpt`. What its flags are, `flags` says.

Nothing heavy is imported before a command needs it: `instructpt --help` answers in well under half a second.
"""

from __future__ import annotations

import functools
import io
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from instructpt import __version__, devices
from instructpt.cli import flags
from instructpt.cli.flags import Where, parse, run_of
from instructpt.errors import InputError, InstructptError, RecipeError
from instructpt.files.streams import escaped
from instructpt.interrupts import Stopped

if TYPE_CHECKING:
    from rich.console import Console

    from instructpt.artifacts import Stage

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""
UNFORESEEN = "this was not foreseen"
"""Begins the line about an error that is none of ours: of a file system, say, or a fault of the program's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 for a failed run, 2 for a mistake of the user's, 130 after Ctrl-C.

    A training that SIGTERM stopped at a checkpoint did what it was told: 0.
    """
    words = [escaped(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        print(__version__)
        return 0
    if words[0] not in COMMANDS:
        print(f"instructpt: no command is called {words[0]!r}: see instructpt --help", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is escaped
    try:
        COMMANDS[words[0]]([word for word in words[1:] if word != "--debug"])
    except Exception as error:
        return _failed(error, words)
    except KeyboardInterrupt as stop:
        if isinstance(stop.__context__, Exception):  # torchrun's SIGTERM, while the error was on its way here
            return _failed(stop.__context__, words)
        if devices.rank() == 0:
            kept = "what is finished is kept, the same command goes on from there"
            said = "a plan keeps nothing of what it tried" if words[0] == "plan" else kept
            print(f"instructpt: stopped; {said}", file=sys.stderr)
        return 0 if isinstance(stop, Stopped) else STOPPED
    return 0


def _failed(error: Exception, words: Sequence[str]) -> int:
    """Say what went wrong, in one line; the exit status. What is no error of ours is told by its own name."""
    if devices.num_processes() > 1:  # torchrun stops all when one fails: let this one speak to the end
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--debug" in words:
        raise error
    said = " ".join(str(error).split())
    if isinstance(error, InstructptError):
        print(f"instructpt: {said}", file=sys.stderr)
        return error.exit_status
    print(f"instructpt: {UNFORESEEN}: {type(error).__name__}: {said[:500]} (--debug shows where)", file=sys.stderr)
    return 1


def _help() -> str:
    lines = [
        "usage: instructpt COMMAND ...",
        "",
        "Raw text in, instruction-augmented corpus and trained models out.",
        "",
    ]
    lines += [f"  {name:<13} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "instructpt COMMAND --help tells more."])


def _of_recipe(name: str, title: str, help_line: str) -> Callable[[list[str]], None]:
    """A recipe that is a command of its own."""

    def command(words: list[str]) -> None:
        _run(name, words, prog=f"instructpt {name}", title=title)

    command.__doc__ = help_line
    return command


def _of_arguments(function: Callable[..., None]) -> Callable[[list[str]], None]:
    """A command whose flags are the arguments of its function."""

    @functools.wraps(function)
    def command(words: list[str]) -> None:
        tyro.cli(function, args=words, prog=f"instructpt {function.__name__}")

    return command


def run(words: list[str]) -> None:
    """Run a recipe: instructpt run RECIPE [--flags]; RECIPE is a name or path/to/file.py:function."""
    name, rest = _recipe_named(words, command="run")
    _run(name, rest, prog=f"instructpt run {name}", title=f"Recipe {name}")


def plan(words: list[str]) -> None:
    """Try a recipe on some passages; print what is there, what is missing and what that will take. Writes nothing."""
    from instructpt.cli.flags import Planned, parse_words
    from instructpt.cli.results import Told, print_plan
    from instructpt.recipes import open_recipe
    from instructpt.report.estimate import Wishes

    name, rest = _recipe_named(words, command="plan")
    parsed = parse_words(open_recipe(name), rest, prog=f"instructpt plan {name}", where=Planned, wishes=Wishes)
    print_plan(parsed.make(), run_of(parsed.where, Told(_console())), parsed.wishes, console=_console(error=False))


@_of_arguments
def show(
    artifact: tyro.conf.Positional[str], number: tyro.conf.Positional[int] = 3, /, *, trace: str | None = None
) -> None:
    """Print records of an artifact, or where one came from: instructpt show ARTIFACT [N] [--trace ID].

    Args:
        artifact: folder of an artifact, such as runs/mine/texts.
        number: how many records; scores are shown in a table, all of them.
        trace: id of a text, group, passage or document: print what it was made from, and how.
    """
    from instructpt.report import lineage
    from instructpt.report.show import show as show_artifact

    flags.check({"number": number})
    console = _console(error=False)
    if trace is None:
        show_artifact(artifact, number=number, console=console)
        return
    for hop in lineage.trace(artifact, trace):
        for line in lineage.lines(hop):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@_of_arguments
def sheet(artifact: tyro.conf.Positional[str], /, *, out: str, pairs: int = 150, seed: int = 0) -> None:
    """Draw pairs for a person to read and mark right, wrong or unclear: instructpt sheet ARTIFACT --out FILE.csv.

    Args:
        artifact: folder of a finished artifact of groups, such as runs/mine/groups.
        out: a new file, which spreadsheets open.
        pairs: how many; the sources of the passages take turns.
        seed: of the draw.
    """
    from instructpt.report.show import write_sheet

    flags.check({"pairs": pairs})
    num_drawn = write_sheet(artifact, Path(out), pairs=pairs, seed=seed)
    print(f"{num_drawn:,} pairs: {out}")
    print(f"Write right, wrong or unclear into the second column, then: instructpt verdicts {out}")


@_of_arguments
def verdicts(sheet: tyro.conf.Positional[str], /) -> None:
    """Sum up a sheet that a person has marked, by category and with 95 % intervals: instructpt verdicts FILE.csv.

    Args:
        sheet: a file that `instructpt sheet` wrote, with verdicts.
    """
    from instructpt.report.show import sum_up
    from instructpt.report.tables import print_table

    print_table(sum_up(Path(sheet)), console=_console(error=False))


def view(words: list[str]) -> None:
    """Look at an artifact in a browser, until Ctrl-C: instructpt view ARTIFACT."""
    from instructpt.viewer.server import view_until_stopped

    tyro.cli(view_until_stopped, args=words, prog="instructpt view")


@_of_arguments
def report(root: tyro.conf.Positional[str], /, *, title: str = "Report") -> None:
    """Write report.html over the finished artifacts under a folder: instructpt report ROOT.

    Args:
        root: what --out named.
        title: of the page.
    """
    from instructpt.cli.results import write_report

    print(write_report(root, title=title))


def serve(words: list[str]) -> None:
    """Start inference servers for a model, until Ctrl-C: instructpt serve MODEL."""
    from instructpt.engines.serving.vllm import serve_until_stopped

    tyro.cli(serve_until_stopped, args=words, prog="instructpt serve", config=(tyro.conf.OmitArgPrefixes,))


@_of_arguments
def export(artifact: tyro.conf.Positional[str], /, *, to: str, out: str) -> None:
    """Write an artifact for other programs: instructpt export ARTIFACT --to FORMAT --out DIR.

    Args:
        artifact: folder of a finished artifact, such as runs/mine/texts.
        to: parquet or jsonl; of texts, groups and documents also hub (a data set with its card); of rows also
            megatron (bin and idx), datatrove (ds) or olmo (npy).
        out: an empty or new folder.
    """
    from instructpt.report.export import export as export_artifact

    said = export_artifact(artifact, to=to, out=out)
    print("  ".join(f"{name} {said[name]:,}" for name in ("records", "rows", "documents", "tokens") if name in said))
    if said.get("silent_tokens_exported"):
        print(f"{to} cannot mark the {said['silent_tokens_exported']:,} tokens without loss: they will carry it")
    print(f"Exported: {out}")


@_of_arguments
def bench(names: tyro.conf.Positional[tuple[str, ...]] = (), /) -> None:
    """Measure, each path beside its peer: instructpt bench [NAME...] (in a clone of the repository).

    Args:
        names: which; all without one. The numbers are appended to benchmarks/results.jsonl.
    """
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not (folder / "__init__.py").exists():
        raise InputError("the benchmarks come with the repository, not with the package: clone it and install with -e")
    sys.path.insert(0, str(folder.parent))
    from benchmarks import run_benchmarks

    run_benchmarks(names)


OF_RECIPES = {
    "augment": (
        "Augmented corpus",
        "Raw text files to an instruction-augmented corpus: instructpt augment FILES... --out DIR.",
    ),
    "decontaminate": (
        "Test items in a corpus",
        "Take test items out of a corpus: instructpt decontaminate FILES... --against TASKS --out DIR.",
    ),
    "verify": ("Verified pairs", "Take doubtful pairs out of a corpus: instructpt verify ARTIFACT --out DIR."),
    "evaluate": (
        "Scores",
        "Score a model on benchmarks: instructpt evaluate MODEL --out DIR (a synthesizer's pairs: run quality).",
    ),
    "exam": (
        "Exam",
        "Ask a model about a corpus that it does not see: instructpt exam MODEL --on FILES --questions FILE --out DIR.",
    ),
}
"""Recipe that is a command of its own -> title of its report, what `instructpt --help` says of it."""
COMMANDS = {name: _of_recipe(name, *told) for name, told in OF_RECIPES.items()} | {
    command.__name__: command for command in (run, plan, show, sheet, verdicts, view, report, serve, export, bench)
}


def _recipe_named(words: list[str], *, command: str) -> tuple[str, list[str]]:
    """The recipe's name, or file and function, and the words behind it."""
    from instructpt.recipes import RECIPES

    usage = f"instructpt {command} RECIPE [--flags]; RECIPE is {', '.join(RECIPES)} or path/to/file.py:function"
    if words and words[0] in ("-h", "--help"):
        print(f"usage: {usage}\n\ninstructpt {command} RECIPE --help tells its flags.")
        raise SystemExit(0)
    if not words:
        raise RecipeError(f"no recipe is named: {usage}")
    return words[0], words[1:]


def _run(name: str, words: list[str], *, prog: str, title: str) -> None:
    """Run a recipe, write the report, say what came of it."""
    from instructpt.cli.results import print_result
    from instructpt.recipes import open_recipe

    stage, where = parse(open_recipe(name), words, prog=prog)
    _make(stage, where, title=title)
    print_result(stage, where.out, console=_console(error=False))


def _make(stage: Stage[Any], where: Where, *, title: str) -> None:
    """Make the stage, then the report over it, unless all was there already."""
    from instructpt.artifacts import is_finished
    from instructpt.artifacts.locking import parse_partition
    from instructpt.artifacts.storage import Folder
    from instructpt.artifacts.tally import Progress
    from instructpt.cli.results import say_what_is_left, write_report
    from instructpt.executors.make import make, still_missing
    from instructpt.progress.panel import shown

    if devices.rank() > 0:  # of torchrun's processes the first one speaks
        make(stage, run_of(where, Progress()))
        raise SystemExit(0)
    with shown(where.out, console=_console(), partition=parse_partition(where.partition)) as progress:
        run, folder = run_of(where, progress), Folder.at(where.out)
        num_made = make(stage, run)
    if not is_finished(stage, run):
        print(still_missing(stage, run))
        raise SystemExit(0)
    say_what_is_left(stage, run)
    if num_made or not folder.exists("report.html"):
        write_report(where.out, title=title)
    print(f"Report: {folder.join('report.html')}")


def _console(*, error: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=error, emoji=False)


if __name__ == "__main__":
    sys.exit(main())
