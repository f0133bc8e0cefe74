"""Every error a user can cause, as one tree.

A message is one line: the rule, the value that broke it, what to do. The command line prints it without a traceback
and exits with code 2.
"""

from __future__ import annotations

import errno
import re

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^@/\s]+@")


class MatsError(Exception):
    """Base of all errors that a user can cause and mend."""


class ConfigError(MatsError):
    """A setting is unknown, of the wrong type or out of range."""


class BenchmarkError(MatsError):
    """A benchmark's files are missing, malformed or contradict each other."""


class DatabaseError(MatsError):
    """A database file is missing or is not a readable database."""


class LeakError(MatsError):
    """Training and evaluation questions share a database or a question text."""


class CandidateFileError(MatsError):
    """A candidates or predictions file is missing or malformed."""


class ModelError(MatsError):
    """A model checkpoint is missing or cannot be loaded."""


class EngineError(MatsError):
    """A generation engine cannot be started or reached."""


class ClusterError(MatsError):
    """A cluster cannot be reached, has no room for what is asked, or lost it too often."""


class TrainingError(MatsError):
    """Training data are empty or unusable, or a training run diverged."""


class TrackingError(MatsError):
    """The tracking server cannot be reached, or a run, model or dataset is not there."""


class PromotionRefused(MatsError):
    """A team does not meet the configured gates."""


class StageInputError(MatsError):
    """A stage's input (an earlier stage's output) is missing or damaged."""


class StageStopped(MatsError):
    """A stage was ended before its end because its result was not needed; the same stage goes on when it is."""


_FULL = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
    errno.EROFS: "Read-only file system",
}


def disk_trouble(error: BaseException) -> str:
    """Return why a disk takes no more, in one line, if that is what an error (whoever's) comes from, else nothing.

    Libraries wrap what the operating system said in errors of their own; its words stay in the message.
    """
    cause: BaseException | None = error
    while cause is not None:
        words = str(cause)
        if (isinstance(cause, OSError) and cause.errno in _FULL) or any(told in words for told in _FULL.values()):
            return one_line(words)
        cause = cause.__cause__ or cause.__context__
    return ""


def one_line(words: object) -> str:
    """Return an error of other software, or its text, as one line of bounded length."""
    return " ".join(str(words).split())[:300]


def without_password(text: str) -> str:
    """Return a text, a message or an address, with the passwords of the addresses in it hidden."""
    return _PASSWORD.sub(r"\1:…@", text)
