"""The recipe: TOML in, resolved JSON out.

People write a short TOML; every field has a default, a unit and a range here and nowhere else.
Unknown keys are refused with the nearest name. Choices that the paper leaves open are fields:
`judge.draws`, `judge.select_draws`, `judge.unreadable`, `pairs.ties`, `prompts.part_size`, `training.reference`,
`gate.cut_answers`.

`load(path, overrides)` reads a file and applies `key=value` pairs; `Recipe.resolved()` is what the
store keeps.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import RecipeError
from toolkit.records import MIN_MASS, Sampling
from toolkit.redaction import MASK, SECRET_NAME, secret_name
from toolkit.trust.argument_secrets import refuse_secrets
from toolkit.trust.consent import check_recipe

SHORT = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "float": "float32"}  # PyTorch's and OpenRLHF's words
Dtype = Annotated[
    Literal["auto", "bfloat16", "float16", "float32"],
    BeforeValidator(lambda name: SHORT.get(name, name) if isinstance(name, str) else name),
]
Rate = Annotated[float, Field(gt=0)]
# A name that reaches a command line: by another sign it could become a flag, or bring a value, of its own.
Option = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")]
Module = Annotated[str, Field(pattern=r"^\w[\w.\-]*$")]
TRAINING_SEED = 42  # OpenRLHF's default; the trainer's seed of a recipe whose seed is 0
SEEDS = 2**32  # numpy's seeds, which the trainer sets, are below it
LearningRate = Rate | dict[Literal["bfloat16", "float16", "float32"], Rate]  # one, or one for each dtype


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _dtype_from_options(data: Any, option: str) -> Any:
    """The fields with the dtype that `options` names under the library's own word moved to `dtype`, which decides what
    is recorded, priced and warned of."""
    options = data.get("options") if isinstance(data, Mapping) else None
    if not isinstance(options, Mapping) or option not in options:
        return data
    options = dict(options)
    dtype = options.pop(option)
    if data.get("dtype", "auto") not in ("auto", dtype, SHORT.get(str(dtype), dtype)):
        raise ValueError(f"dtype = {data['dtype']!r} and options.{option} = {dtype!r}: name one")
    return {**data, "options": options, "dtype": dtype}


class Prompts(Section):
    """Where prompts come from. Each iteration takes `part_size` of them, disjoint from the others."""

    source: str = Field(
        "starter",
        description="'starter', 'ift' (with answers), 'constraints' (generated), a .txt, .jsonl, .csv or .parquet "
        "file, or a hub data set",
    )
    count: int = Field(
        1000, ge=1, le=100_000, description="prompts that source 'constraints' generates; the same for every seed"
    )
    field: str = Field("prompt", description="the column or key that holds the text")
    label: str = Field(
        "answer", description="the column or key that holds a reference answer, for SPIN and reward functions"
    )
    split: str = Field("train", description="split of a Hugging Face dataset")
    part_size: int = Field(4000, ge=1, description="prompts per iteration; the paper says 4,000 and 5,000")
    seed: int = Field(0, description="shuffles the prompts before they are parted; left out, the recipe's `seed`")
    duplicates: Literal["refuse", "drop"] = "refuse"


class Probe(Section):
    """Prompts that no iteration takes. Every kept model answers them, and one fixed judge scores the answers."""

    prompts: int = Field(0, ge=0, description="prompts held out, the same for every seed; 0: no probe")
    answers: int = Field(
        0, ge=0, description="answers to each; set alike, recipes of different answers.k compare; 0: K"
    )
    judged: int = Field(
        0,
        ge=0,
        description="on so many of them the recipe's own judge scores the answers too (judge_accuracy), and a study "
        "measures gradients",
    )

    @model_validator(mode="after")
    def fits(self) -> Probe:
        """The judged prompts are among the held-out ones."""
        if self.judged > self.prompts:
            raise ValueError(f"probe.judged = {self.judged} is above probe.prompts = {self.prompts}")
        return self


class Answers(Section):
    """K answers per prompt and model."""

    k: int = Field(7, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens)


class JudgeAudit(Section):
    """A second judge that takes no part in selection: it scores both sides of every pair, and its gap stands first.
    Without `by` and `reward` there is none. A field that is left out is as in [judge].
    """

    by: str = Field(
        "",
        description="'past' (M_0, frozen), another model's directory or hub id, or with judge.audit.base_url the name "
        "of a served one; '' and no reward: no audit",
    )
    base_url: str = Field("", description="an OpenAI-compatible chat server that judges; method 'generated' alone")
    key_variable: str = Field(
        "OPENAI_API_KEY", pattern=SECRET_NAME, description="environment variable with that server's key"
    )
    reward: str = Field("", description="FILE.py:FUNCTION, 'toolkit:constraints' or 'toolkit:noise', in place of `by`")
    method: Literal["generated", "expected", "reward"] | None = Field(
        None, description="'reward' with a reward, 'generated' with a server, else as in [judge]"
    )
    rubric: str | None = Field(None, description="name of a shipped rubric or path of a text file")
    draws: int | None = Field(None, ge=1, description="verdicts per answer, averaged over the readable ones")
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def fits(self) -> JudgeAudit:
        """What belongs together: one judge, and not the one that selects."""
        if self.by and self.reward:
            raise ValueError("judge.audit needs one judge: either by or reward")
        if self.base_url and self.by in ("", "past"):
            raise ValueError("judge.audit.base_url needs judge.audit.by, the served model's name")
        if self.by == "present":
            raise ValueError("judge.audit.by = 'present': the model that is trained is not a fixed judge")
        changed = any(getattr(self, name) != field.default for name, field in type(self).model_fields.items())
        if changed and not (self.by or self.reward):
            raise ValueError("judge.audit needs its judge: by (with base_url, the served model's name) or reward")
        if self.method not in (None, "reward" if self.reward else "generated" if self.base_url else self.method):
            raise ValueError("judge.audit.method must be 'reward' with a reward and 'generated' with a base_url")
        if self.method == "reward" and not self.reward:
            raise ValueError("judge.audit.method = 'reward' needs judge.audit.reward")
        return self


class Judge(Section):
    """Who scores answers, and how.

    method: "generated" samples a written verdict and parses its last score line; "expected" takes the mean score
    under the token probabilities at the score position, one forward pass and no parsing, before any justification is
    written: it is another judge than "generated"; "reward" calls a function.
    """

    by: str = Field(
        "present",
        description="'present' (M_i, as the paper), 'past' (M_0, frozen), another model's directory or hub id, or with "
        "judge.base_url the name of a served one",
    )
    base_url: str = Field("", description="an OpenAI-compatible chat server that judges; method 'generated' alone")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        pattern=SECRET_NAME,
        description="environment variable with that server's key; the end of its name tells that it is to be hidden",
    )
    method: Literal["generated", "expected", "reward"] = "generated"
    reward: str = Field(
        "",
        description="FILE.py:FUNCTION, 'toolkit:constraints' or 'toolkit:noise', for method 'reward' (docs: Your own "
        "judge)",
    )
    rubric: str = Field("additive", description="name of a shipped rubric or path of a text file")
    draws: int = Field(1, ge=1, description="verdicts per answer, averaged over the readable ones")
    select_draws: int | None = Field(
        None,
        ge=1,
        description="method 'generated': this many draws select, the rest measure (gap_held_out); unset: all select",
    )
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    unreadable: Literal["drop_answer", "drop_prompt"] = Field(
        "drop_answer", description="what an answer without a readable verdict costs: itself, or its prompt"
    )
    max_unreadable: float = Field(0.5, ge=0, le=1, description="above this share of verdicts the run stops")
    min_mass: float = Field(
        MIN_MASS,
        ge=0,
        le=1,
        description="method 'expected': least probability of all score tokens together; below it the verdict is "
        "unreadable",
    )
    audit: JudgeAudit = JudgeAudit()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def fits(self) -> Judge:
        """What belongs together: a reward needs its function, a server names its model and writes its verdicts."""
        if (self.method == "reward") != bool(self.reward):
            raise ValueError("judge.method = 'reward' and judge.reward = 'FILE.py:FUNCTION' need each other")
        if self.base_url and (self.by in ("present", "past") or self.method != "generated"):
            raise ValueError("judge.base_url needs judge.by, the served model's name, and judge.method = 'generated'")
        if self.select_draws and (self.method != "generated" or self.select_draws >= self.draws):
            raise ValueError("judge.select_draws needs judge.method = 'generated' and more judge.draws than itself")
        if self.audit.by == "past" and self.method != "reward" and self.by in ("present", "past"):
            raise ValueError("judge.audit.by = 'past' took part in selection: M_0 is the present of iteration 0")
        if self.audit.by and not (self.audit.method or self.audit.base_url) and self.method == "reward":
            raise ValueError("judge.audit.by beside judge.method = 'reward' needs judge.audit.method")
        return self

    @property
    def auditing(self) -> Judge | None:
        """The audit judge with every field that it takes from this one; None where there is none.

        Verdicts that cannot be read leave a pair out of the audit, and stop no run.
        """
        audit = self.audit
        if not (audit.by or audit.reward):
            return None
        method = "reward" if audit.reward else "generated" if audit.base_url else audit.method or self.method
        inherited = {name: getattr(audit, name) for name in ("rubric", "draws", "temperature", "top_p", "max_tokens")}
        fields = {name: getattr(self, name) if value is None else value for name, value in inherited.items()}
        return Judge(
            by=audit.by or "present", base_url=audit.base_url, key_variable=audit.key_variable, reward=audit.reward,
            method=method, max_unreadable=1.0, **fields,
        )  # fmt: skip

    @property
    def exact(self) -> bool:
        """Whether a second draw would say the same."""
        return self.method != "generated"

    @property
    def sampling(self) -> Sampling:
        if self.method == "expected":
            return Sampling(1.0, 1.0, 1, None if self.min_mass == MIN_MASS else self.min_mass)
        if self.method == "reward":
            return Sampling(0.0, 1.0, 0)
        return Sampling(self.temperature, self.top_p, self.max_tokens)


class Pairs(Section):
    """Selection. Between pools the earlier pool keeps a tie, as Algorithm 1 says; `ties` decides inside one.

    rejected: "worst" is Algorithm 1; "mean_minus_2sd" and "random" pick from the same candidates, as arms of a study
    (pairs/rejected_side.py). A pair still needs a strictly higher chosen score. So the three rules are offered equally
    many prompts, but their yields can differ; reports give the yield of each set.
    """

    ties: Literal["first", "shortest", "longest"] = "first"
    length_control: float | None = Field(
        None, ge=0, lt=0.5, description="rho of Meta-Rewarding: chosen is the shortest near the best score; unset, none"
    )
    rejected: Literal["worst", "mean_minus_2sd", "random"] = Field(
        "worst",
        description="the rejected answer: the lowest score (Algorithm 1), the score nearest to mean - 2 sd of the "
        "prompt's candidates (population sd), or a random candidate by the recipe's `seed`",
    )
    max_tied: float = Field(
        0.9, ge=0, le=1, description="above this share of prompts without a strict order the run stops"
    )

    @model_validator(mode="after")
    def fits(self) -> Pairs:
        """Length control changes the lowest score's rule alone."""
        if self.length_control is not None and self.rejected != "worst":
            raise ValueError(f"pairs.length_control needs pairs.rejected = 'worst', not {self.rejected!r}")
        return self


