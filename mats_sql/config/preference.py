"""Settings of what happens to a team: its pool, its pairs, its policy, the search over them, its promotion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mats_sql.choices import Balance, Gate, PoolRule, SelectorRule
from mats_sql.config.regimes import RegimeName
from mats_sql.config.section import Fraction, Positive, Rate, Section


class RolloutSettings(Section):
    """How a training pool is drawn: the largest K once, every smaller K is a prefix."""

    questions: int | None = Field(
        None, ge=1, description="How many train questions are criticised and fixed, a fixed random part; none: all."
    )
    folds: Positive = Field(
        1,
        description="Above 1, the plans of each part of the train questions come from a planner trained on the other "
        "parts, which never saw them.",
    )
    plans: Positive = Field(4, description="Plans drawn per question, the first of them greedily.")
    critiques: Positive = Field(4, description="Critiques drawn per distinct SQL and validator, the first greedily.")
    fixes: Positive = Field(
        1,
        description="Fixes drawn per critique, the first greedily; the regime `advantage` takes the mean over them.",
    )
    temperature: float = Field(1.0, ge=0, description="Temperature of all draws but the first.")


class PairSettings(Section):
    """How a pool becomes preference pairs."""

    k: int | None = Field(
        None,
        ge=2,
        description="Use only the first k plans and critiques of the pool, at most as many as were drawn; none: all.",
    )
    max_pairs_per_prompt: Positive = Field(2, description="The most pairs formed under one prompt.")
    balance: Balance = Field(
        Balance.NONE,
        description="Which training pairs of a validator are kept: all; as many that choose a complaint as that choose "
        "an approval; or the number and verdict mix of pairs.matched_to. The controls are beside it.",
    )
    matched_to: RegimeName | None = Field(
        None, description="The regime whose pairs are matched under pairs.balance=match."
    )
    evaluation_share: Fraction = Field(0.1, description="Part of the questions whose pairs are held out of training.")
    fixer: Literal["same", "joint"] = Field(
        "joint", description="The fixer's pairs: two fixes under the same feedback, or each under its own."
    )

    @model_validator(mode="after")
    def _a_match_has_its_target(self) -> PairSettings:
        if (self.balance is Balance.MATCH) != (self.matched_to is not None):
            raise ValueError(
                "pairs.matched_to must name a regime exactly when pairs.balance is match, but got "
                f"{self.matched_to} and {self.balance}; set both or none"
            )
        return self


class TunedSettings(Section):
    """A regime's own settings of preference training; what is not said is as in `orpo` and `pairs`."""

    beta: float | None = Field(None, gt=0, description="In place of orpo.beta.")
    learning_rate: Rate | None = Field(None, description="In place of orpo.learning_rate.")
    k: int | None = Field(None, ge=2, description="In place of pairs.k.")


class Policy(Section):
    """The inference flow of a team: how many candidates, which of them are fixed, who picks."""

    k: Positive = Field(
        8, description="Plans per question at evaluation, one greedy and the rest sampled; not bounded by the pool's."
    )
    temperature: float = Field(1.0, ge=0, description="Temperature of the sampled plans.")
    gate: Gate = Field(
        Gate.ON_COMPLAINT,
        description="When a SQL is fixed: if it did not execute, or also if a critique says incorrect, or always.",
    )
    pool: PoolRule = Field(
        PoolRule.REPLACE,
        description="Whether a fix takes the place of the plan's SQL among the candidates or joins it.",
    )
    selector: SelectorRule = Field(
        SelectorRule.TRAINED,
        description="Who picks: the trained selector, the largest group of equal results, or the first.",
    )
    agreement_weight: float = Field(
        1.0, ge=0, description="Weight of the candidates with the same result beside the trained selector's score."
    )


class SearchSettings(Section):
    """The Optuna study over ORPO's beta, K and learning rate."""

    trials: Positive = Field(8, description="Settings tried per regime.")
    beta: tuple[float, float] = Field((0.05, 1.0), description="Lowest and highest beta, searched on a log scale.")
    learning_rate: tuple[float, float] = Field(
        (2e-5, 5e-4), description="Lowest and highest learning rate, searched on a log scale."
    )
    k: tuple[int, ...] = Field(
        (2, 4), description="Values of pairs.k to choose from, each at most what the pool holds."
    )
    parallel: Positive = Field(
        2,
        description="Trials that may run at once. Each is drawn, and pruned, by what is known of those that many "
        "numbers before it and earlier: up to this number, workers change how long a search takes and nothing else.",
    )
    pruner: Literal["none", "wilcoxon"] = Field(
        "wilcoxon",
        description="Whether a trial ends early that is already worse than the best one, by Wilcoxon's signed-rank "
        "test on the questions answered so far (docs/search.md).",
    )
    block_questions: Positive = Field(
        25, description="Validation questions answered between two looks of the pruner; each may reload the agents."
    )
    storage: str | None = Field(
        None, description="Optuna storage that several machines share, a database URL; none: a file in the work dir."
    )

    @model_validator(mode="after")
    def _ranges_are_in_order(self) -> SearchSettings:
        for name, (low, high) in (("beta", self.beta), ("learning_rate", self.learning_rate)):
            if not 0 < low <= high:
                raise ValueError(
                    f"search.{name} must be two numbers above 0, the lower first, but got {[low, high]}; mend them"
                )
        if not self.k or min(self.k) < 2:
            raise ValueError(
                f"search.k must name values of pairs.k, each at least 2, but got {list(self.k)}; mend them"
            )
        return self


class MainSettings(Section):
    """What `main` does before and after training and comparing the teams."""

    search: bool = Field(
        False,
        description="Search each regime's beta, K and learning rate on validation first (docs/search.md), but for "
        "those that `tuned` names, and go on with the best.",
    )
    promote: bool = Field(
        False,
        description="Promote, at the end, the team that is best on validation, if it passes the gates of promote.",
    )


class PromoteSettings(Section):
    """Gates that a team must pass before it becomes champion, all read outside the validation split."""

    min_selector_ex: Fraction = Field(0.0, description="The least selector EX, as a fraction.")
    min_gain_over_champion: float = Field(
        0.0,
        description="What the gain in selector EX over the champion must exceed, as a fraction: the lower end of its "
        "paired 95% interval must reach it. 0: a better team; -0.02: one that is not two points worse.",
    )
    max_harm_rate: Fraction = Field(
        1.0, description="The most that the fixer may spoil, as a share of what was right before it."
    )
