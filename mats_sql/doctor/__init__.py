"""What is missing for an experiment, found before anything starts: files, models, memory, software, servers, disk.

``examine`` runs every check and returns one :class:`~mats_sql.doctor.finding.Finding` each; ``print_findings`` shows
them. Estimates are explained in docs/doctor.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.doctor.examination import anything_missing, examine
    from mats_sql.doctor.finding import Finding, Status
    from mats_sql.doctor.table import print_findings

__all__ = ["Finding", "Status", "anything_missing", "examine", "print_findings"]

__getattr__ = Face(
    __name__,
    {
        "examination": ("anything_missing", "examine"),
        "finding": ("Finding", "Status"),
        "table": ("print_findings",),
    },
)
