"""`--executor ray`: two nodes on this machine, one of which is killed; the same bytes as in processes here."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import corpus_rows, write_corpus
from many_shards import contents, spread
from toy_stages import Asked, Count, Odd, Refuse

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, is_finished
from instructpt.artifacts.tally import Progress
from instructpt.errors import ArtifactError, BudgetError, InputError, RecipeError
from instructpt.executors import ray_worker
from instructpt.executors.make import build_shard, make
from instructpt.executors.ray_pool import needs, num_fitting, summed

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

STORE_BYTES = 80 * 2**20
COUNT = Count(name="count", numbers=40)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node with one core, which the driver is connected to; tests add others."""
    from ray.cluster_utils import Cluster

    stopping = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            environment.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            signal.signal(signal.SIGTERM, stopping)  # Ray has put its own


@pytest.fixture
def node(cluster: Any) -> Iterator[Any]:
    """A second one."""
    added = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    yield added
    if added in cluster.worker_nodes:
        cluster.remove_node(added)


class News(Progress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, object]] = []

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        self.told.append(counts)


def on_ray(root: Path, **settings: Any) -> Run:
    fields = {"root": str(root), "scratch": str(root.parent / "scratch"), "workers": 2, "executor": "ray"}
    return Run(**{**fields, **settings})


def test_a_node_that_dies_half_way_changes_nothing(
    tmp_path: Path, vocabulary_folder: Path, cluster: Any, node: Any
) -> None:
    target = spread(write_corpus(tmp_path / "my.jsonl", corpus_rows(60)), vocabulary_folder)
    news, scripted = News(), {"engine": SCRIPTED, "engine_options": {"delay_seconds": 0.3}}
    groups = tmp_path / "out" / "groups"

    def kill() -> None:
        while not any(counts.get("engines") == "2/2" for counts in news.told) or not (groups / "00000.json").exists():
            time.sleep(0.01)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    make(target, on_ray(tmp_path / "out", progress=news, **scripted))
    killer.join()
    plain = Run(root=str(tmp_path / "plain"), workers=1, engine=SCRIPTED)
    make(target, plain)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    assert str(news.told[-1]["engines"]).startswith("1/")
    assert not list((tmp_path / "scratch").rglob("*.open"))


