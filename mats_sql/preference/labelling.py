"""Which pairs a validator learns from: a regime's, all of them or balanced; and which of these are controls."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.choices import Balance, Regime
from mats_sql.config import Experiment, known_regime, regime_label


@dataclass(frozen=True, slots=True)
class Labelling:
    """A regime, what of its training pairs is kept, and, for a match, whose number and verdict mix it is to have."""

    regime: str
    balance: Balance = Balance.NONE
    matched_to: Labelling | None = None

    @property
    def name(self) -> str:
        """Its name in tables: ``INDEP``, ``INDEP (balanced)``, ``INDEP (matched to COLLAB_V2)``."""
        return regime_label(self.regime).upper() + self._remark

    @property
    def key(self) -> str:
        """Its name in commands, tags and run names: ``indep``, ``indep (balanced)``."""
        return regime_label(self.regime) + self._remark.lower()

    @property
    def _remark(self) -> str:
        if self.matched_to is not None:
            return f" (matched to {self.matched_to.name})"
        return " (balanced)" if self.balance is Balance.VERDICT else ""


def labelling_of(experiment: Experiment, regime: str) -> Labelling:
    """Return what an experiment makes of a regime, as ``pairs.balance`` says; a regime is not matched to itself."""
    balance, target = experiment.pairs.balance, experiment.pairs.matched_to
    if balance is not Balance.MATCH:
        return Labelling(regime, balance)
    return Labelling(regime) if regime == target else Labelling(regime, balance, Labelling(str(target)))


def treatments(experiment: Experiment) -> tuple[Labelling, ...]:
    """Return the labellings that are compared with INDEP: of every other regime; none without INDEP."""
    if Regime.INDEP not in experiment.regimes:
        return ()
    return tuple(labelling_of(experiment, regime) for regime in experiment.regimes if regime != Regime.INDEP)


def balanced_control(experiment: Experiment) -> Labelling | None:
    """Return INDEP with as many complaints as approvals chosen; None where there are no controls or INDEP is that."""
    control = Labelling(Regime.INDEP.value, Balance.VERDICT)
    wanted = experiment.controls and treatments(experiment) and labelling_of(experiment, Regime.INDEP.value) != control
    return control if wanted else None


def matched_control(experiment: Experiment, treatment: Labelling) -> Labelling | None:
    """Return INDEP matched to a treatment in number and verdict mix; None where there are no controls."""
    return Labelling(Regime.INDEP.value, Balance.MATCH, treatment) if experiment.controls else None


def labellings(experiment: Experiment) -> tuple[Labelling, ...]:
    """Return everything validators are trained on: each regime, then the controls."""
    own = [labelling_of(experiment, regime) for regime in experiment.regimes]
    others = treatments(experiment)
    controls = [balanced_control(experiment), *(matched_control(experiment, other) for other in others)]
    return tuple(dict.fromkeys([*own, *(control for control in controls if control is not None)]))


def labellings_named(experiment: Experiment, name: str) -> tuple[Labelling, ...]:
    """Return the labelling of that key, or of that regime in the experiment or not, or all of them for ``all``.

    Raises :class:`ConfigError` for a name that is none of these.
    """
    every = labellings(experiment)
    if name == "all":
        return every
    known = [one for one in every if name == one.key]
    return tuple(known) or (labelling_of(experiment, known_regime(name)),)
