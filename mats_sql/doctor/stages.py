"""Whether each stage fits into the memory it computes in, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mats_sql.agents import FIXER, PLANNER, SELECTOR
from mats_sql.config import Experiment, GenerationSettings, LoraSettings, OrpoSettings, TrainerSettings
from mats_sql.doctor.finding import Finding, ok, warning
from mats_sql.doctor.machine import Machine
from mats_sql.doctor.memory import (
    GIB,
    Drawing,
    Memory,
    drawing_memory,
    training_memory,
    vllm_memory,
)
from mats_sql.shapes import ModelShape

VALIDATOR = "validator"
LORA_RANK = 16
"""The rank that a remedy proposes."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """A training: which agent's checkpoint, its settings and the key of these in the config."""

    title: str
    agent: str
    settings: TrainerSettings
    key: str


@dataclass(frozen=True, slots=True)
class DrawingStage:
    """A stage that draws or scores: how many answers each prompt gets at least, and how long an answer may be.

    ``key`` is the setting that bounds the answer.
    """

    title: str
    agent: str
    answers_per_prompt: int
    answer_tokens: int


def training_stages(experiment: Experiment) -> Iterator[TrainingStage]:
    """Yield every kind of training of an experiment; validators are trained alike, so they are one kind."""
    for agent in (PLANNER, VALIDATOR, FIXER, SELECTOR):
        settings = getattr(experiment.sft, agent)
        yield TrainingStage(f"sft {agent}", agent, settings, f"sft.{agent}")
    for agent in preferred_agents(experiment):
        yield TrainingStage(f"orpo {agent}", agent, experiment.orpo, "orpo")


def preferred_agents(experiment: Experiment) -> tuple[str, ...]:
    """Return whom an experiment trains with ORPO: validators, and planner and fixer where a team has them so."""
    teams = experiment.teams.values()
    planner = any(team.planner == "orpo" for team in teams)
    fixer = experiment.iterations > 1 or any(team.fixer == "orpo" for team in teams)
    return (*([VALIDATOR] if experiment.regimes else []), *([PLANNER] if planner else []), *([FIXER] if fixer else []))


def drawing_stages(experiment: Experiment) -> Iterator[DrawingStage]:
    """Yield every kind of drawing of an experiment, each as evaluation does it: that is where prompts share least."""
    settings = experiment.generation
    yield DrawingStage("draw plans", PLANNER, min(experiment.policy.k, experiment.rollout.plans), settings.plan_tokens)
    yield DrawingStage("draw critiques", VALIDATOR, 1, settings.critique_tokens)
    yield DrawingStage("draw fixes", FIXER, 1, settings.fix_tokens)
    yield DrawingStage("score candidates", SELECTOR, 2, 1)


def memory_findings(experiment: Experiment, shapes: dict[str, ModelShape], machine: Machine) -> Iterator[Finding]:
    """Yield one finding per stage whose model's shape is known; ``shapes`` go by agent."""
    for stage in training_stages(experiment):
        if stage.agent in shapes:
            yield _training_finding(experiment, stage, shapes[stage.agent], machine)
    if experiment.generation.engine == "openai":
        yield ok("memory: drawing", "a server draws: its memory is not this machine's")
        return
    for drawing in drawing_stages(experiment):
        if drawing.agent in shapes:
            yield _drawing_finding(experiment.generation, drawing, shapes[drawing.agent], machine)


def training_tokens(settings: TrainerSettings, answer_tokens: int) -> int:
    """Return the tokens of a micro-batch at its fullest: examples, or pairs, which share their prompt where asked."""
    each = settings.max_tokens
    if isinstance(settings, OrpoSettings):
        each += min(answer_tokens, settings.max_tokens) if settings.prefix_sharing else settings.max_tokens
    return settings.batch_size * each


def _training_finding(experiment: Experiment, stage: TrainingStage, shape: ModelShape, machine: Machine) -> Finding:
    answer = _answer_tokens(experiment.generation, stage.agent)
    parts = experiment.training.processes if experiment.training.shard else 1

    def needed(settings: TrainerSettings) -> Memory:
        tokens = training_tokens(settings, answer)
        return training_memory(shape, settings, tokens, card=machine.is_card, parts=parts)

    found = needed(stage.settings)
    if found.total <= machine.memory:
        return ok(f"memory: {stage.title}", _told(found, machine.memory))
    remedy = _training_remedy(stage, lambda settings: needed(settings).total <= machine.memory)
    return warning(f"memory: {stage.title}", _told(found, machine.memory), remedy)


