from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import pytest

from mats_sql.errors import ConfigError, TrackingError, TrainingError
from mats_sql.search import storage as storage_of_searches
from mats_sql.search.ledger import MAXIMUM_DEATHS
from mats_sql.search.sampler import SlotSeededTpe
from mats_sql.search.study import StudyAddress, holds, known_trials, run_search
from mats_sql.search.trials import TrialResult, TrialSettings, TrialState
from mats_sql.search.worker import is_alive, this_worker
from tests.postgres import postgres_server, running_postgres
from tests.search.searcher import SETTINGS, objective

OWN = TrialSettings(beta=0.3, k=4, learning_rate=0.00012345678901234567)
SCRIPT = Path(__file__).with_name("searcher.py")


def search(storage, *, trials=8, seed=7, using=objective, name="s", **options):
    settings = SETTINGS.model_copy(update={"trials": trials})
    return run_search(settings, StudyAddress(name, storage, seed), objective=using, **options)


def process(*arguments):
    root = SCRIPT.parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def killed_at(number, storage, log, trials=8):
    worker = process(storage, trials, log, number)
    assert worker.stdout.readline() == "blocked\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    return tmp_path / "study.journal" if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def test_a_search_runs_its_budget_and_returns_the_best_trial(storage):
    result = search(storage)
    assert [trial.number for trial in result.trials] == list(range(8))
    finished = [trial.selector_ex for trial in result.trials if trial.selector_ex is not None]
    assert len(finished) == 7
    assert result.best.selector_ex == max(finished) > min(finished)
    assert result.best.selector_ex == objective(result.best.settings, result.best.number).selector_ex


def test_every_setting_lies_in_its_range(tmp_path):
    for trial in search(tmp_path / "j").trials:
        assert 0.05 <= trial.settings.beta <= 1.0
        assert 2e-5 <= trial.settings.learning_rate <= 5e-4
        assert trial.settings.k in (2, 4, 8)


def test_a_failed_trial_is_kept_with_its_reason(tmp_path):
    failed = search(tmp_path / "j", trials=3).trials[2]
    assert failed.state is TrialState.FAILED
    assert failed.selector_ex is None
    assert failed.reason.startswith("TrainingError: training must converge")


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(tmp_path):
    first, second, other = (search(tmp_path / name, seed=seed) for name, seed in [("a", 7), ("b", 7), ("c", 8)])
    assert first == second
    assert first.trials[0].settings != other.trials[0].settings


def test_the_sampler_learns_from_the_trials_so_far(tmp_path):
    def reversed_objective(settings, _number, _watch):
        return TrialResult(0.5 - objective(settings, 0).selector_ex / 2)

    up, down = search(tmp_path / "a"), search(tmp_path / "b", using=reversed_objective)
    assert up.trials[0].settings == down.trials[0].settings
    assert up.trials[7].settings != down.trials[7].settings


def test_a_finished_study_is_returned_without_running_anything(storage):
    def forbidden(_settings, number, _watch):
        raise AssertionError(f"trial {number} ran again")

    first = search(storage)
    assert search(storage, using=forbidden) == first


def test_a_larger_budget_continues_the_study(tmp_path):
    whole = search(tmp_path / "whole")
    search(tmp_path / "j", trials=4)
    seen = []
    assert search(tmp_path / "j", on_trial=seen.append) == whole
    assert [row.number for row in seen] == [4, 5, 6, 7]


def test_a_smaller_budget_returns_its_prefix(tmp_path):
    whole = search(tmp_path / "j")
    assert search(tmp_path / "j", trials=3).trials == whole.trials[:3]


@pytest.mark.parametrize(
    ("changed", "seed"),
    [({}, 8), ({"beta": (0.1, 1.0)}, 7), ({"learning_rate": (1e-5, 5e-4)}, 7), ({"k": (2, 4)}, 7)],
    ids=["seed", "beta", "learning rate", "k"],
)
def test_another_space_or_seed_is_refused(tmp_path, changed, seed):
    search(tmp_path / "j", trials=1)
    settings = SETTINGS.model_copy(update={"trials": 1, **changed})
    with pytest.raises(ConfigError, match="own search space and seed"):
        run_search(settings, StudyAddress("s", tmp_path / "j", seed), objective=objective)


