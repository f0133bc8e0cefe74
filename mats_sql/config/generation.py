"""Settings of who writes text: the agents' checkpoints, the engine that draws from them, the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from mats_sql.config.section import Positive, Rate, Section

SPEED_SETTINGS = frozenset(
    {
        "batch_tokens",
        "decode_rows",
        "loaded_models",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "compiled",
        "engine_cpus",
        "concurrency",
        "attempts",
        "timeout_s",
    }
)
"""What changes how fast answers come and how long they are waited for, not what they are."""

_ADDRESS = frozenset({"base_url", "api_key_variable"})
_NEWER = ("quantization", "model", "servers", "server_adapters")
_CHECKPOINT = "Checkpoint that the {} starts from."
UNTRAINED = "untrained"
"""The name in ``models`` of a checkpoint that the experiment itself makes (:class:`UntrainedSettings`)."""


class ModelSettings(Section):
    """The checkpoint each agent starts from.

    ``lab`` is the embedded base model, ``untrained`` one with random weights that the experiment makes, anything else a
    path or name.
    """

    planner: str = Field("lab", description=_CHECKPOINT.format("planner"))
    validator: str = Field("lab", description=_CHECKPOINT.format("validators, both,").replace("starts", "start"))
    fixer: str = Field("lab", description=_CHECKPOINT.format("fixer"))
    selector: str = Field("lab", description=_CHECKPOINT.format("selector"))


class UntrainedSettings(Section):
    """The checkpoint that ``models`` calls ``untrained``: Qwen2's files and layout, random weights, a tokenizer that
    learns from the benchmark's own train prompts. It tries a path from end to end where there is no real checkpoint.
    """

    seed: int = Field(0, description="Decides the weights.")
    vocabulary: int = Field(8192, ge=512, description="Rows of the embeddings, and the most tokens there are.")
    layers: Positive = Field(8, description="Transformer layers.")
    width: Positive = Field(256, description="Length of a hidden state.")
    feed_forward: Positive = Field(768, description="Length of a feed-forward layer's inner state.")
    heads: Positive = Field(4, description="Attention heads per layer; they share the width.")
    key_heads: Positive = Field(2, description="Heads of keys and values; each serves as many of the others.")
    context_tokens: Positive = Field(32_768, description="The longest sequence the model takes.")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> UntrainedSettings:
        if self.width % (2 * self.heads) or self.heads % self.key_heads:
            raise ValueError(
                "untrained.width must be an even multiple of untrained.heads, and these a multiple of "
                f"untrained.key_heads, but got {self.width}, {self.heads} and {self.key_heads}; change one"
            )
        return self


ServedAgent = Literal["planner", "validator", "select-validator", "condition-validator", "fixer", "selector"]


class ServerSettings(Section):
    """A server that speaks OpenAI's API, asked for one agent whatever the engine of the others is.

    `NAME` is planner, validator (both), select-validator, condition-validator, fixer or selector.
    """

    base_url: str | None = Field(None, description="Address of the server; none: generation.base_url.")
    model: str | None = Field(
        None, description="The model's name, as the server knows it; none: the only one that the server lists."
    )
    api_key_variable: str | None = Field(
        None,
        description="Environment variable that holds the server's key; none: generation.api_key_variable at "
        "generation.base_url, elsewhere OPENAI_API_KEY.",
    )


class GenerationSettings(Section):
    """Which engine draws text, and how much at a time (docs/engines.md says which engine reads which settings)."""

    engine: Literal["transformers", "vllm", "openai"] = Field(
        "transformers",
        description="Who draws: transformers or vLLM in this process, or a server that speaks OpenAI's API.",
    )
    device: str = Field(
        "auto", description="Where transformers computes, as torch names it; auto: a GPU if there is one."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Number type of the weights.")
    batch_tokens: Positive = Field(
        16384, description="Prompt tokens computed at a time: memory and speed, not answers."
    )
    decode_rows: Positive = Field(256, description="Answers drawn at a time: memory and speed, not answers.")
    loaded_models: Positive | None = Field(
        None,
        description="Checkpoints in memory at a time: before one more is loaded, the longest unused leaves. None: 8 on "
        "a CPU, 1 on a GPU and with vllm. The engine openai loads none.",
    )
    gpu_memory_utilization: Rate = Field(
        0.9, description="Share of a GPU's memory that vllm takes for weights and cache. Only the engine vllm."
    )
    tensor_parallel_size: Positive = Field(
        1, description="GPUs that share one checkpoint's weights. Only the engine vllm."
    )
    compiled: bool = Field(
        True,
        description="Whether vllm compiles a checkpoint and records CUDA graphs when it starts: 20 seconds and more a "
        "start, for faster answers. Only the engine vllm.",
    )
    engine_cpus: Positive = Field(
        1, description="Cores of one engine on a cluster without GPUs. Only with `cluster`; with GPUs each has its own."
    )
    quantization: str | None = Field(
        None,
        description="How vllm quantises weights, by its own name for it, e.g. fp8; none: as the checkpoint says. Only "
        "the engine vllm.",
    )
    max_prompt_tokens: Positive = Field(
        4096, description="Tokens of the longest prompt; a longer one gets an empty answer."
    )
    plan_tokens: Positive = Field(192, description="Tokens after which a plan is cut.")
    critique_tokens: Positive = Field(96, description="Tokens after which a critique is cut.")
    fix_tokens: Positive = Field(96, description="Tokens after which a fix is cut.")
    base_url: str | None = Field(None, description="Address of the server, for the engine openai.")
    model: str | None = Field(
        None, description="The model's name, as that server knows it; none: the only one that the server lists."
    )
    server_adapters: bool = Field(
        False,
        description="Whether the engine openai asks a vLLM server that takes each checkpoint's LoRA adapter while it "
        "runs (docs/engines.md); its base is the checkpoints' own. Only for agents without an entry in `servers`.",
    )
    servers: Mapping[ServedAgent, ServerSettings] = Field(
        {}, description="Agents that a server answers for, each by its own or by generation.base_url."
    )
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the server's key.")
    concurrency: Positive = Field(8, description="Requests the server gets at a time.")
    attempts: Positive = Field(
        13,
        description="How often a request is sent before the stage fails: at 13 its pauses add up to a minute.",
    )
    timeout_s: float = Field(600.0, gt=0, description="Seconds to wait for one answer of the server.")

    @model_validator(mode="after")
    def _adapters_have_a_server(self) -> GenerationSettings:
        if self.server_adapters and (self.engine != "openai" or self.model is not None):
            raise ValueError(
                "generation.server_adapters needs generation.engine=openai and no generation.model, but got "
                f"{self.engine} and {self.model}; the server's adapters answer, under names of their own"
            )
        return self

    @property
    def longest_answer(self) -> int:
        """The most tokens that any agent may answer with."""
        return max(self.plan_tokens, self.critique_tokens, self.fix_tokens)

    def answer_settings(self) -> dict[str, object]:
        """Return the settings that can change an answer: not how fast it comes, nor from where.

        A server's model is known by its name, or by the server's address where the server is to say the name. A setting
        that is newer than the runs it would tell apart is left out where it is not set.
        """
        document = self._without(SPEED_SETTINGS | _ADDRESS)
        if self.engine == "openai" and self.model is None and not self.server_adapters:
            document["base_url"] = self.base_url
        if self.servers:
            own = {agent: self.of_agent(agent) for agent in sorted(self.servers)}
            document["servers"] = {agent: settings.model or settings.base_url for agent, settings in own.items()}
        return document

    def of_agent(self, agent: str) -> GenerationSettings:
        """Return the settings of one agent's engine: those of its server, where it has one."""
        role = agent.rpartition("-")[2]  # both validators are one role
        served = {str(name): server for name, server in self.servers.items()}
        server = served.get(agent, served.get(role))
        if server is None:
            return self
        # Another address gets neither the model's name nor the key that are meant for generation.base_url.
        common = self if server.base_url is None else GenerationSettings()
        own: dict[str, object] = {
            "base_url": server.base_url or self.base_url,
            "model": server.model or common.model,
            "api_key_variable": server.api_key_variable or common.api_key_variable,
        }
        return self.model_copy(update={"engine": "openai", "servers": {}, "server_adapters": False, **own})

    def team_settings(self) -> dict[str, object]:
        """Return what belongs to a team: the settings that can change an answer, and where its server is."""
        return self._without(SPEED_SETTINGS)

    def _without(self, left_out: frozenset[str]) -> dict[str, object]:
        unset = {name for name in _NEWER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude={*left_out, *unset})


class TeacherSettings(Section):
    """Who writes the answers that SFT teaches: rules over syntax trees, or a large model that sees the hidden gold.

    The large model is behind an OpenAI-compatible server: give its ``base_url`` and ``model``.
    """

    kind: Literal["rules", "large_model"] = Field("rules", description="Who writes: rules, or a large model.")
    model: str = Field("", description="Name of the large model, as its server knows it.")
    base_url: str | None = Field(None, description="Address of its server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the server's key.")
    max_new_tokens: Positive = Field(512, description="Tokens after which the large model's answer is cut.")

    @model_validator(mode="after")
    def _server_is_given(self) -> TeacherSettings:
        if self.kind == "large_model" and not (self.model and self.base_url):
            raise ValueError(
                "teacher.model and teacher.base_url must be set when teacher.kind is 'large_model', but got "
                f"{self.model!r} and {self.base_url!r}; set both, or teacher.kind=rules"
            )
        return self
