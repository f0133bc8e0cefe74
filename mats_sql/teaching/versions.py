"""The version of every teacher: what it decides about reuse, as a prompt's version does."""

TEACHER_VERSIONS = {"rules": "rule-teacher-1", "large_model": "large-model-teacher-1"}
