"""The seeds of an experiment's teams: which of them decides what, and which teams share their work."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.choices import SeedsVary
from mats_sql.config import Experiment


@dataclass(frozen=True, slots=True)
class Seeds:
    """The numbers of the seeds that a team is made with; work under equal numbers is the same work and done once.

    ``sft`` decides what SFT agents are, with all that they learn from; ``pool`` what preference pairs are made from;
    ``orpo`` how preference training goes.
    """

    sft: int = 0
    pool: int = 0
    orpo: int = 0

    @property
    def supervised(self) -> Seeds:
        """The seeds of SFT agents: what they learn from is drawn with their own."""
        return Seeds(self.sft, self.sft, self.sft)

    @property
    def drawn(self) -> Seeds:
        """The seeds of what a pool is drawn with, a fixer after ORPO among it."""
        return Seeds(self.sft, self.pool, self.pool)


def seeds_of(experiment: Experiment) -> tuple[Seeds, ...]:
    """Return the seeds of each team with a preference-trained agent, in the order of ``seeds``."""
    match experiment.seeds_vary:
        case SeedsVary.ORPO:
            return tuple(Seeds(orpo=number) for number in experiment.seeds)
        case SeedsVary.POOL:
            return tuple(Seeds(pool=number, orpo=number) for number in experiment.seeds)
        case SeedsVary.ALL:
            return tuple(Seeds(number, number, number) for number in experiment.seeds)


def supervised_seeds(experiment: Experiment) -> tuple[Seeds, ...]:
    """Return the seeds of each team of SFT agents alone: one, unless seeds vary all."""
    return tuple(dict.fromkeys(seeds.supervised for seeds in seeds_of(experiment)))
