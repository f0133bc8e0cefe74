"""Saved views of an experiment's runs in the MLflow UI: which runs, which columns, which charts, in which order.

The UI keeps a view that somebody shares as an experiment tag ``mlflow.sharedViewState.<key>`` and opens it at
``/#/experiments/<id>/runs?viewStateShareKey=<key>``. Its value is ``deflate;`` and the base64 of a zlib stream of JSON:
search facets and the state of the page, in one flat object; a field left out has the UI's default. The format is the
UI's own and in no documentation: an MLflow that reads it otherwise shows its ordinary table.
"""

from __future__ import annotations

import base64
import json
import sys
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mats_sql.tracking import names
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.store import Store, tracking_uri

VIEW_TAG = "mlflow.sharedViewState."
_HEADER = "deflate;"
_NAMESPACE = uuid.UUID("5f3a3c0e-6f0b-5d0c-9a53-6d6174732d73")
_CHARTS_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class View:
    """A saved view: a filter and order of runs, and the columns of the table or the charts."""

    key: str
    title: str
    filter_string: str
    order_by: str
    ascending: bool
    columns: tuple[str, ...]
    charts: tuple[str, ...]
    as_charts: bool = False


LEADERBOARD = View(
    key="leaderboard",
    title="Leaderboard",
    filter_string=f"tags.`{names.STAGE}` = 'evaluate' AND tags.part = 'dev'",
    order_by="metrics.`selector_ex`",
    ascending=False,
    columns=(
        "metrics.`selector_ex`",
        "metrics.`rest/selector_ex`",
        "metrics.`oracle_pass_at_k`",
        "metrics.`pipeline_at_1`",
        "params.`team`",
        "params.`regime`",
        "params.`seed`",
        "params.`fixer`",
        "params.`beta`",
        "params.`k`",
        "params.`learning_rate`",
        "attributes.`Created`",
    ),
    charts=(
        "selector_ex",
        "rest/selector_ex",
        "oracle_pass_at_k",
        "pick_rate",
        "pipeline_at_1",
        "planner_at_1",
        "fixer_rescue_rate",
        "fixer_harm_rate",
    ),
)

CURVES = View(
    key="curves",
    title="Curves",
    filter_string="metrics.train_steps > 0",
    order_by="metrics.`train_steps`",  # ordered by time, trainings would be folded into their command's run
    ascending=False,
    columns=("params.`agent`", "params.`regime`", "params.`seed`", "metrics.`train_loss`", "metrics.`eval_loss`"),
    charts=(
        "train/loss",
        "eval_loss",
        "train/rewards/accuracies",
        "eval_rewards/accuracies",
        "train/log_odds_ratio",
        "train/grad_norm",
        "train/learning_rate",
    ),
    as_charts=True,
)

TRIALS = View(
    key="trials",
    title="Trials",
    filter_string=f"tags.`{names.STAGE}` = 'search-trial'",
    order_by="metrics.`selector_ex`",
    ascending=False,
    columns=(
        "metrics.`selector_ex`",
        "metrics.`oracle_pass_at_k`",
        "params.`trial`",
        "params.`beta`",
        "params.`k`",
        "params.`learning_rate`",
        "attributes.`Created`",
    ),
    charts=("selector_ex", "oracle_pass_at_k", "pick_rate", "pipeline_at_1"),
)

VIEWS = (LEADERBOARD, CURVES, TRIALS)

DESCRIPTION = """An experiment of mats-sql: teams of small language models (planner, validators, fixer, selector)
that answer questions in SQL, and whether validators that are trained by what the fixer makes of their critiques
(COLLAB) do better than validators trained by their own verdicts (INDEP).

**How to read it.** `selector_ex` of a run `<team> · evaluate` is the share of all usable dev questions that the team
answers right: the number that counts. `rest/selector_ex` is the same without the validation questions, which a search
has seen. Scores of two teams are on the same questions: believe the paired gap and its interval in a `compare` run's
report, not the difference of two bars.

**Where to look.** {views}. *Models* ranks the teams; the registry has every version of agents, teams and data, each
with what it came from.
"""
_LINES = ("train/", "eval_")


