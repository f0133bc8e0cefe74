"""An engine whose work is done by engines on a Ray cluster: one per GPU, or per ``generation.engine_cpus`` cores.

What is to be computed is cut into shards: some prompts each, with all their draws. Actors take them one by one, each of
which opens the same engine as a process without a cluster would. The cache stays here: what it answers is in no shard,
and every shard's answers are in it as soon as they are there.

**What does not depend on the cluster.** The cut is a function of the work and of ``generation.decode_rows`` alone. So
for one kind of processor (and one ``engine_cpus``) the answers and scores are equal to the last bit however many actors
there are, wherever they run and whichever of them die. Without a cluster the batches are others: of float32 models the
draws are equal still, and the scores up to rounding; in half precision draws agree in distribution only, as between any
two batches (:mod:`mats_sql.generation.decoding`).

**What happens when a node dies.** Its actors do not start again: they would wait for the room that they had. The others
do what is left; what died with an actor is done in another round, on the nodes that are there then. :data:`ROUNDS`
rounds in which no shard is done end the work: such a shard kills whoever takes it.

**What happens when the command dies.** Its actors end with it. That is why they are fed from here: Ray Data would map
the shards as well, but it leaves three processes of its own on the cluster, also behind a command that ends well
(its statistics, locations and autoscaling, in Ray 2.60).

Not covered: engines behind a server, which get their requests from this process; nodes that do not see the checkpoint
under its path.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from mats_sql.agents import Messages
from mats_sql.cluster import Node, join, nodes, of_cluster, require_ray
from mats_sql.config import GenerationSettings
from mats_sql.errors import ClusterError, MatsError, one_line
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.draws import Draw, DrawingEngine
from mats_sql.generation.engine import Completion, Sampling
from mats_sql.threads import let_threads_sleep

if TYPE_CHECKING:
    from ray import ObjectRef

ROUNDS = 3
"""How many rounds may end without one shard more."""

_MANY_SHARDS = 64
_LARGEST = 4
"""How many times ``decode_rows`` a shard holds at most: what is lost with a node, and how soon the cache knows it."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_co = TypeVar("Item_co", covariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Opener(Protocol):
    """What opens an engine without a cache on a node; it is sent there by its name."""

    def __call__(self, settings: GenerationSettings, model: Path | str, cache: None, /) -> DrawingEngine:
        """Return the engine."""


class ClusterEngine(DrawingEngine):
    """Draw from one checkpoint with the engines of a cluster, which start at the first draw that no cache answers."""

    def __init__(
        self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None, opener: Opener
    ) -> None:
        """Look whether Ray is there, join nothing. Raises :class:`ClusterError` if it is not installed."""
        super().__init__(cache)
        require_ray()
        self._settings = settings
        # A node has another working directory.
        self._model = Path(model).resolve() if Path(model).is_dir() else model
        self._opener = opener

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        by_prompt: dict[Messages, list[Draw]] = {}
        for draw in draws:
            by_prompt.setdefault(draw.messages, []).append(draw)
        shards = cut(list(by_prompt.values()), len, self._settings.decode_rows)
        return self._done([Draws(tuple(draw for group in shard for draw in group), sampling) for shard in shards])

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        shards = cut(prompts, lambda _: len(choices), self._settings.decode_rows)
        return self._done([Prompts(tuple(shard), choices) for shard in shards])

    def _done(self, shards: Sequence[Shard[Item, Result]]) -> Iterator[tuple[Item, Result | None]]:
        """Yield every item of the shards with its result, shard by shard as they come."""
        join()
        left, fruitless = dict(enumerate(shards)), 0
        while left:
            before = len(left)
            for answer in self._round(left):
                self.starts += answer.starts
                items = left.pop(answer.shard).items
                yield from ((items[index], result) for index, result in answer.results)
            fruitless = fruitless + 1 if len(left) == before else 0
            if fruitless == ROUNDS:
                raise ClusterError(
                    f"a shard of prompts must be done on some node, but {len(left)} were not in {ROUNDS} rounds: their "
                    "actors died (out of memory?); look at the nodes (ray status), or lower generation.decode_rows"
                )

    def _round(self, left: Mapping[int, Shard[Item, Result]]) -> Iterator[ShardAnswer[Result]]:
        """Yield the answers of those shards whose actors live as long as they take.

        An actor gets a shard once it runs: no shard waits for room on a node that is gone, or that others keep. Raises
        :class:`ClusterError` when the cluster itself is gone.
        """
        import ray

        todo = deque(left.items())
        with of_cluster("a shard of prompts"), self._actors(len(left)) as actors:
            starting: dict[ObjectRef, Any] = {actor.begin.remote(): actor for actor in actors}
            busy: dict[ObjectRef, Any] = {}
            while busy or (todo and starting):
                [reference], _ = ray.wait([*busy, *starting], num_returns=1)
                actor = busy.pop(reference, None) or starting.pop(reference)
                told = _told(reference)
                if todo and told is not None:
                    busy[actor.answer.remote(*todo.popleft())] = actor
                if isinstance(told, ShardAnswer):
                    yield told

    @contextmanager
    def _actors(self, most: int) -> Iterator[list[Any]]:
        """Start as many actors as there is room for, ``most`` at most, and end them with the block."""
        import ray

        places = engine_places(self._settings, nodes())
        actor = ray.remote(**{"num_cpus": 0, **places.each, "max_restarts": 0})(EngineActor)
        started = [actor.remote(self._settings, self._model, self._opener) for _ in range(min(places.engines, most))]
        try:
            yield started
        finally:
            for one in started if ray.is_initialized() else ():
                ray.kill(one)