def _training_remedy(stage: TrainingStage, fits: Callable[[TrainerSettings], bool]) -> str:
    for settings, words in _smaller(stage.settings, stage.key):
        if fits(settings):
            return f"set {words}"
    return f"choose a smaller checkpoint for models.{stage.agent}, or a larger card"


def _smaller(settings: TrainerSettings, key: str) -> Iterator[tuple[TrainerSettings, str]]:
    """Yield settings that need less and less, the least change of results first: only LoRA trains other weights."""
    words: list[str] = []
    if not settings.gradient_checkpointing:
        settings = settings.model_copy(update={"gradient_checkpointing": True})
        words.append(f"{key}.gradient_checkpointing=true")
        yield settings, " ".join(words)
    for current in (settings, _with_adapters(settings)):
        lora = [f"{key}.lora.rank={LORA_RANK}"] if current is not settings else []
        step = current.batch_size * current.gradient_accumulation
        size = current.batch_size
        if lora:
            yield current, " ".join([*words, *lora])
        while size > 1:
            size = max(1, size // 2)
            batches = [f"{key}.batch_size={size}", f"{key}.gradient_accumulation={-(-step // size)}"]
            yield current.model_copy(update={"batch_size": size}), " ".join([*words, *lora, *batches])


def _with_adapters(settings: TrainerSettings) -> TrainerSettings:
    if settings.lora.rank:
        return settings
    return settings.model_copy(update={"lora": LoraSettings(rank=LORA_RANK)})


def _drawing_finding(settings: GenerationSettings, stage: DrawingStage, shape: ModelShape, machine: Machine) -> Finding:
    check = f"memory: {stage.title}"
    drawing = _drawing(settings, stage, shape)
    if settings.engine == "vllm":
        room = int(settings.gpu_memory_utilization * machine.memory)
        least = vllm_memory(shape, drawing)
        if least.total <= room:
            return ok(check, f"{_told(least, room)}; {_sequences(shape, drawing, room - least.total)}")
        return warning(check, _told(least, room), "lower generation.max_prompt_tokens or generation.batch_tokens")
    found = drawing_memory(shape, drawing, card=machine.is_card)
    if found.total <= machine.memory:
        return ok(check, _told(found, machine.memory))
    return warning(check, _told(found, machine.memory), _drawing_remedy(settings, stage, shape, machine))


def _drawing_remedy(settings: GenerationSettings, stage: DrawingStage, shape: ModelShape, machine: Machine) -> str:
    rows = settings.decode_rows
    while rows > 1:
        rows //= 2
        smaller = _drawing(settings.model_copy(update={"decode_rows": rows}), stage, shape)
        if drawing_memory(shape, smaller, card=machine.is_card).total <= machine.memory:
            return f"set generation.decode_rows={rows} (this is for prompts of full length), or generation.engine=vllm"
    return "lower generation.batch_tokens and generation.max_prompt_tokens, or choose a smaller checkpoint"


def _drawing(settings: GenerationSettings, stage: DrawingStage, shape: ModelShape) -> Drawing:
    longest = min(settings.max_prompt_tokens, shape.context)
    prompts = -(-settings.decode_rows // stage.answers_per_prompt)
    if stage.agent == SELECTOR:  # scoring starts no more prompts than it computes at a time
        prompts = min(prompts, max(1, settings.batch_tokens // longest))
    return Drawing(
        answers=prompts * stage.answers_per_prompt,
        answer_tokens=stage.answer_tokens,
        prompts=prompts,
        prompt_tokens=longest,
        prefill_tokens=max(settings.batch_tokens, longest),
        bytes_per_number=_BYTES[settings.dtype],
    )


def _sequences(shape: ModelShape, drawing: Drawing, room: int) -> str:
    """Say how many further sequences of full length have room in vLLM's cache."""
    each = drawing.bytes_per_number * shape.key_value_numbers * (drawing.prompt_tokens + drawing.answer_tokens)
    return f"cache for {1 + room // each} sequences of {drawing.prompt_tokens + drawing.answer_tokens} tokens"


def _answer_tokens(settings: GenerationSettings, agent: str) -> int:
    return {PLANNER: settings.plan_tokens, VALIDATOR: settings.critique_tokens, FIXER: settings.fix_tokens}.get(
        agent, 1
    )


def _told(memory: Memory, available: int) -> str:
    return f"{memory.total / GIB:.1f} of {available / GIB:.1f} GiB: {memory.told()}"