def save_views(client: MlflowClient, experiment_id: str) -> None:
    """Write every view on an experiment, and a description where it has none; what is as it should be is left alone."""
    wanted = {VIEW_TAG + view.key: encoded(state(view)) for view in VIEWS}
    wanted[names.PRIMARY_METRIC] = "selector_ex"
    links = [f"[{view.title}]({_page(experiment_id, view)})" for view in VIEWS]
    note = DESCRIPTION.format(views=", ".join(links))
    with tracking_failures("an experiment's views must be saved in its store", "make the store writable"):
        tags = client.get_experiment(experiment_id).tags
        if names.NOTE not in tags:  # whoever writes a description of their own keeps it
            wanted[names.NOTE] = note
        for key, value in wanted.items():
            if tags.get(key) != value:
                _set_tag(client, experiment_id, key, value)


def _set_tag(client: MlflowClient, experiment_id: str, key: str, value: str) -> None:
    """Set a tag that another command may set at the same moment: MLflow's store then refuses the second insertion."""
    try:
        client.set_experiment_tag(experiment_id, key, value)
    except MlflowException:
        if client.get_experiment(experiment_id).tags.get(key) != value:
            raise


def addresses(store: Store, run_id: str) -> list[str]:
    """Return the lines that end a command: where the server shows the run and the views; none without a server."""
    server = store.tracking_uri
    if not server.startswith(("http://", "https://")):
        return []
    shown = [f"{view.title}: {view_address(server, store.experiment_id, view)}" for view in VIEWS]
    return [f"Run: {run_address(server, store.experiment_id, run_id)}", *shown]


def main(server: str) -> None:
    """Print where ``server`` will show the views of every experiment of this project in the store, ready to open."""
    client = MlflowClient(tracking_uri=tracking_uri())
    found = client.search_experiments(filter_string=f"tags.`{names.PROJECT}` = '{names.PROJECT_NAME}'")
    for experiment in found:
        save_views(client, experiment.experiment_id)
        for view in VIEWS:
            print(f"{experiment.name}, {view.title}: {view_address(server, experiment.experiment_id, view)}")


def view_address(server: str, experiment_id: str, view: View) -> str:
    """Return where a tracking server shows a view."""
    return f"{server.rstrip('/')}/{_page(experiment_id, view)}"


def run_address(server: str, experiment_id: str, run_id: str) -> str:
    """Return where a tracking server shows a run."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


def _page(experiment_id: str, view: View) -> str:
    mode = "&compareRunsMode=CHART" if view.as_charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view.key}{mode}"


def encoded(view_state: Mapping[str, object]) -> str:
    """Return a view's state as the UI stores it."""
    text = json.dumps(view_state, sort_keys=True, separators=(",", ":"))
    return _HEADER + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def decoded(value: str) -> dict[str, object]:
    """Read :func:`encoded` back."""
    found = json.loads(zlib.decompress(base64.b64decode(value.removeprefix(_HEADER))))
    return dict(found)


def state(view: View) -> dict[str, object]:
    """Return a view as the UI's page keeps it."""
    section = _id(view, "section")
    return {
        "searchFilter": view.filter_string,
        "orderByKey": view.order_by,
        "orderByAsc": view.ascending,
        "selectedColumns": list(view.columns),
        "columnOrder": list(view.columns),
        "compareRunCharts": [_chart(view, metric, section) for metric in view.charts],
        "compareRunSections": _sections(view, section),
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
    }


def _sections(view: View, section: str) -> Sequence[Mapping[str, object]]:
    shown = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return [{"uuid": section, "name": view.title, **shown}]


def _chart(view: View, metric: str, section: str) -> dict[str, object]:
    shared = {
        "uuid": _id(view, metric),
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": _CHARTS_AT_ONCE,
        "metricKey": metric,
        "displayName": metric,
    }
    if not metric.startswith(_LINES):
        return {"type": "BAR", **shared}
    return {
        "type": "LINE",
        **shared,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "selectedXAxisMetricKey": "",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _id(view: View, part: str) -> str:
    """Return an id that is the same at every writing, so that an unchanged view is an unchanged tag."""
    return str(uuid.uuid5(_NAMESPACE, f"{view.key} {part}"))


if __name__ == "__main__":
    main(sys.argv[1])