class Shard(Protocol[Item_co, Result_co]):
    """A part of the work: what it asks about, and how an engine does it."""

    @property
    @abstractmethod
    def items(self) -> Sequence[Item_co]:
        """What results are asked for."""

    @abstractmethod
    def done_by(self, engine: DrawingEngine) -> Iterator[tuple[Item_co, Result_co | None]]:
        """Yield each item with its result, in any order."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws to compute; those of one prompt stand together."""

    items: tuple[Draw, ...]
    sampling: Sampling

    def done_by(self, engine: DrawingEngine) -> Iterator[tuple[Draw, Completion | None]]:
        """Yield each draw with its completion."""
        return engine._complete(self.items, self.sampling)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts to score."""

    items: tuple[Messages, ...]
    choices: tuple[str, ...]

    def done_by(self, engine: DrawingEngine) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        """Yield each prompt with its choices' log-probabilities."""
        return engine._score(self.items, self.choices)


@dataclass(frozen=True, slots=True)
class ShardAnswer(Generic[Result]):
    """What an actor says of a shard: results by the item's place, and how often it loaded the checkpoint for it."""

    shard: int
    results: tuple[tuple[int, Result | None], ...]
    starts: int


class EngineActor:
    """One engine on one node."""

    def __init__(self, settings: GenerationSettings, model: Path | str, opener: Opener) -> None:
        """Open nothing yet: what goes wrong is told with the first shard."""
        let_threads_sleep()
        self._open: Callable[[], DrawingEngine] = lambda: opener(settings, model, None)
        self._engine: DrawingEngine | None = None

    def begin(self) -> bool:
        """Say that the actor runs."""
        return True

    def answer(self, number: int, shard: Shard[Item, Result]) -> ShardAnswer[Result] | MatsError:
        """Return a shard's results, or the error that a user can mend."""
        try:
            if self._engine is None:
                self._engine = self._open()
            before = self._engine.starts
            places = {item: index for index, item in enumerate(shard.items)}
            results = tuple((places[item], result) for item, result in shard.done_by(self._engine))
            return ShardAnswer(number, results, self._engine.starts - before)
        except MatsError as error:
            return type(error)(f"{error} (on node {socket.gethostname()}, with cluster: ray)")
        except Exception as error:  # noqa: BLE001 (Ray would take it for a death, and its text would be lost)
            return ClusterError(
                f"a node must be able to run an engine, but {socket.gethostname()}: {type(error).__name__}: "
                f"{one_line(error)}; install there what is installed here"
            )


@dataclass(frozen=True, slots=True)
class EnginePlaces:
    """How many engines a cluster has room for, and what each takes of a node, in Ray's words."""

    engines: int
    each: Mapping[str, int]


def engine_places(settings: GenerationSettings, found: Sequence[Node]) -> EnginePlaces:
    """Return the room for engines on these nodes. Raises :class:`ClusterError` if there is none.

    An engine takes ``tensor_parallel_size`` GPUs with vLLM and one with transformers; where no node has a GPU, or
    ``generation.device`` is cpu, it takes ``engine_cpus`` cores.
    """
    on_gpus = settings.device != "cpu" and any(node.gpus for node in found)
    if on_gpus:
        each = settings.tensor_parallel_size if settings.engine == "vllm" else 1
        engines, most = sum(node.gpus // each for node in found), max(node.gpus for node in found)
        setting, kind = "generation.tensor_parallel_size", "GPUs"
    else:
        each = settings.engine_cpus
        engines, most = sum(node.cpus // each for node in found), max((node.cpus for node in found), default=0)
        setting, kind = "generation.engine_cpus", "cores"
    if not engines:
        raise ClusterError(
            f"some node must have room for an engine, but {setting}={each} and the largest has {most} {kind}; lower it"
        )
    return EnginePlaces(engines, {"num_gpus": each} if on_gpus else {"num_cpus": each})


def cut(items: Sequence[Item], size_of: Callable[[Item], int], rows: int) -> list[list[Item]]:
    """Return the items in shards of ``rows`` answers, of up to four times as many where there would be over 64.

    It looks at nothing but the items, so that every cluster computes the same batches. Neighbours stay together: their
    prompts often begin alike. An item larger than a shard is one alone.
    """
    total = sum(map(size_of, items))
    room = max(rows, min(_LARGEST * rows, total // _MANY_SHARDS))
    shards: list[list[Item]] = []
    held = room
    for item in items:
        if held + size_of(item) > room:
            shards.append([])
            held = 0
        shards[-1].append(item)
        held += size_of(item)
    return shards


def _told(reference: ObjectRef) -> object:
    """Return what an actor answered, or nothing if it died; raise the error that a user can mend."""
    import ray
    from ray.exceptions import RayError

    try:
        answer = ray.get(reference)
    except RayError:  # an actor tells every other error itself, so this one is a death too
        return None
    if isinstance(answer, MatsError):
        raise answer
    return cast(object, answer)