class Gate(Section):
    """The token gate before training."""

    cut_answers: Literal["keep", "drop"] = Field(
        "keep", description="pairs with an answer cut by max_tokens; the trainer gives a kept one an end it never had"
    )
    max_dropped: float = Field(0.2, ge=0, le=1, description="above this share of dropped pairs the run stops")


class Optimization(Section):
    """What DPO and SFT have in common, handed to OpenRLHF."""

    learning_rate: LearningRate = Field(
        5e-7, description="above 0; or one for each dtype: {bfloat16 = ..., float32 = ...}"
    )
    batch_size: int = Field(32, ge=1, description="rows per optimizer step, over all devices")
    micro_batch_size: int = Field(1, ge=1, description="rows per device and forward pass")
    small_sets: Literal["refuse", "shrink"] = Field(
        "refuse", description="fewer rows than batch_size: refuse, or shrink the batch to the rows there are"
    )
    epochs: int = Field(1, ge=1)
    max_length: int = Field(2048, ge=8, description="tokens of prompt and answer together")
    max_prompt_length: int = Field(512, ge=1)
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    scheduler: str = "cosine_with_min_lr"
    min_lr_ratio: float = Field(
        0.0, ge=0, le=1, description="the schedule's last rate as a share of learning_rate; 0 is a plain cosine"
    )
    max_grad_norm: float = Field(1.0, gt=0)
    seed: int = Field(TRAINING_SEED, description="order of the rows and dropout; left out, 42 + the recipe's `seed`")


