"""The folder of a command as a kill would leave it, before every single change of a file in it."""

import pytest
from harness import (
    CALIBRATE,
    COMPARE,
    REPORT,
    RUN,
    STUDY_CLUSTER,
    STUDY_RUN,
    TRIES,
    attempt,
    seeded,
    unbroken,
    workplace,
)

from sltprob.calibration.calibrate import calibrate
from sltprob.grids.study import Study

KILLED = "Killed before any change of a file, nothing half-written counts as finished"
RESUMED = "From what a kill has left, it goes on to the results of an unbroken run, bit for bit"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def _study(folder):
    study = Study.read(workplace() / "study.toml")
    study.run(folder)
    study.table(folder)


def _calibrate(folder):
    calibrate(folder, small=True, part="4/36", workers=1)


@pytest.mark.parametrize(
    ("case", "go_on"),
    [
        (RUN, None),
        (COMPARE, None),
        (REPORT, None),
        (STUDY_RUN, _study),
        (STUDY_CLUSTER, _study),
        (CALIBRATE, _calibrate),
    ],
    ids=lambda value: getattr(value, "name", "").replace(" ", "-"),
)
def test_a_kill_before_any_change_loses_nothing(case, go_on, tmp_path):
    """Each copy is what is on the disk before a change; a process that can go on does so there."""
    whole, _, _ = unbroken(case)
    folder, copies = tmp_path / "out", tmp_path / "copies"
    code, _, said = case.run(folder, FAULT_AT=f"{folder}|0|{tmp_path / 'log'}|{copies}")
    assert code == 0, said
    assert case.results(folder) == whole
    left = sorted(copies.iterdir())
    assert len(left) > 1
    chosen = seeded(case, 0).sample(left, min(len(left), 8 * TRIES))
    for copy in left:
        with attempt(KILLED, case.name):
            assert case.results(copy).items() <= whole.items()
        if go_on is None or copy not in chosen:
            continue
        with attempt(RESUMED, case.name):
            go_on(copy)
            found = case.results(copy)
            # The page of a calibration is the command's, which is not run here.
            assert {**found, "calibration.md": None} == {**whole, "calibration.md": None}
