"""`report`: one page of what the experiment came to, as HTML and Markdown, with every flip beside it.

Reads what the stages wrote: judged candidates, comparisons, ladders, and the runs' own records. Computes no gap and
draws nothing. Writes ``work_dir/reports/<experiment>-<run>/`` and logs the same files to the command's run. A report is
a look at the final set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from statistics import mean

import yaml

from mats_sql.evaluation import question_sets
from mats_sql.evaluation.comparison import power_notice, rulings
from mats_sql.evaluation.diagnosis import ladder_tables
from mats_sql.evaluation.report import (
    Asked,
    Block,
    Code,
    Document,
    Flip,
    PointCost,
    ReportParts,
    ResultTable,
    StageCost,
    Step,
    Waterfall,
    cost_table,
    experiment_page,
    flips_between,
    point_table,
    result_tables,
)
from mats_sql.parquet import write_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.assemble import Line, TeamModels, assemble
from mats_sql.pipeline.evaluate import by_family, read_candidates, seed_tables
from mats_sql.pipeline.outcome import Outcome, gather
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.progress import result_console
from mats_sql.pipeline.protocol import Protocol, protocol_of
from mats_sql.pipeline.questions import dev_source
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import labelling_of, labellings, treatments
from mats_sql.tracking import (
    EarlierReport,
    RunNote,
    StageRun,
    earlier_reports,
    mark_report,
    note_of_run,
    version_of,
)

_STATIONS = (
    (results.PLANNER_ONLY, "plans' selection"),
    (results.NO_FIXER, "validators' verdicts, heard by the selector"),
)


def report_experiment(workspace: Workspace) -> None:
    """Compute what is missing, write the report, and print its verdicts and where it lies."""
    outcome = gather(workspace)
    console = result_console()
    for gaps in outcome.gaps:
        for ruling in (one for name in gaps.question_sets for one in rulings(gaps, name)):
            console.print(ruling.sentence, markup=False, soft_wrap=True)
            console.print(f"  {ruling.margins}", markup=False, soft_wrap=True)
    console.print(f"Report: {write_report(workspace, outcome)}", markup=False, soft_wrap=True)


def write_report(workspace: Workspace, outcome: Outcome) -> Path:
    """Write the report's files, log them to the command's run, count the look, and return the page's path."""
    run = workspace.command
    assert run is not None, "a report belongs to a command's run"
    folder = workspace.experiment.work_dir / "reports" / f"{workspace.experiment.name}-{run.run_id[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    found = [own for line in steps.lines(workspace.experiment) for own in _flips(workspace, outcome, line)]
    document = experiment_page(_parts(workspace, run, outcome, found))
    page = folder / "report.html"
    page.write_text(document.to_html(), encoding="utf-8")
    (folder / "report.md").write_text(document.to_markdown(), encoding="utf-8")
    _write_figures(folder / "figures", document)
    _write_flips(folder, [flip for own in found for flip in own])
    run.log_folder(folder)
    mark_report(workspace.store, run.run_id, protocol_of(workspace.experiment, outcome.questions).parts())
    return page


def _parts(workspace: Workspace, run: StageRun, outcome: Outcome, found: Sequence[Sequence[Flip]]) -> ReportParts:
    experiment = workspace.experiment
    notes = [note_of_run(workspace.store, result.run_id) for result in workspace.asked]
    protocol = protocol_of(experiment, outcome.questions)
    earlier = earlier_reports(workspace.store, run.run_id)
    return ReportParts(
        name=experiment.name,
        warnings=_warnings(workspace.look(run), earlier),
        teams=outcome.teams,
        first_seeds=outcome.first_seeds,
        sets=question_sets(outcome.question_ids, outcome.validation),
        gaps=outcome.gaps,
        power=power_notice(len(outcome.question_ids), seeds=len(experiment.seeds)),
        results=[
            *result_tables(outcome.teams, outcome.validation, outcome.bounds),
            *seed_tables(outcome.evaluated, experiment.seeds_vary),
        ],
        learned=outcome.learned,
        waterfalls=[_waterfall(outcome, line) for line in steps.lines(experiment)],
        ladders=[(ladder_tables(ladder), ladder.sentence) for ladder in outcome.ladders],
        flips=found,
        costs=_costs(workspace, outcome, notes),
        origin=list(_origin(workspace, outcome, protocol, notes)),
    )


def _warnings(look: int, earlier: Sequence[EarlierReport]) -> list[str]:
    warnings = [f"Look number {look} at the final set in this experiment."]
    if earlier:
        listed = ", ".join(report.run_id[:8] for report in earlier)
        warnings.append(
            f"A second look: this experiment was reported before (runs {listed}). What was changed after the first "
            "report was changed by somebody who could know its result."
        )
    return warnings


# ---- stations, flips


def _waterfall(outcome: Outcome, line: Line) -> Waterfall:
    families = {
        name: (members[0][0], [result.metrics for _, result in members])
        for name, members in by_family(outcome.evaluated).items()
    }
    scores = {name: mean(metrics["selector_ex"] for metrics in own) for name, (_, own) in families.items()}
    first = mean(metrics["planner_at_1"] for metrics in families[results.PLANNER_ONLY][1])
    supervised = f"{results.SFT_TEAM}, {line.label}"
    stations = [
        Step("planner@1", first),
        *(Step(f"{title} ({name})", scores[name]) for name, title in _STATIONS),
        Step(f"fixer ({results.SFT_TEAM})", scores[supervised]),
    ]
    regimes = [
        Step(team.name, scores[name])
        for name, (team, _) in families.items()
        if team.line == line and name != supervised
    ]
    return Waterfall(line.label, tuple(stations), tuple(regimes))


