"""What every part of the settings is: frozen, with known keys only, each of them described."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the experiment; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())
