import os

import pytest

from wmrun.errors import RunError
from wmrun.run.directory import RunDirectory, create_run, find_run


def test_a_run_is_found_by_path_id_and_name(tmp_path):
    run = create_run("walker", "name: walker\n", root=tmp_path)
    assert find_run(str(run.path), root=tmp_path) == run
    assert find_run(run.run_id, root=tmp_path) == run
    assert find_run("walker", root=tmp_path) == run
    assert run.config_file.read_text() == "name: walker\n"


def test_the_name_of_an_experiment_means_its_newest_run(tmp_path):
    for run_id in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        (tmp_path / "walker" / run_id).mkdir(parents=True)
        RunDirectory(tmp_path / "walker" / run_id).update_record(run_id=run_id)
    assert find_run("walker", root=tmp_path).run_id == "20260102-000000-bbbb"


def test_a_misspelt_run_is_answered_with_the_closest_match(tmp_path):
    create_run("walker", "", root=tmp_path)
    with pytest.raises(RunError, match="Did you mean 'walker'"):
        find_run("walkre", root=tmp_path)


def test_without_runs_the_answer_is_how_to_start_one(tmp_path):
    with pytest.raises(RunError, match="wmrun run FILE"):
        find_run("walker", root=tmp_path)


def test_a_run_that_a_live_process_writes_is_refused(tmp_path):
    run = create_run("walker", "", root=tmp_path)
    run.update_record(process={"pid": os.getppid(), "host": os.uname().nodename})
    with pytest.raises(RunError, match=f"process {os.getppid()}"):
        run.claim()


def test_a_run_whose_process_is_gone_can_be_claimed(tmp_path):
    run = create_run("walker", "", root=tmp_path)
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    run.update_record(process={"pid": child, "host": os.uname().nodename})
    run.claim()
    assert run.read_record()["process"]["pid"] == os.getpid()


def test_discarding_a_run_leaves_nothing_behind(tmp_path):
    run = create_run("walker", "", root=tmp_path / "runs")
    run.discard()
    assert list(tmp_path.iterdir()) == []


def test_discarding_a_run_keeps_its_siblings(tmp_path):
    kept = create_run("walker", "", root=tmp_path / "runs")
    create_run("walker", "", root=tmp_path / "runs").discard()
    assert find_run("walker", root=tmp_path / "runs") == kept
