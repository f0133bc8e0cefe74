"""What leaves the platform: a run's or a version's content in the formats that others read.

``release`` finds out what an address holds and writes it: a team's answers as BIRD's submission, preference pairs as
TRL reads them, a trained agent as a transformers or PEFT folder with a model card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.release.releasing import ReleaseRequest, release

__all__ = ["ReleaseRequest", "release"]

__getattr__ = Face(__name__, {"releasing": ("ReleaseRequest", "release")})
