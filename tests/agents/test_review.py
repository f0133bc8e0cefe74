"""The text of an execution response, as every agent after the planner reads it."""

from __future__ import annotations

import pytest

from mats_sql.agents.review import response_text
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.sandbox.nearest import Nearest

JAZZ = Nearest("album", "genre", "jazz", ("JAZ",))
ROWS = (("Ann", None), ("Bo", 2), ("Cy", 3), ("Di", 4))


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        (Execution(Outcome.EMPTY), "no rows"),
        (Execution(Outcome.ROWS, preview=ROWS, row_count=9), "9 rows : Ann , NULL ; Bo , 2 ; Cy , 3"),
        (Execution(Outcome.ERROR, error="no such column: x"), "error : no such column: x"),
        (
            Execution(Outcome.ERROR, error="no such column: x", nearest=(JAZZ,)),
            "error : no such column: x ; album.genre has no 'jazz' , nearest 'JAZ'",
        ),
        (
            Execution(
                Outcome.ERROR,
                error="no such column: x , nearest album.y",
                retried=Execution(
                    Outcome.ERROR,
                    error="no such column: z",
                    retried=Execution(Outcome.EMPTY, nearest=(JAZZ,)),
                    tried="SELECT y, w\nFROM album",
                ),
                tried="SELECT y, z FROM album",
            ),
            "error : no such column: x , nearest album.y , with it error : no such column: z , with it no rows ; "
            "album.genre has no 'jazz' , nearest 'JAZ' ; query : SELECT y, w FROM album",
        ),
        (
            Execution(Outcome.ERROR, error="e", retried=Execution(Outcome.EMPTY), tried=f"SELECT {'1' * 1000}"),
            "error : e , with it no rows",
        ),
        (Execution(Outcome.TOO_BIG), "too big"),
        (Execution(Outcome.EMPTY, nearest=(JAZZ,)), "no rows ; album.genre has no 'jazz' , nearest 'JAZ'"),
        (
            Execution(Outcome.ROWS, preview=((0,),), row_count=1, nearest=(JAZZ,)),
            "1 rows : 0 ; album.genre has no 'jazz' , nearest 'JAZ'",
        ),
        (
            Execution(Outcome.EMPTY, nearest=(JAZZ, Nearest("a", "b c", "O'Brian", ("O'Brien", "Brian")))),
            "no rows ; album.genre has no 'jazz' , nearest 'JAZ' ; "
            "a.`b c` has no 'O''Brian' , nearest 'O''Brien' , 'Brian'",
        ),
    ],
)
def test_a_response_shows_rows_errors_and_what_is_stored_for_a_literal_that_no_row_has(
    execution: Execution, text: str
) -> None:
    assert response_text(execution) == text