def test_two_studies_share_a_storage(tmp_path):
    assert search(tmp_path / "j", name="indep").trials == search(tmp_path / "j", name="collab").trials


def test_a_search_whose_trials_all_fail_says_why(tmp_path):
    def hopeless(_settings, _number, _watch):
        raise TrainingError("pairs must not be empty, but got 0; raise K")

    with pytest.raises(TrainingError, match="all 2 failed, the first with: TrainingError: pairs must not be empty"):
        search(tmp_path / "j", trials=2, using=hopeless)


def test_an_accuracy_that_is_no_fraction_fails_the_trial(tmp_path):
    def percent(_settings, number, _watch):
        return TrialResult(61.2 if number else 0.61)

    assert search(tmp_path / "j", trials=2, using=percent).trials[1].state is TrialState.FAILED


def test_a_bug_in_the_objective_stops_the_search_and_its_trial_runs_again(tmp_path):
    def buggy(settings, number, _watch):
        if number == 1:
            raise KeyError("selector")
        return objective(settings, number)

    with pytest.raises(KeyError):
        search(tmp_path / "j", using=buggy)
    assert search(tmp_path / "j") == search(tmp_path / "whole")


def test_a_search_killed_twice_and_resumed_equals_one_that_was_not(tmp_path):
    storage, log = tmp_path / "j", tmp_path / "log"
    killed_at(0, storage, log)
    killed_at(5, storage, log)
    assert search(storage) == search(tmp_path / "whole")
    assert log.read_text().split() == ["0", "0", "1", "2", "3", "4", "5"]


def test_a_database_study_survives_a_kill_too(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    search(url, trials=3)
    study = optuna.load_study(study_name="s", storage=url, sampler=SlotSeededTpe(7, 2))
    trial = study.ask()
    trial.suggest_float("beta", 0.05, 1.0, log=True)
    trial.set_user_attr("worker", this_worker().rsplit("/", 1)[0] + "/0")  # this pid in an earlier life
    assert search(url) == search(tmp_path / "whole")


def test_settings_that_kill_every_process_become_a_failed_trial(tmp_path):
    storage = tmp_path / "j"
    search(storage, trials=1)
    study = optuna.load_study(study_name="s", storage=_journal(storage))
    for death in range(MAXIMUM_DEATHS):
        if death:
            study.enqueue_trial({}, user_attrs={"slot": 1})
        trial = study.ask()
        trial.set_user_attr("void", "died")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    result = search(storage, trials=2)
    assert result.trials[1].reason == f"the process running it died {MAXIMUM_DEATHS} times"


def test_two_processes_share_one_budget_and_find_what_one_finds(tmp_path):
    storage, log = tmp_path / "j", tmp_path / "log"
    both = [process(storage, 12, log) for _ in range(2)]
    tables = [worker.communicate(timeout=60)[0] for worker in both]
    assert [worker.returncode for worker in both] == [0, 0]
    assert tables[0] == tables[1]
    assert sorted(map(int, log.read_text().split())) == list(range(12))
    assert tables[0].splitlines() == [str(trial) for trial in search(tmp_path / "alone", trials=12).trials]


def test_a_trial_knows_those_that_began_so_many_before_it_and_no_others(tmp_path):
    told = {}

    def listening(settings, number, _watch):
        told[number] = settings
        return objective(settings, number)

    def misled_by(wrong):
        def run(settings, number, _watch):
            return TrialResult(0.0) if number == wrong else listening(settings, number, _watch)

        return run

    search(tmp_path / "whole", using=listening, trials=10)
    whole = dict(told)
    search(tmp_path / "misled", using=misled_by(7), trials=10)
    assert [number for number in whole if told[number] != whole[number]] == [9]


def test_what_a_study_began_with_as_its_parallel_trials_stays(tmp_path):
    search(tmp_path / "j", trials=1)
    settings = SETTINGS.model_copy(update={"trials": 1, "parallel": 4})
    with pytest.raises(ConfigError, match=r"search\.parallel must stay what the study 's' began with, 2, but got 4"):
        run_search(settings, StudyAddress("s", tmp_path / "j", 7), objective=objective)


def test_a_trial_asked_for_too_early_waits_for_those_that_it_knows(tmp_path):
    storage = tmp_path / "j"
    search(storage, trials=1)
    study = optuna.load_study(study_name="s", storage=_journal(storage))
    for slot in (1, 2, 3):  # as three processes that ask at once, of which the last two are early
        trial = study.ask()
        trial.set_user_attr("void", "died" if slot == 1 else "early")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert search(storage) == search(tmp_path / "whole")


def test_a_process_takes_over_what_the_other_left_when_killed(tmp_path):
    storage, log = tmp_path / "j", tmp_path / "log"
    victim = process(storage, 8, log, 3)
    assert victim.stdout.readline() == "blocked\n"
    survivor = process(storage, 8, tmp_path / "log2")
    _wait_for(tmp_path / "log2", "4")  # the last that need not know trial 3
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    printed = survivor.communicate(timeout=60)[0]
    trials = search(storage).trials
    assert printed.splitlines() == [str(trial) for trial in trials]
    assert [trial.number for trial in trials] == list(range(8))
    assert trials[3].state is TrialState.FINISHED
    assert "3" in (tmp_path / "log2").read_text().split()


def test_a_journal_torn_in_its_last_line_is_mended(tmp_path):
    storage = tmp_path / "j"
    search(storage, trials=4)
    with storage.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker_id":"x","stu')
    assert search(storage) == search(tmp_path / "whole")


def test_a_storage_that_does_not_open_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"search\.storage must open") as raised:
        search(f"sqlite:///{tmp_path}/no/such/folder/study.db")
    assert "\n" not in str(raised.value)


