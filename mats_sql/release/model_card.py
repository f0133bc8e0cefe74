"""A trained agent's model card: https://huggingface.co/docs/hub/model-cards (front matter, then Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

LAB = "lab"


@dataclass(frozen=True, slots=True)
class MeasuredTeam:
    """An evaluation of a team that the agent is in: each metric as (name, percent, low, high) of Wilson's interval."""

    run_id: str
    team: str
    questions: int
    scores: Sequence[tuple[str, float, float, float]]


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says.

    ``base`` is the checkpoint that all training began with, ``base_on_hub`` its hub name, if known; ``loads_on`` names
    what an adapter is put on: the base, or an agent whose full weights were trained from it.
    """

    title: str
    agent: str
    stage: str
    regime: str
    base: str
    base_on_hub: str
    license: Mapping[str, str]
    is_adapter: bool
    loads_on: str
    run_id: str
    commit: str
    settings: Mapping[str, str]
    inputs: Mapping[str, str]
    metrics: Mapping[str, float]
    measured: MeasuredTeam | None
    lineage: str


def card_text(card: Card) -> str:
    """Return the card as the text of a ``README.md``."""
    front = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{front}---\n\n# {card.title}",
        _introduction(card),
        f"## How to load\n\n{_loading(card)}",
        "## Data\n\n" + _listed(card.inputs, "none is recorded"),
        "## Settings\n\n" + _table(("setting", "value"), list(card.settings.items())),
        f"## Metrics\n\n{_metrics(card)}",
        f"## Lineage\n\nMLflow run `{card.run_id}`, stage `{card.stage}`, code `{card.commit}`."
        + (f"\n\n```text\n{card.lineage}\n```" if card.lineage else ""),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(card: Card) -> dict[str, object]:
    tags = ["text2sql", "mats-sql", card.agent, card.stage, *([card.regime] if card.regime else [])]
    return {
        **({"base_model": card.base_on_hub} if card.base_on_hub else {}),
        **card.license,
        "library_name": "peft" if card.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": tags,
    }


def _introduction(card: Card) -> str:
    trained = f" under the regime `{card.regime}`" if card.regime else ""
    base = "the embedded base model of the mats-sql lab" if card.base == LAB else f"`{card.base}`"
    return (
        f"The `{card.agent}` of a mats-sql team for Text2SQL, trained with {card.stage.upper()}{trained}, from {base}. "
        "It answers the prompts of that agent only; mats-sql writes them (docs/agents.md)."
    )


def _loading(card: Card) -> str:
    if card.is_adapter:
        lines = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'base = AutoModelForCausalLM.from_pretrained("{card.loads_on}")',
            'model = PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER")',
            f'tokenizer = AutoTokenizer.from_pretrained("{card.loads_on}")',
        ]
    else:
        lines = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER")',
            'tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")',
        ]
    return "```python\n" + "\n".join(lines) + "\n```"


def _metrics(card: Card) -> str:
    training = _table(
        ("of the training run", "value"), [(name, f"{value:.6g}") for name, value in card.metrics.items()]
    )
    if card.measured is None:
        return f"{training}\n\nNo evaluation of a team with this agent was named."
    team = card.measured
    scores = [(name, f"{value:.2f} [{low:.2f}, {high:.2f}]") for name, value, low, high in team.scores]
    head = (f"of team {team.team}, percent [Wilson's 95% interval over questions]", "value")
    return f"{_table(head, scores)}\n\n{team.questions} questions, evaluate run `{team.run_id}`.\n\n{training}"


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return "none is recorded"
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)]
    return "\n".join(lines)


def _listed(entries: Mapping[str, str], nothing: str) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in entries.items()) or nothing


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
