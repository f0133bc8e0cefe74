"""Answers of a team as MLflow traces: every agent's turn a span, the judge's verdict an assessment.

A trace is made of what was said (:mod:`mats_sql.team`), after the answer is there, so tracing changes no answer and no
agent's span can hold a gold: that, and the verdict, are assessments of the trace. Its id derives from the run and the
question, so the same trace logged twice is there once. Agents answer all questions at once: spans have an order, and
only the root of an answer that was waited for has a duration.

MLflow's fluent spans need four calls a trace and choose their ids themselves; ``TracingClient`` takes many at once.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow.entities import (
    AssessmentSource,
    Expectation,
    Feedback,
    Span,
    SpanType,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import SpanAttributeKey, TraceMetadataKey, TraceTagKey

from mats_sql.agents import PLANNER, SELECTOR, as_dicts
from mats_sql.digests import digest_json
from mats_sql.team import PLAN, Spoken, Task, Turn, turns
from mats_sql.tracking.failures import tracking_failures

_logger = logging.getLogger(__name__)

TRACES_PER_CALL = 20
MAX_PREVIEW_CHARACTERS = 1000
CORRECT, GOLD = "correct", "gold_sql"
_JUDGE = AssessmentSource("CODE", "mats-sql judge")
_TICK_NS = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of the selected SQL, and the gold that it compared it with."""

    verdict: str
    is_correct: bool
    gold: str


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """One question's answer to be shown as a trace. ``key`` tells it from the others of the same source."""

    key: str
    title: str
    task: Task
    rows: Sequence[Spoken]
    tags: Mapping[str, str] = field(default_factory=dict)
    judged: Judged | None = None


@dataclass(frozen=True, slots=True)
class TraceSource:
    """Where traces belong: the experiment, and the run and MLflow model that gave the answers, if any.

    ``waited_ns`` is from when to when somebody waited for the answers (nanoseconds of the epoch); None: nobody did.
    """

    experiment_id: str
    run_id: str = ""
    model_id: str = ""
    waited_ns: tuple[int, int] | None = None


def log_traces(tracking_uri: str, source: TraceSource, answers: Sequence[TracedAnswer]) -> list[str]:
    """Log answers as traces, and return their ids; none where the store keeps no spans.

    Raises :class:`TrackingError` when the store does not answer.
    """
    with tracking_failures("traces must be written to their store", "check it, or set the traces to 0", OSError):
        return _logged(tracking_uri, source, answers)


def _logged(tracking_uri: str, source: TraceSource, answers: Sequence[TracedAnswer]) -> list[str]:
    client = TracingClient(tracking_uri)
    made: list[str] = []
    for start in range(0, len(answers), TRACES_PER_CALL):
        part = [_Trace(source, answer) for answer in answers[start : start + TRACES_PER_CALL]]
        try:
            for trace in part:
                client.start_trace(trace.info())
            client.log_spans(source.experiment_id, [span for trace in part for span in trace.spans()])
        except NotImplementedError:
            _logger.warning("no traces: %s keeps no spans; take a database or a server as the store", tracking_uri)
            return made
        made += [trace.trace_id for trace in part]
    return made