def test_the_experiments_own_settings_are_trial_0_and_the_others_are_drawn_after_it(storage):
    result = search(storage, own=OWN)
    assert result.trials[0].settings == OWN
    assert [trial.number for trial in result.trials] == list(range(8))
    assert len({trial.settings for trial in result.trials}) == 8
    assert search(storage, own=OWN) == result


def test_own_settings_outside_the_space_are_no_trial(tmp_path):
    outside = TrialSettings(beta=2.0, k=4, learning_rate=1e-4)
    assert (holds(SETTINGS, OWN), holds(SETTINGS, outside)) == (True, False)
    assert search(tmp_path / "j", own=outside) == search(tmp_path / "without")


def test_own_settings_queued_twice_by_two_processes_are_one_trial(tmp_path):
    storage = tmp_path / "j"
    search(storage, trials=1, own=OWN)
    study = optuna.load_study(study_name="s", storage=_journal(storage))
    study.enqueue_trial({"beta": 0.3, "k": 4, "learning_rate": 1e-4}, user_attrs={"slot": 0, "own": True})
    assert search(storage, own=OWN).trials == search(tmp_path / "whole", own=OWN).trials


def test_trials_that_share_something_else_are_refused(tmp_path):
    search(tmp_path / "j", trials=1, shared="one pool")
    with pytest.raises(ConfigError, match="must share agents, pool and policy"):
        search(tmp_path / "j", trials=1, shared="another pool")


def in_blocks(asked, score):
    """Return an objective of 100 questions in blocks of 20; ``score(number, question)`` is 0 or 1."""

    def run(_settings, number, watch):
        scores = {}
        for start in range(0, 100, 20):
            block = {question: score(number, question) for question in range(start, start + 20)}
            scores |= block
            asked[number] = len(scores)
            if not watch.report(block) and len(scores) < 100:
                return TrialResult(sum(scores.values()) / len(scores), {"questions": len(scores)}, pruned=True)
        return TrialResult(sum(scores.values()) / len(scores))

    return run


def hopeless_after_the_first(number, question):
    return float(question % 3 > 0) if number == 0 else float(question % 5 == 0 and number == 1)


def test_a_trial_much_worse_than_the_best_ends_early_and_never_wins(storage):
    asked = {}
    result = search(storage, trials=4, using=in_blocks(asked, hopeless_after_the_first))
    assert asked == {0: 100, 1: 100, 2: 20, 3: 20}  # trial 1 does not know trial 0
    states = [TrialState.FINISHED, TrialState.FINISHED, TrialState.PRUNED, TrialState.PRUNED]
    assert [trial.state for trial in result.trials] == states
    assert (result.best.number, result.trials[3].selector_ex) == (0, 0.0)


