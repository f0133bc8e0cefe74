"""The diagnosis as one page of plain words and tables, and as plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mats_sql.agents import Validator
from mats_sql.choices import Regime
from mats_sql.config import regime_label
from mats_sql.evaluation.diagnosis.fixer_sensitivity import CausalEffect
from mats_sql.evaluation.diagnosis.pool import PoolDiagnosis
from mats_sql.evaluation.diagnosis.signal import Diagnosis, RegimeOutcome, net_gain
from mats_sql.evaluation.metrics import Effect, verdict_accuracy
from mats_sql.evaluation.report.figures import GREY, INK, colour, new_figure, plain_axes
from mats_sql.evaluation.report.tables import Cell, ResultTable

REFERENCE_YIELDS: Mapping[str, float] = {Regime.COLLAB: 0.33, Regime.INDEP: 1.78}
"""Pairs per question in the reference's runs, K = 4, 2,000 questions (MATS.md, section 2)."""


def diagnosis_page(diagnoses: Sequence[Diagnosis], outcomes: Sequence[RegimeOutcome] = ()) -> str:
    """Return the Markdown page for diagnoses of one pool.

    It ends with one sentence per regime that names where the signal is lost. ``outcomes`` are the trained
    teams to show in the translation table (reward accuracy against selector EX).
    """
    signal = diagnoses[0].signal
    pool, ladder = signal.pool, signal.ladder
    parts = [
        "# Diagnosis: where does the collaborative signal go?",
        f"A pool of {pool.questions:,} questions and {pool.plans:,} distinct SQL, up to {pool.k} critiques of each by "
        "each validator, and the fixer's greedy answer to every critique. The terms are defined in docs/metrics.md.",
        *(table.to_markdown() for table in diagnosis_tables(pool)),
        *([f"**{ladder.sentence}** The tables of the ladder are in its own run."] if ladder else []),
        *([translation_table(outcomes).to_markdown()] if outcomes else []),
        *(check_table(diagnosis).to_markdown() for diagnosis in diagnoses),
        "## Where the signal is lost",
        *(f"**{diagnosis.sentence}**" for diagnosis in diagnoses),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def diagnosis_tables(pool: PoolDiagnosis) -> tuple[ResultTable, ...]:
    """Return the pool's tables: pairs by K, label agreement, sensitivity, rescues and harms, headroom, verdicts."""
    return (
        yield_table(pool),
        agreement_table(pool),
        sensitivity_table(pool),
        flow_table(pool),
        headroom_table(pool),
        verdict_table(pool),
    )


def yield_table(pool: PoolDiagnosis) -> ResultTable:
    """Return pairs per question of each regime for every prefix K, and the share of informative questions."""
    ks = sorted({item.k for item in pool.yields})
    rows: list[tuple[Cell, ...]] = []
    for regime in pool.regimes:
        yields = [f"{pool.yield_of(regime, k):.2f}" for k in ks]
        last = [item for item in pool.yields if item.regime == regime and item.k == pool.k]
        shares = [cell for item in last for cell in (item.informative_questions, item.informative_buckets)]
        rows.append((regime_label(regime), *yields, *shares))
    names = [f"{validator.value}: {what}" for validator in Validator for what in ("questions", "buckets")]
    columns = ("regime", *(f"K = {k}" for k in ks), *names)
    note = (
        "Pairs per question, both validators together; then, at the largest K, the percent of questions and of buckets "
        "(one SQL, one validator) that give a pair. The reference, K = 4: collab 0.33, indep 1.78."
    )
    return ResultTable("Pairs per question", columns, tuple(rows), note)


def agreement_table(pool: PoolDiagnosis) -> ResultTable:
    """Return how each pair of regimes labels the same critiques."""
    columns = ("validator", "regimes", "both chosen", "only first", "only second", "neither", "agreement", "kappa")
    order = ((True, True), (True, False), (False, True), (False, False))
    rows = tuple(
        (
            item.validator.value,
            f"{regime_label(item.first)} / {regime_label(item.second)}",
            *(item.counts.get(key, 0) for key in order),
            item.agreement,
            item.kappa,
        )
        for item in pool.agreements
    )
    note = "Counts of critiques; agreement in percent. A weight above 0 counts as chosen."
    return ResultTable("Do the regimes label alike?", columns, rows, note)


def sensitivity_table(pool: PoolDiagnosis) -> ResultTable:
    """Return whether the fixer listens to critiques."""
    seen = pool.sensitivity
    rows: list[tuple[Cell, ...]] = [
        ("plans whose fix changes with the critique, %", seen.changed),
        ("the same among plans whose feedback differs, %", seen.changed_given_feedback),
        ("critiques per plan", f"{seen.critiques_per_plan:.2f}"),
        ("distinct feedback texts per plan", f"{seen.distinct_feedbacks_per_plan:.2f}"),
        ("distinct fixes per plan", f"{seen.distinct_fixes_per_plan:.2f}"),
        ("right against wrong verdict, same plan", _effect_cell(seen.right_wrong)),
        ("… where the plan is wrong (rescuing)", _effect_cell(seen.on_wrong_plans)),
        ("… where the plan is right (not harming)", _effect_cell(seen.on_right_plans)),
        ("own complaint against another question's", _effect_cell(seen.swapped)),
    ]
    note = (
        "The last rows: how much likelier a correct fix is, with a cluster t interval over databases (plans "
        "compared). A right verdict says what the judge says; whether the words are right too, the ladder tells."
    )
    return ResultTable("Does the fixer listen?", ("measure", "value"), tuple(rows), note)


def flow_table(pool: PoolDiagnosis) -> ResultTable:
    """Return the greedy fix's rescues and harms with and without the gate, and how far the two flows disagree."""
    rows: tuple[tuple[Cell, ...], ...] = (
        ("every SQL is fixed (data generation)", *_effect_cells(pool.always_fixed)),
        (f"the gate decides (inference; open for {pool.gate_open.percent}%)", *_effect_cells(pool.gated)),
    )
    note = (
        "Percent of distinct SQL under greedy critiques. Over all sampled critiques with a verdict, the two flows end "
        f"differently for {pool.flow_disagreement.percent}%."
    )
    return ResultTable("Data generation against inference", ("flow", "rescues", "harms", "net"), rows, note)


def headroom_table(pool: PoolDiagnosis) -> ResultTable:
    """Return how many wrong and right SQL end right under the best of the first K critiques, for every K."""
    ks = range(1, pool.k + 1)
    rows = tuple(
        (
            "right" if item.plan_correct else "wrong",
            item.validator.value if item.validator else "either",
            item.ends[1].total,
            *(item.ends[k] for k in ks),
            *(item.words.get(k) for k in (1, pool.k)),
        )
        for item in pool.headrooms
    )
    columns = ("SQL", "critiques", "n", *(f"best of {k}" for k in ks), "words, greedy", f"words, of {pool.k}")
    note = (
        "Percent of distinct SQL with which the team ends right under the best of its first K critiques by one "
        "validator, the other's being greedy (best of 1: both greedy), and of which one says what the teacher's says. "
        "A preference chooses among these: what none of them reaches it cannot teach."
    )
    return ResultTable("What is there for preferences to teach?", columns, rows, note)


def verdict_table(pool: PoolDiagnosis) -> ResultTable:
    """Return the sampled verdicts' accuracy per class."""
    rows = []
    for validator, confusion in pool.confusions.items():
        seen = verdict_accuracy(confusion)
        rows.append((validator.value, seen.accuracy, seen.recall_correct, seen.recall_incorrect, seen.missing))
    columns = ("validator", "accuracy", "recall of correct", "recall of incorrect", "missing")
    return ResultTable("Sampled verdicts against the judge", columns, tuple(rows), "Percent of critiques in the pool.")


def translation_table(outcomes: Sequence[RegimeOutcome]) -> ResultTable:
    """Return, per trained regime, reward accuracy beside what it became: verdicts, fixer, oracle, selector EX."""
    columns = (
        "regime",
        *(f"reward {validator.value}" for validator in Validator),
        *(f"verdicts {validator.value}" for validator in Validator),
        "fixer net",
        "oracle",
        "selector EX",
    )
    note = (
        "Percent (fixer net: of samples), of the first training seed; a gap is of all seeds. Reward accuracy is over a "
        "regime's own labels: it does not rank regimes."
    )
    return ResultTable(
        "Does reward accuracy become EX?", columns, tuple(_translation_row(item) for item in outcomes), note
    )


def check_table(diagnosis: Diagnosis) -> ResultTable:
    """Return the stations in order with what was found at each."""
    rows = tuple((check.station.value, "yes" if check.passed else "no", check.finding) for check in diagnosis.checks)
    return ResultTable(
        f"Does the signal of {regime_label(diagnosis.regime)} get through?", ("station", "through", "finding"), rows
    )


def pairs_by_k(pool: PoolDiagnosis) -> Figure:
    """Return pairs per question over K for every regime, with the reference's two numbers."""
    figure = new_figure(
        "Pairs per question by K", width=8.0, subtitle="Both validators together. Stars: the reference's runs at K = 4."
    )
    axes = plain_axes(figure.add_subplot())
    ks = sorted({item.k for item in pool.yields})
    for index, regime in enumerate(pool.regimes):
        values = [pool.yield_of(regime, k) for k in ks]
        axes.plot(ks, values, marker="o", markersize=5, linewidth=2, color=colour(index), label=regime_label(regime))
        if regime in REFERENCE_YIELDS:
            axes.plot(4, REFERENCE_YIELDS[regime], "*", color=colour(index), markersize=13, markeredgecolor="white")
    axes.set_xticks(ks)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("K (samples of everything)")
    axes.set_ylabel("pairs per question")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def causal_effects(pool: PoolDiagnosis) -> Figure:
    """Return how much likelier a correct fix is under a critique with the right verdict, with intervals."""
    seen = pool.sensitivity
    effects = {
        "all plans": seen.right_wrong,
        "wrong plans (rescuing)": seen.on_wrong_plans,
        "right plans (not harming)": seen.on_right_plans,
        "against another question's complaint": seen.swapped,
    }
    drawn = [(name, effect) for name, effect in reversed(effects.items()) if effect is not None and effect.plans]
    figure = new_figure(
        "P(correct fix | right verdict) − P(correct fix | wrong verdict)",
        width=8.0,
        height=1.7 + 0.45 * len(drawn),
        subtitle="Within the same plan; 95% cluster t interval over databases. At 0 verdicts make no difference.",
    )
    axes = plain_axes(figure.add_subplot(), grid="x")
    for row, (_, effect) in enumerate(drawn):
        _effect_bar(axes, row, effect)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(drawn)), [f"{name} ({effect.plans:,})" for name, effect in drawn], fontsize=9)
    axes.set_ylim(-0.6, len(drawn) - 0.4)
    axes.set_xlabel("percentage points")
    return figure