class _Trace:
    """One answer's trace while it is built: ids, and a clock that orders its spans."""

    def __init__(self, source: TraceSource, answer: TracedAnswer) -> None:
        self._source, self._answer = source, answer
        made = time.time_ns()
        self._began, self._ended = source.waited_ns or (made, made + _TICK_NS)
        self._digest = digest_json([source.run_id or made, source.model_id, answer.key])
        self._spans = 0
        self.trace_id = f"tr-{self._digest[:32]}"

    def info(self) -> TraceInfo:
        """Return the trace's head: what it is about, where it belongs, and the verdict."""
        chosen, source = self._chosen, self._source
        metadata = {
            "mlflow.trace_schema.version": "3",
            TraceMetadataKey.SOURCE_RUN: source.run_id,
            TraceMetadataKey.MODEL_ID: source.model_id,
        }
        return TraceInfo(
            trace_id=self.trace_id,
            trace_location=TraceLocation.from_experiment_id(source.experiment_id),
            request_time=self._began // 1_000_000,
            execution_duration=(self._ended - self._began) // 1_000_000 if source.waited_ns else None,
            state=TraceState.OK,
            request_preview=self._answer.task.question.text[:MAX_PREVIEW_CHARACTERS],
            response_preview=(chosen.sql or "")[:MAX_PREVIEW_CHARACTERS],
            trace_metadata={key: value for key, value in metadata.items() if value},
            tags={TraceTagKey.TRACE_NAME: self._answer.title, **self._answer.tags},
            assessments=self._assessments(),
        )

    def spans(self) -> Iterator[Span]:
        """Yield the root, then every turn under its plan, then the selector's."""
        question, chosen = self._answer.task.question, self._chosen
        asked = {"question": question.text, "evidence": question.evidence, "database": question.db_id}
        given = {"sql": chosen.sql, "response": chosen.response}
        root = self._id()
        yield self._span(root, None, self._answer.title, SpanType.AGENT, asked, given, ends=self._ended)
        plan = root
        said = turns(self._answer.task, self._answer.rows)
        for turn in said:
            if turn.agent == PLANNER:
                plan = self._id()
                about = {"sql": turn.sql, "samples": [sample + 1 for sample in turn.samples]}
                yield self._span(plan, root, _plan_title(turn), SpanType.CHAIN, about, {"response": turn.response})
            if turn.agent != SELECTOR:
                yield from self._turn(plan, turn)
        yield from self._selection(root, [turn for turn in said if turn.agent == SELECTOR])

    @property
    def _chosen(self) -> Spoken:
        return next(row for row in self._answer.rows if row.selected)

    def _turn(self, parent: str, turn: Turn) -> Iterator[Span]:
        answer: dict[str, object] = {"role": "assistant", "content": turn.said}
        title = f"{turn.agent}: {turn.verdict}" if turn.verdict else turn.agent
        asked = {"messages": as_dicts(turn.messages)}
        yield self._span(self._id(), parent, title, SpanType.CHAT_MODEL, asked, answer)
        if turn.response:
            given = {"response": turn.response}
            yield self._span(self._id(), parent, "execute", SpanType.TOOL, {"sql": turn.sql}, given)

    def _selection(self, parent: str, said: Sequence[Turn]) -> Iterator[Span]:
        pool = [row for row in self._answer.rows if row.eligible]
        listed = [{"candidate": _name(row), "sql": row.sql, "score": row.score} for row in pool]
        chosen, selector = self._chosen, self._id()
        given = {"candidate": _name(chosen), "sql": chosen.sql, "same_result": chosen.group_size}
        yield self._span(selector, parent, SELECTOR, SpanType.RERANKER, {"candidates": listed}, given)
        for turn in said:
            title = f"score {turn.score:.3f}"
            asked, answer = {"messages": as_dicts(turn.messages)}, {"role": "assistant", "content": turn.said}
            yield self._span(self._id(), selector, title, SpanType.CHAT_MODEL, asked, answer)

    def _span(
        self,
        span_id: str,
        parent: str | None,
        name: str,
        kind: str,
        inputs: Mapping[str, object],
        outputs: Mapping[str, object],
        *,
        ends: int | None = None,
    ) -> Span:
        begins = self._began + (self._spans - 1) * _TICK_NS
        attributes = {
            SpanAttributeKey.REQUEST_ID: self.trace_id,
            SpanAttributeKey.SPAN_TYPE: kind,
            SpanAttributeKey.INPUTS: inputs,
            SpanAttributeKey.OUTPUTS: outputs,
        }
        return Span.from_dict(
            {
                "trace_id": _encoded(self.trace_id.removeprefix("tr-")),
                "span_id": _encoded(span_id),
                "parent_span_id": _encoded(parent) if parent else "",
                "name": name,
                "start_time_unix_nano": begins,
                "end_time_unix_nano": max(ends or 0, begins + _TICK_NS),
                "status": {"code": "STATUS_CODE_OK", "message": ""},
                "attributes": {key: json.dumps(value, ensure_ascii=False) for key, value in attributes.items()},
            }
        )

    def _id(self) -> str:
        self._spans += 1
        return digest_json([self._digest, self._spans])[:16]

    def _assessments(self) -> list[Feedback | Expectation]:
        judged = self._answer.judged
        if judged is None:
            return []
        why = f"{judged.verdict.replace('_', ' ')}; the gold is {judged.gold}"
        made: list[Feedback | Expectation] = [
            Feedback(CORRECT, judged.is_correct, source=_JUDGE, rationale=why),
            Expectation(GOLD, judged.gold, source=_JUDGE),
        ]
        for one in made:  # an id of its own, or a trace that is logged again has each of them twice
            one.assessment_id = f"a-{digest_json([self._digest, one.name])[:32]}"
        return made


def _plan_title(turn: Turn) -> str:
    numbers = ", ".join(str(sample + 1) for sample in turn.samples)
    return f"plan{'s' if len(turn.samples) > 1 else ''} {numbers}"


def _name(row: Spoken) -> str:
    return f"{'plan' if row.origin == PLAN else 'fix'} {row.sample_index + 1}"


def _encoded(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()
