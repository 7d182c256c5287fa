"""The Ray engine on a real cluster of three nodes, simulated on this machine; the workers hold the scripted engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from tests.recipes.test_temporal import content, launch
from toolkit.config import Cluster, Engine, Recipe
from toolkit.engines.pool import open_engine
from toolkit.engines.protocol import Completion, Request
from toolkit.engines.ray import RayEngine
from toolkit.engines.scripted import ScriptedEngine
from toolkit.errors import EngineError
from toolkit.records import Sampling

SAMPLING = Sampling(1.0, 1.0, 16)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A driver's node without cores and two nodes with one core each."""
    needs("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster as Simulated

    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        simulated.add_node(num_cpus=1, **small)
    yield simulated
    ray.shutdown()
    simulated.shutdown()


def requests(count: int = 60) -> list[Request]:
    """Four draws to each prompt, some of them scoring, some measuring."""
    made = []
    for number in range(count):
        tokens = (1, 2, number // 4)
        score, continuation = ((7, 8) if number % 10 == 9 else ()), ((5, 6) if number % 10 == 8 else ())
        made.append(Request(f"r{number}", tokens, SAMPLING, number, score, continuation))
    return made


def settings(cluster: Any, delay: float = 0.0, **fields: Any) -> Engine:
    options = {"delay": delay} | ({"die_after": fields.pop("die_after")} if "die_after" in fields else {})
    chosen = {"address": cluster.address, "inner": "scripted", "workers": 2, "cpus": 1, **fields}
    return Engine(kind="ray", device="cpu", max_num_seqs=8, options=options, cluster=Cluster(**chosen))


def alone(model: Path, asked: list[Request]) -> dict[str, Completion]:
    return {one.id: one for one in ScriptedEngine(model, Engine(kind="scripted")).complete(asked)}


def test_two_nodes_answer_every_request_once_and_as_one_engine_would(cluster: Any, tiny_model: Path) -> None:
    engine = open_engine(tiny_model, settings(cluster), False)
    found = list(engine.complete(requests()))
    again = list(engine.complete([*requests(8), requests(1)[0]]))
    engine.close()
    assert len(found) == 60 and {one.id: one for one in found} == alone(tiny_model, requests())
    assert len(again) == 9, "who asks twice is answered twice"
    assert {one.id: one for one in again} == alone(tiny_model, requests(8))


def test_a_node_that_dies_midway_costs_no_answer_and_doubles_none(cluster: Any, tiny_model: Path) -> None:
    doomed = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
    engine = RayEngine(tiny_model, settings(cluster, delay=0.05, workers=3))
    found = []
    for number, completion in enumerate(engine.complete(requests(160))):
        found.append(completion)
        if number == 40:
            cluster.remove_node(doomed, allow_graceful=False)
    engine.close()
    assert len(found) == 160 and {one.id: one for one in found} == alone(tiny_model, requests(160))


def test_a_worker_killed_midway_is_replaced(cluster: Any, tiny_model: Path) -> None:
    import ray

    engine = RayEngine(tiny_model, settings(cluster, delay=0.05, workers=1))
    assert len(list(engine.complete(requests(1)))) == 1  # a first worker may be sent to the node that just died
    process = ray.get(engine._idle[0].ready.remote())
    found = []
    for number, completion in enumerate(engine.complete(requests(40))):
        found.append(completion)
        if number == 5:
            os.kill(process, signal.SIGKILL)
    engine.close()
    assert len(found) == 40 and {one.id: one for one in found} == alone(tiny_model, requests(40))


def test_requests_whose_workers_always_fail_are_given_up_with_the_engines_own_words(
    cluster: Any, tiny_model: Path
) -> None:
    engine = RayEngine(tiny_model, settings(cluster, die_after=2, retries=1))
    found = []
    with pytest.raises(EngineError, match="tried 2 times") as told:
        for completion in engine.complete(requests(24)):
            found.append(completion)
    engine.close()
    assert "the scripted engine dies here, as told" in str(told.value)
    assert len({one.id for one in found}) == len(found) < 24


def test_nodes_with_other_weights_refuse_to_serve_and_their_reason_is_told(
    cluster: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.engines.ray.weights_digest", lambda _: "those of the driver")
    engine = RayEngine(tiny_model, settings(cluster, workers=1, retries=1))
    with pytest.raises(EngineError, match="2 workers did not start") as told:
        list(engine.complete(requests(2)))
    engine.close()
    assert "the driver's has those of the driver" in str(told.value)


def test_a_recipe_on_ray_leaves_the_very_store_of_one_engine(
    cluster: Any, scripted_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    nodes = {"address": cluster.address, "inner": "scripted", "workers": 2, "cpus": 0.25}
    on_ray = {"kind": "ray", "device": "cpu", "resident": 4, "cluster": nodes}
    launch(scripted_recipe(iterations=1, engine=on_ray), tmp_path / "ray" / "s.duckdb")
    launch(scripted_recipe(iterations=1), tmp_path / "one" / "s.duckdb")
    assert content(tmp_path / "ray" / "s.duckdb") == content(tmp_path / "one" / "s.duckdb")


@pytest.mark.real
def test_a_worker_with_vllm_says_what_vllm_alone_says(cluster: Any) -> None:
    needs("vllm")
    from toolkit.engines import embedded

    path, same = embedded.prepare(), {"device": "cpu", "max_model_len": 512, "max_num_seqs": 8}
    asked = [replace(one, sampling=Sampling(0.0, 1.0, 8)) for one in requests(10)]
    nodes = Cluster(address=cluster.address, inner="vllm", cpus=1)
    answers = []
    for settings in (Engine(kind="ray", cluster=nodes, **same), Engine(kind="vllm", **same)):
        engine = open_engine(path, settings, False)
        answers.append({one.id: replace(one, reused=0) for one in engine.complete(asked)})
        engine.close()
    assert answers[0] == answers[1] and len(answers[0]) == 10