def _effect_bar(axes: Axes, row: int, effect: CausalEffect) -> None:
    shade = colour(0) if effect.interval.excludes_zero else GREY
    if effect.interval.known:
        axes.plot([100 * effect.interval.low, 100 * effect.interval.high], [row, row], color=shade, linewidth=2)
    axes.plot(100 * effect.difference, row, "o", color=shade, markersize=9, markeredgecolor="white")


def _effect_cell(effect: CausalEffect | None) -> str:
    return "not drawn" if effect is None else f"{effect.shown} ({effect.plans:,})"


def _effect_cells(effect: Effect) -> tuple[Cell, ...]:
    return effect.rescues, effect.harms, f"{100 * (effect.rescues.value - effect.harms.value):+.2f}"


def _translation_row(outcome: RegimeOutcome) -> tuple[Cell, ...]:
    metrics = outcome.metrics
    rewards = (outcome.reward_accuracy.get(validator) for validator in Validator)
    return (
        regime_label(outcome.regime),
        *(None if reward is None else f"{100 * reward:.1f}" for reward in rewards),
        *(metrics.validators[validator].accuracy for validator in Validator),
        f"{100 * net_gain(metrics):+.2f}",
        metrics.scores.oracle_pass_at_k,
        metrics.scores.selector_ex,
    )
