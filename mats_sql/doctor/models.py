"""Whether the checkpoints of a config are there and take its prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mats_sql.agents import FIXER, PLANNER, SELECTOR
from mats_sql.config import UNTRAINED, Experiment
from mats_sql.doctor.checkpoints import Checkpoint, look_at_checkpoint
from mats_sql.doctor.finding import Finding, missing, ok, warning
from mats_sql.doctor.stages import VALIDATOR, preferred_agents
from mats_sql.shapes import ModelShape, published

LAB = "lab"
AGENTS = (PLANNER, VALIDATOR, FIXER, SELECTOR)
"""Whom a config names a checkpoint for."""
SCHEMA_CHARACTERS_PER_TOKEN = 2
"""How long a schema may be for each token of a prompt: BIRD-dev's largest has 16,301 characters, some 4,600 tokens of
Qwen2.5, so a third or more is left for question, SQL, response and critiques."""


def checkpoints(experiment: Experiment) -> dict[str, Checkpoint]:
    """Return the checkpoint that each agent starts from, each looked at once."""
    names = {agent: str(getattr(experiment.models, agent)) for agent in AGENTS}
    looked_at = {name: _looked_at(experiment, name) for name in dict.fromkeys(names.values())}
    return {agent: looked_at[name] for agent, name in names.items()}


def _looked_at(experiment: Experiment, name: str) -> Checkpoint:
    """Return what is known of a checkpoint; that of random weights is made by the first stage that asks for it."""
    from mats_sql.pipeline import untrained_shape

    if name == UNTRAINED:
        return Checkpoint(name, None, (), untrained_shape(experiment.untrained))
    return look_at_checkpoint(name)


def shapes(found: Mapping[str, Checkpoint]) -> dict[str, ModelShape]:
    """Return the known shapes by agent."""
    return {agent: checkpoint.shape for agent, checkpoint in found.items() if checkpoint.shape is not None}


def model_findings(experiment: Experiment, found: Mapping[str, Checkpoint]) -> Iterator[Finding]:
    """Yield a finding per checkpoint, one of schemas, and one per agent whether its context takes its prompts."""
    for name in dict.fromkeys(checkpoint.name for checkpoint in found.values()):
        agents = [agent for agent, checkpoint in found.items() if checkpoint.name == name]
        yield _completeness(f"model: {', '.join(agents)}", found[agents[0]])
    if experiment.benchmark.kind != "lab":  # its schemas are as short as its base needs them
        yield _schema(experiment)
    for agent, checkpoint in found.items():
        if checkpoint.shape is not None and checkpoint.name != LAB:  # the lab's prompts are made for its base
            yield _context(experiment, agent, checkpoint.shape)


def _completeness(check: str, checkpoint: Checkpoint) -> Finding:
    if checkpoint.problems:
        remedy = f"mend {checkpoint.folder}" if checkpoint.folder else _how_to_get(checkpoint.name)
        return missing(check, f"{checkpoint.name}: {'; '.join(checkpoint.problems)}", remedy)
    if checkpoint.shape is None:
        remedy = "none is needed if the layout is one that the engine knows; watch the first stage's memory"
        return warning(check, f"{checkpoint.name}: its layout is not covered, so memory is not estimated", remedy)
    where = {LAB: "complete (embedded)", UNTRAINED: "random weights, made when it is first asked for"}
    found = where.get(checkpoint.name, f"complete ({checkpoint.folder})")
    return ok(check, f"{checkpoint.name}: {found}, {_millions(checkpoint.shape)}")


def _how_to_get(name: str) -> str:
    known = published(name)
    source = known.name if known else "NAMESPACE/MODEL"
    return f"hf download {source} --local-dir {name}"


def _schema(experiment: Experiment) -> Finding:
    check, limit = "context: schemas", experiment.benchmark.schema_characters
    prompt = experiment.generation.max_prompt_tokens
    told = f"for prompts of {prompt:,} tokens; longer prompts get no answer"
    remedy = f"set benchmark.schema_characters={SCHEMA_CHARACTERS_PER_TOKEN * prompt}"
    if limit is None:
        return warning(check, f"the text of a schema may have any length, {told}", remedy)
    if limit > SCHEMA_CHARACTERS_PER_TOKEN * prompt:
        return warning(check, f"the text of a schema may have {limit:,} characters, {told}", remedy)
    return ok(check, f"at most {limit:,} characters, in prompts of {prompt:,} tokens")


def _context(experiment: Experiment, agent: str, shape: ModelShape) -> Finding:
    check = f"context: {agent}"
    settings = experiment.generation
    longest = {PLANNER: settings.plan_tokens, VALIDATOR: settings.critique_tokens, FIXER: settings.fix_tokens}
    drawn = settings.max_prompt_tokens + longest.get(agent, 1)
    trained = getattr(experiment.sft, agent).max_tokens
    if agent in preferred_agents(experiment):
        trained = max(trained, experiment.orpo.max_tokens)
    if drawn > shape.context:
        lower = shape.context - longest.get(agent, 1)
        found = f"prompt and answer take up to {drawn:,} tokens, the model {shape.context:,}"
        return warning(check, found, f"set generation.max_prompt_tokens={lower}, else longer prompts get no answer")
    if trained > shape.context:
        found = f"training examples have up to {trained:,} tokens, the model takes {shape.context:,}"
        return warning(check, found, f"set max_tokens of sft.{agent} and orpo to {shape.context} at most")
    return ok(check, f"{drawn:,} tokens of prompt and answer, {trained:,} in training, of {shape.context:,}")


def _millions(shape: ModelShape) -> str:
    return f"{shape.parameters / 1e6:,.1f} million weights, {shape.context:,} tokens of context"
