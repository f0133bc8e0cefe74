"""MLflow's many exceptions as one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from mats_sql.errors import TrackingError, without_password

MAX_MESSAGE_CHARACTERS = 300


@contextmanager
def tracking_failures(rule: str, remedy: str, *also: type[Exception]) -> Iterator[None]:
    """Turn a failure of MLflow (or one of the classes ``also``) in the block into a one-line :class:`TrackingError`."""
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, *also) as error:
        raise TrackingError(f"{rule}, but {one_line(error)}; {remedy}") from error


def one_line(error: BaseException) -> str:
    """Return an error's class and message on one line of bounded length, without passwords.

    MLflow wraps a refused connection four times; what the operating system said is the part to show.
    """
    error = _from_the_system(error) or error
    message = without_password(" ".join(str(error).split()))
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _from_the_system(error: BaseException) -> OSError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