class Training(Optimization):
    """DPO: a present model becomes the next one."""

    beta: float = Field(0.1, gt=0)
    reference: str = Field("present", description="'present', 'past' (M_0), or a checkpoint's directory")


class Sft(Optimization):
    """SFT: a base model becomes M_0, and rejection sampling's next model."""

    data: tuple[str, ...] = Field(
        (), description="'ift' and 'eft' (shipped) or files; empty: `model` is taken as M_0 (docs: Your own data)"
    )
    held_out: float = Field(0.2, ge=0, lt=1, description="share of rated prompts kept out of SFT to measure judges on")
    learning_rate: LearningRate = Field(2e-6, description="as in [training]")
    epochs: int = Field(3, ge=1)
    max_prompt_length: int = Field(1536, ge=1, description="a judgement's prompt holds the rubric and an answer")


class Lora(Section):
    """Low-rank adapters instead of all weights; the result is merged into a whole checkpoint."""

    rank: int = Field(0, ge=0, description="0 trains all weights")
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[Module, ...] = Field(
        (), description="names of modules; empty: every linear layer but the head"
    )
    load_in_4bit: bool = Field(False, description="QLoRA: the frozen weights in 4 bits; needs a GPU and bitsandbytes")


class Trainer(Section):
    """On what the trainer runs: provenance, never identity, except dtype and options that change what is trained."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    python: str = Field(
        "", description="of another environment that holds OpenRLHF; '' is this one, 'scripted' learns nothing"
    )
    gpus: int = Field(0, ge=0, description="devices per node; 0 takes all that are visible")
    hostfile: str = Field("", description="DeepSpeed hostfile for several nodes")
    launcher: tuple[str, ...] = Field((), description="further words for the DeepSpeed launcher: '--include=a:0,1' ...")
    processes: int = Field(1, ge=1, description="on a CPU: processes that share each batch (data parallel, gloo)")
    dtype: Dtype = Field(
        "auto", description="of training and of saved weights; part of a training's id where it is not bfloat16"
    )
    zero_stage: int = Field(3, ge=0, le=3, description="at most 2 with LoRA: OpenRLHF pickles adapters in stage 3")
    attention: str = Field("sdpa", description="or 'flash_attention_2', where flash-attn is installed")
    gradient_checkpointing: bool = True
    options: dict[Option, str | int | float | bool] = Field(
        default_factory=dict, description="further OpenRLHF flags, for example {'ds.adam_offload' = true}"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_dtype(cls, data: Any) -> Any:
        return _dtype_from_options(data, "ds.param_dtype")


class Cluster(Section):
    """Workers on a Ray cluster, for engine.kind 'ray' (engines/ray.py)."""

    address: str = Field("", description="of the cluster; '' takes RAY_ADDRESS, else a cluster on this machine")
    inner: Literal["vllm", "transformers", "scripted"] = Field("vllm", description="the engine of each worker")
    workers: int = Field(1, ge=1)
    cpus: float = Field(1, ge=0, description="cores that Ray reserves for each worker; it gets its GPUs besides")
    retries: int = Field(3, ge=0, description="further tries of a request whose worker failed, before the run stops")


class Engine(Section):
    """On what answers and verdicts are made: provenance, never identity."""

    kind: Literal["vllm", "ray", "transformers", "openai", "scripted"] = "vllm"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    python: str = Field("", description="interpreter of another environment that holds vLLM; '' is this one")
    resident: int = Field(1, ge=1, description="checkpoints kept loaded at once; 1 on a single GPU")
    swap: bool = Field(
        True, description="on a CPU a running vLLM takes the next checkpoint's weights, where they prove to be exact"
    )
    max_model_len: int = Field(4096, ge=16)
    max_num_seqs: int = Field(256, ge=1)
    dtype: Dtype = Field("auto", description="'auto' is what the processor computes fast (docs: Which dtype)")
    tensor_parallel_size: int = Field(1, ge=1)
    pipeline_parallel_size: int = Field(1, ge=1)
    data_parallel_size: int = Field(1, ge=1)
    base_url: str = Field("", description="kind 'openai': address of the server; its key is read from OPENAI_API_KEY")
    served_model: str = Field("", description="kind 'openai': the server's name for the base model")
    timeout: float = Field(600, gt=0, description="seconds without any completion before the engine is given up")
    options: dict[Option, str | int | float | bool] = Field(
        default_factory=dict, description="further vLLM engine arguments"
    )
    cluster: Cluster = Cluster()  # type: ignore[call-arg]

    @model_validator(mode="before")
    @classmethod
    def _one_dtype(cls, data: Any) -> Any:
        return _dtype_from_options(data, "dtype")


class Recipe(Section):
    """One experiment: everything that decides its result, and the machine settings beside it."""

    name: str = "temporal"
    model: str = Field("smollm2-135m-instruct", description="the embedded model, a checkpoint directory or a hub id")
    iterations: int = Field(2, ge=1)
    seed: int = Field(
        0, description="of prompts, answers, verdicts and training; prompts.seed and training.seed can be set apart"
    )
    suite: str = Field("", description="suite file by which every kept model is measured (docs: Evaluate models)")
    trust_remote_code: bool = Field(False, description="runs code that lies beside a model's weights, as you")
    prompts: Prompts = Prompts()  # type: ignore[call-arg]
    probe: Probe = Probe()  # type: ignore[call-arg]
    answers: Answers = Answers()  # type: ignore[call-arg]
    judge: Judge = Judge()  # type: ignore[call-arg]
    pairs: Pairs = Pairs()  # type: ignore[call-arg]
    gate: Gate = Gate()  # type: ignore[call-arg]
    sft: Sft = Sft()  # type: ignore[call-arg]
    training: Training = Training()  # type: ignore[call-arg]
    lora: Lora = Lora()  # type: ignore[call-arg]
    engine: Engine = Engine()  # type: ignore[call-arg]
    trainer: Trainer = Trainer()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _seeds(self) -> Recipe:
        """Sections without a seed of their own get the recipe's: another `seed` is another run in every part."""
        trainer = (TRAINING_SEED + self.seed) % SEEDS
        for name, seed in (("prompts", self.seed), ("sft", trainer), ("training", trainer)):
            section = getattr(self, name)
            if "seed" not in section.model_fields_set:
                values = {**dict(section), "seed": seed}
                self.__dict__[name] = type(section).model_construct(section.model_fields_set, **values)
        return self

    def resolved(self) -> dict[str, Any]:
        """Every field with its value, as JSON."""
        return self.model_dump(mode="json")


