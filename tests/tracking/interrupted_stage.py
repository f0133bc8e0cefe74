"""A stage for tests to start and kill: ``python interrupted_stage.py <point> <folder>`` kills itself at the point.

At the point ``beside`` it lives, and is a stage that several processes do at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mats_sql.tracking import stage as stage_module
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect


def main(point: str, folder: Path) -> None:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def compute(run: StageRun) -> None:
        lines = run.work / "lines.txt"
        done = len(lines.read_text().splitlines()) if lines.exists() else 0
        for number in range(done, 10):
            with lines.open("a") as stream:
                stream.write(f"{number}\n")
            run.log_metrics({"loss": 1.0}, number)
            run.flush()
            if point == "computing" and number == 5:
                die()
        model = run.work / "model"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text("{}")
        run.output("model", ArtifactKind.MODEL, model)
        run.output("lines", ArtifactKind.DATASET, lines)

    if point == "publishing":
        stage_module.publish = die  # the model is stored by then, the lines are not
    if point == "closing":
        stage_module.close_run = die
    store = connect("test", folder / "work")
    beside = point == "beside"
    stage = Stage(StageKey("counted", 1), "counted", reusable=not beside, concurrent=beside)
    result = run_stage(store, stage, compute)
    found = {"run_id": result.run_id, "reused": result.reused}
    lines = result.outputs["lines"]
    found |= {"path": str(lines.path), "digest": lines.digest}
    if "model" in result.outputs:
        found["model_id"] = result.outputs["model"].model_id
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
