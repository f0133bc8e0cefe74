"""The typed experiment: one YAML file, every key known and described, every value checked before any work begins."""

from mats_sql.config.execution import SqlLimits, SqlSettings
from mats_sql.config.experiment import Experiment
from mats_sql.config.generation import (
    SPEED_SETTINGS,
    UNTRAINED,
    GenerationSettings,
    ModelSettings,
    TeacherSettings,
    UntrainedSettings,
)
from mats_sql.config.loading import load_experiment
from mats_sql.config.preference import (
    MainSettings,
    PairSettings,
    Policy,
    PromoteSettings,
    RolloutSettings,
    SearchSettings,
    TunedSettings,
)
from mats_sql.config.protocol import ProtocolSettings
from mats_sql.config.questions import BenchmarkSettings, LabSettings, PretrainSettings
from mats_sql.config.regimes import OwnRule, is_own, known_regime, own_rule, regime_label, regime_name
from mats_sql.config.section import Section
from mats_sql.config.teams import SFT_TEAMS, TeamMembers
from mats_sql.config.training import (
    LoraSettings,
    OrpoSettings,
    SftAgents,
    SftSettings,
    TrainerSettings,
    TrainingSettings,
)

__all__ = [
    "SFT_TEAMS",
    "SPEED_SETTINGS",
    "UNTRAINED",
    "BenchmarkSettings",
    "Experiment",
    "GenerationSettings",
    "LabSettings",
    "LoraSettings",
    "MainSettings",
    "ModelSettings",
    "OrpoSettings",
    "OwnRule",
    "PairSettings",
    "Policy",
    "PretrainSettings",
    "PromoteSettings",
    "ProtocolSettings",
    "RolloutSettings",
    "SearchSettings",
    "Section",
    "SftAgents",
    "SftSettings",
    "SqlLimits",
    "SqlSettings",
    "TeacherSettings",
    "TeamMembers",
    "TrainerSettings",
    "TrainingSettings",
    "TunedSettings",
    "UntrainedSettings",
    "is_own",
    "known_regime",
    "load_experiment",
    "own_rule",
    "regime_label",
    "regime_name",
]