def load(path: Path, overrides: Sequence[str] = (), *, trusted: bool = False) -> Recipe:
    """The recipe in this TOML file with `key.subkey=value` overrides, to be started. Raises RecipeError.

    trusted: the file may name code and servers, as --trust allows; overrides may at any time.
    """
    data = read_toml(path)
    check_recipe(data, overrides, path, trusted=trusted)
    for change in overrides:
        override(data, change)
    recipe = parse(data, where=path)
    refuse_secrets(recipe.resolved())
    return recipe


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises RecipeError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe file {path}", remedy="name an existing TOML file with --config") from error
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8, and numbers of 4300 digits
        raise RecipeError(f"not valid TOML: {error}", where=path, remedy="mend the line it names") from error


def parse(data: Mapping[str, Any], *, where: object = "") -> Recipe:
    """A checked recipe from plain data. Raises RecipeError naming the field, its value and the remedy."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = _field(first["loc"])
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"unknown key {place!r}", where=where, remedy=_nearest(place)) from error
        secret = any(secret_name(str(part)) for part in first["loc"])
        raise RecipeError(
            f"{place} = {MASK if secret else repr(first['input'])}: {first['msg']}",
            where=where,
            remedy=f"correct {place} in the recipe",
        ) from error


def _field(location: Sequence[int | str]) -> str:
    """The dotted key of an error; pydantic adds which form of a value it tried."""
    place, keys = ".".join(str(part) for part in location), known_keys()
    return next((key for key in keys if place.startswith(f"{key}.")), place)


def known_keys(section: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    """Every dotted key of the recipe."""
    keys = []
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            keys += known_keys(info.annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _nearest(key: str) -> str:
    keys = known_keys()
    keys += sorted({known.split(".")[0] for known in keys})
    by_leaf = [known for known in keys if known.split(".")[-1] == key.split(".")[-1]]
    close = by_leaf or difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f"did you mean {' or '.join(map(repr, close))}?"


def override(data: dict[str, Any], change: str) -> None:
    """Apply `key.subkey=value` to plain data. Raises RecipeError."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {change!r} is not key=value", remedy="write for example --set answers.k=4")
    *sections, leaf = key.strip().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise RecipeError(f"--set {change!r}: {section!r} is not a section", remedy=_nearest(key))
    data[leaf] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