def test_a_trial_as_good_as_the_best_answers_every_question(tmp_path):
    asked = {}
    search(tmp_path / "j", trials=4, using=in_blocks(asked, lambda number, question: float((question + number) % 2)))
    assert set(asked.values()) == {100}


def test_nothing_is_pruned_when_the_settings_say_so(tmp_path):
    asked, settings = {}, SETTINGS.model_copy(update={"trials": 3, "pruner": "none"})
    run_search(settings, StudyAddress("s", tmp_path / "j", 7), objective=in_blocks(asked, hopeless_after_the_first))
    assert set(asked.values()) == {100}


def test_a_study_tells_what_it_has_ended_and_one_that_is_not_there_is_not_made(tmp_path):
    storage, settings = tmp_path / "j", SETTINGS.model_copy(update={"trials": 8})
    assert known_trials(settings, StudyAddress("s", storage, 7)) == ()
    assert not storage.exists()
    result = search(storage, trials=3)
    assert known_trials(settings, StudyAddress("s", storage, 7)) == result.trials
    assert known_trials(settings, StudyAddress("other", storage, 7)) == ()


def test_two_processes_share_a_study_on_postgresql_from_an_empty_database(tmp_path):
    log = tmp_path / "log"
    with postgres_server() as url:
        plain = url.replace("+psycopg2", "")
        both = [process(plain, 8, log) for _ in range(2)]
        tables = [worker.communicate(timeout=120)[0] for worker in both]
        assert [worker.returncode for worker in both] == [0, 0]
        assert tables[0] == tables[1]
        assert sorted(map(int, log.read_text().split())) == list(range(8))


def test_a_database_stopped_in_a_trial_and_started_again_costs_a_wait(tmp_path, caplog):
    with running_postgres() as server:

        def interrupted(settings, number, watch):
            if number == 1:
                server.stop()
                threading.Timer(3, server.start).start()
            return objective(settings, number, watch)

        assert search(server.url, trials=3, using=interrupted) == search(tmp_path / "undisturbed", trials=3)
    assert "search.storage does not answer; waiting for it" in caplog.text


def test_a_database_that_stays_away_is_one_line_and_the_search_goes_on_when_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_of_searches, "PATIENCE_S", 0.0)
    asked = []
    with running_postgres() as server:

        def interrupted(settings, number, watch):
            asked.append(number)
            if asked == [0, 1]:
                server.stop()
            return objective(settings, number, watch)

        with pytest.raises(TrackingError, match=r"search\.storage must answer, but postgresql") as raised:
            search(server.url, trials=3, using=interrupted)
        assert "\n" not in str(raised.value)
        server.start()
        assert search(server.url, trials=3, using=interrupted) == search(tmp_path / "undisturbed", trials=3)
    assert asked == [0, 1, 1, 2]


def test_a_storages_password_is_not_shown(tmp_path):
    with pytest.raises(ConfigError, match=r"search\.storage must open") as raised:
        search(f"postgresql://me:secret@localhost:1/none?host={tmp_path}")
    assert "secret" not in str(raised.value)


def test_the_notice_warns_of_the_best_trials_optimism(tmp_path):
    notice = search(tmp_path / "j", validation_questions=300).notice
    assert "best of 8 trials on 300 validation questions overstates itself by about 1.8 to 4.0 pp" in notice


def test_a_worker_knows_the_living_from_the_dead():
    host, pid, _ = this_worker().split("/")
    assert is_alive(this_worker(), None)
    assert not is_alive(f"{host}/{pid}/1", None)
    assert not is_alive("elsewhere/1/1", None)
    assert not is_alive("elsewhere/1/1", 1.0)


def _journal(path):
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def _wait_for(path, line):
    """Follow a growing file until a line stands in it."""
    subprocess.run(["timeout", "60", "bash", "-c", f"tail -n +1 -F {path} 2>/dev/null | grep -qx {line}"], check=True)
