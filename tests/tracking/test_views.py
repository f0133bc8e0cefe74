"""Saved views: their encoding, their place on the experiment, and that their filters are ones MLflow takes."""

from __future__ import annotations

import pytest

from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.store import Store
from mats_sql.tracking.views import VIEW_TAG, VIEWS, View, addresses, decoded, encoded, save_views, state, view_address

each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.key)


@each_view
def test_a_view_is_stored_as_the_ui_stores_it_and_writing_it_again_changes_nothing(view: View) -> None:
    value = encoded(state(view))
    assert value.startswith("deflate;")
    assert decoded(value) == state(view)
    assert encoded(state(view)) == value


def test_the_views_are_on_the_experiment(store: Store) -> None:
    save_views(store.client, store.experiment_id)
    save_views(store.client, store.experiment_id)
    tags = store.client.get_experiment(store.experiment_id).tags
    assert {key for key in tags if key.startswith(VIEW_TAG)} == {VIEW_TAG + view.key for view in VIEWS}


def test_each_view_finds_its_runs_alone(store: Store) -> None:
    def made(stage: str, metric: str, **tags: str) -> str:
        wanted = Stage(StageKey(stage, 1), stage, tags=tags)
        return run_stage(store, wanted, lambda run: run.log_metrics({metric: 1})).run_id

    wanted = {
        "leaderboard": made("evaluate", "selector_ex", part="dev"),
        "curves": made("orpo", "train_steps"),
        "trials": made("search-trial", "selector_ex"),
    }
    made("command-evaluate", "selector_ex")
    for view in VIEWS:
        order = f"{view.order_by} {'ASC' if view.ascending else 'DESC'}"
        found = store.client.search_runs([store.experiment_id], view.filter_string, order_by=[order])
        assert [run.info.run_id for run in found] == [wanted[view.key]]


def test_addresses_are_told_where_a_server_shows_them(store: Store) -> None:
    assert addresses(store, "a" * 32) == []
    store.tracking_uri = "http://server:5000/"
    run, leaderboard, *_ = addresses(store, "a" * 32)
    assert run == f"Run: http://server:5000/#/experiments/{store.experiment_id}/runs/{'a' * 32}"
    assert leaderboard == f"Leaderboard: {view_address('http://server:5000', store.experiment_id, VIEWS[0])}"
