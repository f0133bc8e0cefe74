"""The typed experiment: one YAML file, every key known, every value checked before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mats_sql.choices import FixerCritique, Gate, PoolRule, Regime, SelectorRule
from mats_sql.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the experiment; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


class BenchmarkSettings(Section):
    """Where questions come from. ``lab`` is generated; the others are read from ``root`` in their own layout."""

    kind: Literal["lab", "bird", "spider"] = "lab"
    root: Path | None = None
    train_questions: int | None = Field(None, ge=1)
    dev_questions: int | None = Field(None, ge=1)
    validation_questions: Positive = 150
    values_per_column: int = Field(1, ge=0)
    show_types: bool = True
    show_meanings: bool = True
    show_nulls: bool = True

    def prompt_settings(self) -> dict[str, bool | int]:
        """Return the settings that can change a prompt."""
        return self.model_dump(mode="json", include={"values_per_column", "show_types", "show_meanings", "show_nulls"})

    @model_validator(mode="after")
    def _root_is_given(self) -> BenchmarkSettings:
        if self.kind != "lab" and self.root is None:
            raise ValueError(f"benchmark.root must be set when benchmark.kind is {self.kind!r}; set it to the folder")
        return self


class LabSettings(Section):
    """Size and seed of the generated benchmark."""

    seed: int = 1
    train_databases: Positive = 60
    train_questions: Positive = 2400
    dev_databases: Positive = 11
    dev_questions: Positive = 1524


class PretrainSettings(Section):
    """How the lab's base model is made: copying first (it forms induction heads), then every agent's task.

    ``batch_size`` is per process; each of the ``processes`` has one thread and its own examples.
    """

    seed: int = 0
    vocabulary: int = Field(2600, ge=512)
    layers: Positive = 4
    width: Positive = 128
    heads: Positive = 4
    feed_forward: Positive = 384
    context_tokens: Positive = 1024
    copy_steps: int = Field(350, ge=0)
    copy_tokens: Positive = 40
    examples: Positive = 85_000
    batch_size: Positive = 12
    learning_rate: Rate = 2e-3
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    processes: Positive = 2


class ModelSettings(Section):
    """The checkpoint each agent starts from: ``lab`` is the embedded base model, anything else a path or name."""

    planner: str = "lab"
    validator: str = "lab"
    fixer: str = "lab"
    selector: str = "lab"


class SqlLimits(Section):
    """Bounds on one execution of untrusted SQL.

    Steps are SQLite's virtual-machine steps: they come first, so that a verdict does not depend on the machine's speed
    (about 50 million a second). A candidate that is only judged may take ``judge_steps_per_gold_step`` times gold's
    steps, ``judge_steps_per_page`` times the database's pages, or ``judge_min_steps``, whichever is most, and never
    more than ``max_steps``: on a small database an honest query cannot be busy for long. ``timeout_s`` is CPU time in a
    SQLite worker (a busy machine changes no verdict) and the statement timeout of a database server.
    """

    timeout_s: float = Field(30.0, gt=0)
    max_steps: Positive = 1_000_000_000
    judge_min_steps: Positive = 25_000_000
    judge_steps_per_gold_step: Positive = 1000
    judge_steps_per_page: Positive = 20_000
    max_rows: Positive = 2_000_000
    max_result_bytes: Positive = 256 * 1024 * 1024
    max_value_bytes: Positive = 16 * 1024 * 1024
    max_sql_bytes: Positive = 1_000_000
    memory_mib: int = Field(2048, ge=64)
    preview_rows: Positive = 5


class SqlSettings(Section):
    """How SQL is executed and judged."""

    workers: Positive = 2
    limits: SqlLimits = SqlLimits()


class GenerationSettings(Section):
    """Which engine draws text, and how much at a time."""

    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_tokens: Positive = 16384
    decode_rows: Positive = 256
    max_prompt_tokens: Positive = 4096
    plan_tokens: Positive = 192
    critique_tokens: Positive = 96
    fix_tokens: Positive = 96
    base_url: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: Positive = 8
    attempts: Positive = 13
    timeout_s: float = Field(600.0, gt=0)

    def answer_settings(self) -> dict[str, object]:
        """Return the settings that can change an answer: not how much is computed at a time, nor where."""
        how = {"batch_tokens", "decode_rows", "base_url", "api_key_variable", "concurrency", "attempts", "timeout_s"}
        return self.model_dump(mode="json", exclude=how)


class TeacherSettings(Section):
    """Who writes the answers that SFT teaches: rules over syntax trees, or a large model that sees the hidden gold.

    The large model is behind an OpenAI-compatible server: give its ``base_url`` and ``model``.
    """

    kind: Literal["rules", "large_model"] = "rules"
    model: str = ""
    base_url: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    max_new_tokens: Positive = 512

    @model_validator(mode="after")
    def _server_is_given(self) -> TeacherSettings:
        if self.kind == "large_model" and not (self.model and self.base_url):
            raise ValueError("teacher.model and teacher.base_url must be set when teacher.kind is 'large_model'")
        return self


class LoraSettings(Section):
    """PEFT LoRA; rank 0 trains full weights."""

    rank: int = Field(0, ge=0)
    alpha: Positive = 32
    dropout: Fraction = 0.0
    target_modules: str = "all-linear"


class TrainerSettings(Section):
    """What SFT and ORPO share; docs/training.md says what each does to the update.

    ``checkpoint_steps`` counts optimizer steps and matters only where a checkpoint folder is given; ``logit_rows``
    bounds the positions whose logits exist at one time.
    """

    epochs: float = Field(1.0, gt=0)
    learning_rate: Rate = 5e-4
    batch_size: Positive = 16
    gradient_accumulation: Positive = 1
    warmup_ratio: Fraction = 0.05
    weight_decay: float = Field(0.0, ge=0)
    max_tokens: Positive = 1024
    lora: LoraSettings = LoraSettings()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    checkpoint_steps: Positive = 50
    logit_rows: Positive = 1024


class SftSettings(TrainerSettings):
    """Supervised fine-tuning of one agent."""

    max_examples: int | None = Field(None, ge=1)


class SftAgents(Section):
    """Supervised fine-tuning, agent by agent; `validator` holds for both validators."""

    planner: SftSettings = SftSettings()
    validator: SftSettings = SftSettings()
    fixer: SftSettings = SftSettings()
    selector: SftSettings = SftSettings()

    def of(self, agent: str) -> SftSettings:
        """Return the settings of an agent, named as its registered model is."""
        return {
            "planner": self.planner,
            "select-validator": self.validator,
            "condition-validator": self.validator,
            "fixer": self.fixer,
            "selector": self.selector,
        }[agent]


class OrpoSettings(TrainerSettings):
    """Preference training of one validator (MATS.md, section 5).

    ``packing`` fills a row with several pairs where they fit; ``eval_steps`` adds evaluations on the way.
    """

    learning_rate: Rate = 1e-4
    batch_size: Positive = 8
    warmup_ratio: Fraction = 0.1
    beta: float = Field(0.25, gt=0)
    nll: Literal["answer", "prompt_and_answer"] = "answer"
    prefix_sharing: bool = True
    packing: bool = False
    eval_steps: int | None = Field(None, ge=1)


class RolloutSettings(Section):
    """How a training pool is drawn: the largest K once, every smaller K is a prefix.

    With ``folds`` above 1 the plans of each part of the train questions come from a planner trained on the other parts.
    """

    questions: int | None = Field(None, ge=1)
    folds: Positive = 1
    plans: Positive = 4
    critiques: Positive = 4
    fixes: Positive = 1
    temperature: float = Field(1.0, ge=0)


class PairSettings(Section):
    """How a pool becomes preference pairs."""

    k: int | None = Field(None, ge=2)
    max_pairs_per_prompt: Positive = 2
    evaluation_share: Fraction = 0.1
    fixer: Literal["same", "joint"] = "joint"


class Policy(Section):
    """The inference flow of a team (DESIGN.md, section 4)."""

    k: Positive = 8
    temperature: float = Field(1.0, ge=0)
    gate: Gate = Gate.ON_COMPLAINT
    pool: PoolRule = PoolRule.REPLACE
    selector: SelectorRule = SelectorRule.TRAINED
    agreement_weight: float = Field(1.0, ge=0)


class SearchSettings(Section):
    """The Optuna study over ORPO's beta, K and learning rate."""

    trials: Positive = 8
    beta: tuple[float, float] = (0.05, 1.0)
    learning_rate: tuple[float, float] = (2e-5, 5e-4)
    k: tuple[int, ...] = (2, 4)
    storage: str | None = None