def _flips(workspace: Workspace, outcome: Outcome, line: Line) -> Iterator[tuple[Flip, ...]]:
    """Yield the flips between INDEP and each other regime of a line, first seeds."""
    experiment = workspace.experiment
    others = treatments(experiment)
    if not others:
        return
    source = dev_source(experiment, outcome.questions)
    asked = Asked({key: task.question.text for key, task in source.tasks.items()}, source.golds)
    baseline = results.regime_side(workspace, labelling_of(experiment, "indep"), line)
    for other in others:
        side = results.regime_side(workspace, other, line)
        sides = [read_candidates(one.evaluations[0]) for one in (baseline, side)]
        yield flips_between((baseline.name, side.name), sides[0], sides[1], asked)


def _write_flips(folder: Path, found: Sequence[Flip]) -> None:
    write_records(found, Flip, folder / "flips.parquet")
    with (folder / "flips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Flip)])
        writer.writeheader()
        writer.writerows(asdict(flip) for flip in found)


def _write_figures(folder: Path, document: Document) -> None:
    folder.mkdir(exist_ok=True)
    for picture in document.pictures:
        (folder / f"{picture.name}.svg").write_bytes(picture.svg)


# ---- cost


def _costs(workspace: Workspace, outcome: Outcome, notes: Sequence[RunNote]) -> list[ResultTable]:
    costs = [
        StageCost(
            note.stage,
            note.seconds,
            note.metrics.get("tokens"),
            note.tags.get("regime", ""),
        )
        for note in notes
    ]
    return [cost_table(costs), point_table(list(_point_costs(workspace, outcome, costs)))]


def _point_costs(workspace: Workspace, outcome: Outcome, costs: Sequence[StageCost]) -> Iterator[PointCost]:
    falls = [_waterfall(outcome, line) for line in steps.lines(workspace.experiment)]
    gained = mean(fall.steps[-1].ex - fall.steps[0].ex for fall in falls)
    shared = sum(cost.seconds for cost in costs if cost.stage in ("prepare", "sft", "rollout-plans", "rollout-pool"))
    yield PointCost(results.SFT_TEAM, "planner@1", shared, gained)
    for labelling in labellings(workspace.experiment):
        name = f"ORPO {labelling.name}"
        gains = [step.ex - fall.steps[-1].ex for fall in falls for step in fall.regimes if step.name == name]
        own = (cost for cost in costs if cost.regime == labelling.key and cost.stage in ("pairs", "balance", "orpo"))
        yield PointCost(name, results.SFT_TEAM, sum(cost.seconds for cost in own), mean(gains))


# ---- origin


def _origin(workspace: Workspace, outcome: Outcome, protocol: Protocol, notes: Sequence[RunNote]) -> Iterator[Block]:
    receipt = prepare(workspace).outputs["gold_receipt"]
    yield f"Gold receipt (gold on this machine, with databases, limits and versions): digest {receipt.digest}."
    yield protocol.table()
    yield outcome.settings
    yield _lineage_table(workspace, [team for team, _ in outcome.evaluated])
    yield _command_table(workspace, notes)
    yield "To make it again, save these settings (all that are not defaults) as experiment.yaml and run:"
    yield Code("mats-sql report --config experiment.yaml")
    settings = workspace.experiment.model_dump(mode="json", exclude_defaults=True, exclude={"search": {"storage"}})
    settings["protocol"] = {**settings.get("protocol", {}), "digest": protocol.digest}
    yield Code(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip())


def _lineage_table(workspace: Workspace, teams: Iterable[TeamModels]) -> ResultTable:
    known: dict[str, str] = {}

    def version(digest: str) -> str:
        if digest not in known:
            known[digest] = version_of(workspace.store, digest) or f"unregistered, digest {digest[:12]}"
        return known[digest]

    rows = [
        (
            team.label,
            version(assemble(workspace, team).outputs["team"].digest),
            ", ".join(version(model.digest) for model in team.agents().values()),
        )
        for team in teams
    ]
    note = "Registered versions; mats-sql lineage VERSION shows what each was made from."
    return ResultTable("Lineage", ("team", "version", "agents"), tuple(rows), note)


def _command_table(workspace: Workspace, notes: Sequence[RunNote]) -> ResultTable:
    """Return the commands whose runs computed the stages, oldest first."""
    made: dict[str, int] = {}
    for note in notes:
        made[note.parent or note.run_id] = made.get(note.parent or note.run_id, 0) + 1
    commands = sorted((note_of_run(workspace.store, run_id) for run_id in made), key=lambda note: note.began)
    rows = [
        (
            f"mats-sql {note.stage.removeprefix('command-')}",
            note.began,
            note.run_id,
            note.commit[:12],
            made[note.run_id],
        )
        for note in commands
    ]
    columns = ("command", "began (UTC)", "run", "commit", "stages")
    return ResultTable("The commands that made it", columns, tuple(rows), "Each run's parameters are its settings.")