@pytest.mark.parametrize("kind", [Odd, Asked])
def test_a_process_that_dies_is_replaced(tmp_path: Path, cluster: Any, kind: Any) -> None:
    target = kind(name="dying", documents=COUNT, die_at="22")
    make(target, on_ray(tmp_path / "out"))
    assert (tmp_path / "out" / "died").exists()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "died").touch()  # nobody is to die here
    make(target, on_ray(tmp_path / "plain", executor="local", workers=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_what_a_shard_says_arrives_as_it_was(tmp_path: Path, cluster: Any) -> None:
    refuse = Refuse(name="refuse", documents=COUNT, refused=3)
    with pytest.raises(InputError, match=r"^shard 3 is refused: give another one$") as error:
        make(refuse, on_ray(tmp_path / "out"))
    assert type(error.value) is InputError
    with pytest.raises(InputError, match=r"^there is no such model: give another one$") as error:
        make(Asked(name="asked", documents=COUNT, refuses=True), on_ray(tmp_path / "out"))
    assert type(error.value) is InputError


def test_a_used_up_budget_ends_the_run_and_keeps_what_is_paid_for(tmp_path: Path, cluster: Any) -> None:
    target = Asked(name="asked", documents=COUNT, paid_shards=3)
    with pytest.raises(BudgetError, match=r"^the money is used up: give more$"):
        make(target, on_ray(tmp_path / "out"))
    seals = sorted(path.name for path in (tmp_path / "out" / "asked").glob("0*.json"))
    assert seals == ["00000.json", "00001.json", "00002.json"]


def test_what_partitions_began_is_finished_by_ray(tmp_path: Path, vocabulary_folder: Path, cluster: Any) -> None:
    target = spread(write_corpus(tmp_path / "my.jsonl", corpus_rows(20)), vocabulary_folder)
    halves = [
        on_ray(tmp_path / "out", executor="local", engine=SCRIPTED, partition=(place, 2), workers=1) for place in (0, 1)
    ]
    with ThreadPoolExecutor() as pool:  # they wait for one another
        list(pool.map(lambda run: make(target.groups.passages, run), halves))
    make(target.groups, halves[0])
    assert not is_finished(target.groups, halves[0])
    make(target, on_ray(tmp_path / "out", engine=SCRIPTED))
    make(target, on_ray(tmp_path / "plain", executor="local", engine=SCRIPTED, workers=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


# Without a cluster


def test_without_ray_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RecipeError, match=r"pip install 'instructpt\[ray\]'"):
        make(COUNT, on_ray(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": 2}, "no option 'engine'"), ({"engines": 0}, "engines .* is 0"), ({"gpus": "a"}, "gpus .* is 'a'")],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(COUNT, on_ray(tmp_path / "out", executor_options=options))


def test_a_node_that_does_not_see_the_output_folder_says_so(tmp_path: Path) -> None:
    import ray.cloudpickle

    code = ray.cloudpickle.dumps((build_shard, COUNT, on_ray(tmp_path / "elsewhere")))
    outcome = ray_worker.build(ray_worker.Job(code, str(Path.cwd()), ()), 0)
    assert isinstance(outcome, ArtifactError)
    assert "does not see" in str(outcome)


@pytest.mark.parametrize(
    ("settings", "nodes", "number"),
    [
        ({}, [{"CPU": 4.0}, {"CPU": 8.0}], 12),
        ({"executor_options": {"cpus": 3}}, [{"CPU": 4.0}, {"CPU": 8.0}], 3),
        ({}, [{"CPU": 32.0}, {"CPU": 32.0, "GPU": 8.0}], 8),
        ({"device": "cpu"}, [{"CPU": 2.0, "GPU": 8.0}], 2),
        ({"device": "cuda"}, [{"CPU": 2.0}], 0),
        ({"executor_options": {"gpus": 2}}, [{"CPU": 32.0, "GPU": 8.0}], 4),
        ({"executor_options": {"gpus": 0.5, "engines": 5}}, [{"CPU": 32.0, "GPU": 8.0}], 5),
        ({"engine": "http"}, [{"CPU": 32.0, "GPU": 8.0}, {"CPU": 32.0}], 2),
        ({"engine": "http", "executor_options": {"engines": 9}}, [{"CPU": 32.0}], 9),
    ],
)
def test_as_many_engines_as_fit(
    tmp_path: Path, settings: dict[str, Any], nodes: list[dict[str, float]], number: int
) -> None:
    assert num_fitting(on_ray(tmp_path, **settings), nodes) == number


def test_an_engine_takes_a_gpu_where_it_needs_one(tmp_path: Path) -> None:
    nodes = [{"CPU": 8.0, "GPU": 1.0}]
    assert needs(on_ray(tmp_path), nodes) == {"CPU": 1, "GPU": 1}
    assert needs(on_ray(tmp_path, engine="http", device="cuda"), nodes) == {"CPU": 1}


def test_news_of_engines_are_added_up() -> None:
    news = [
        {"passages": "900/1,000", "pairs": 7, "tok/s": 1.5, "left": "4s", "endpoints": "1/2"},
        {"passages": "150/1,000", "pairs": 5, "tok/s": 2.0, "left": "9s"},
        {},
    ]
    assert summed([{"hours": 0.5, "max_hours": 2.0}, {"hours": 0.6, "max_hours": 2.0}]) == {
        "hours": 0.6,
        "max_hours": 2.0,
    }
    assert summed(news) == {"passages": "1,050/2,000", "pairs": 12, "tok/s": 3.5, "endpoints": "1/2"}