class PromoteSettings(Section):
    """Gates that a team must pass before it becomes champion."""

    min_selector_ex: Fraction = 0.0
    min_gain_over_champion: float = 0.0
    max_harm_rate: Fraction = 1.0


class Experiment(Section):
    """Everything that decides the result of an experiment."""

    name: str = Field("mats-sql", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = 0
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    iterations: int = Field(1, ge=1, le=5)
    work_dir: Path = Path("mats-runs")
    benchmark: BenchmarkSettings = BenchmarkSettings()
    lab: LabSettings = LabSettings()
    pretrain: PretrainSettings = PretrainSettings()
    models: ModelSettings = ModelSettings()
    sql: SqlSettings = SqlSettings()
    generation: GenerationSettings = GenerationSettings()
    teacher: TeacherSettings = TeacherSettings()
    sft: SftAgents = SftAgents()
    fixers: tuple[FixerCritique, ...] = Field((FixerCritique.AWARE,), min_length=1)
    rollout: RolloutSettings = RolloutSettings()
    pairs: PairSettings = PairSettings()
    orpo: OrpoSettings = OrpoSettings()
    regimes: tuple[Regime, ...] = (Regime.INDEP, Regime.COLLAB, Regime.COLLAB_V2)
    policy: Policy = Policy()
    search: SearchSettings = SearchSettings()
    promote: PromoteSettings = PromoteSettings()

    def regimes_named(self, name: str) -> tuple[Regime, ...]:
        """Return the regime of that name, or every regime of the experiment for ``all``."""
        return self.regimes if name == "all" else (Regime(name),)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment and apply ``key.sub=value`` overrides (values are YAML).

    Raises :class:`ConfigError` for a missing file, bad YAML, an unknown key or a value out of range.
    """
    document = _read_yaml(path)
    for override in overrides:
        _apply(document, override)
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_first_problem(path, error)) from None


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the config file must be readable, but {path}: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"the config file must be YAML, but {path}: {problem}; mend the file") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"the config must be a mapping of keys, but {path} holds a {type(document).__name__}")
    return document


def _apply(document: dict[str, object], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"an override must read key=value, but got {override!r}; e.g. orpo.beta=0.1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"an override's value must be YAML, but got {text!r} for {key!r}; quote it") from None
    *parents, leaf = key.strip().split(".")
    node = document
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"an override's key must name a setting, but {key!r}: {parent!r} is not a section")
        node = child
    node[leaf] = value


def _first_problem(path: Path, error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "experiment"
    if problem["type"] == "extra_forbidden":
        return f"every key must be known, but {path} has {key!r}; remove it or see docs/config.md"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, but got {problem['input']!r}; change it in {path} or with --set {key}=…"
