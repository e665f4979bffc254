"""How a model is trained, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class AdamWSpec:
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: Annotated[float, About("peak learning rate", ge=0)] = 1e-3
    betas: Annotated[tuple[float, float], About("beta1 and beta2, decay of the two moments", ge=0, lt=1)] = (
        0.9,
        0.95,
    )
    eps: Annotated[float, About("epsilon: added to the root of the second moment", gt=0)] = 1e-8
    weight_decay: Annotated[
        float, About("weight decay of matrices; norms and biases are not decayed", ge=0)
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class MuonSpec:
    """Muon (Jordan et al. 2024) for the matrices inside blocks, AdamW for everything else."""

    kind: Literal["muon"] = "muon"
    lr: Annotated[float, About("peak learning rate of the matrices inside blocks", ge=0)] = 0.02
    momentum: Annotated[float, About("Nesterov momentum", ge=0, lt=1)] = 0.95
    iterations: Annotated[int, About("Newton-Schulz iterations per step", ge=1, le=12)] = 5
    weight_decay: Annotated[float, About("weight decay of the matrices inside blocks", ge=0)] = 0.0
    rest: Annotated[AdamWSpec, About("AdamW for embeddings, norms, biases and the output layer")] = AdamWSpec(
        lr=3e-3
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """How the learning rate goes up and down: it multiplies every rate of the optimiser."""

    kind: Annotated[
        Literal["cosine", "linear", "wsd", "constant"],
        About(
            "learning rate after the warm-up; wsd: warm-up, stable, then a decay at the end (Hu et al. 2024)"
        ),
    ] = "cosine"
    warmup: Annotated[
        float, About("share of the steps in which the learning rate rises linearly from zero", ge=0, lt=1)
    ] = 0.02
    floor: Annotated[float, About("share of the peak learning rate reached at the end", ge=0, le=1)] = 0.1
    decay: Annotated[float, About("wsd: share of the steps in which the learning rate falls", ge=0, le=1)] = (
        0.2
    )


@dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """An exponential exponential moving average of the weights, which is then what is evaluated and published."""

    decay: Annotated[float, About("decay: share of the average kept at each step", ge=0, lt=1)] = 0.999


@dataclass(frozen=True, kw_only=True)
class SaveSpec:
    """When checkpoints are written and which are kept."""

    every: Annotated[int, About("steps between checkpoints", "steps", ge=1)] = 250
    keep: Annotated[int, About("newest checkpoints kept; the best one is kept besides", ge=1)] = 2
    forever: Annotated[
        int | None, About("checkpoints at multiples of this are never removed", "steps", ge=1)
    ] = None


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Budget, batch, optimiser and the rest of a training run."""

    steps: Annotated[int, About("optimiser updates; with minutes: at most", "steps", ge=1)] = 1000
    minutes: Annotated[
        float | None,
        About(
            "training time: the learning rate (wsd) falls in time to end with it; left out: `steps` decides",
            gt=0,
        ),
    ] = None
    batch: Annotated[int, About("sequences per update, over all ranks and micro-batches", ge=1)] = 32
    sequence: Annotated[
        int | None, About("length of a sequence; left out: the model's context", "tokens", ge=2)
    ] = None
    micro_batch: Annotated[
        int | None, About("sequences computed at once on one device; left out: chosen by memory", ge=1)
    ] = None
    packing: Annotated[
        Literal["running", "best-fit"],
        About("documents are concatenated across sequences, or packed whole and isolated in attention"),
    ] = "running"
    optimizer: Annotated[AdamWSpec | MuonSpec, About("update rule")] = AdamWSpec()
    schedule: Annotated[ScheduleSpec, About("learning-rate schedule")] = ScheduleSpec()
    freeze: Annotated[
        tuple[str, ...],
        About("weights that are not trained, by name: embedding, blocks.0-3, encoder, blocks.*.attention"),
    ] = ()
    layer_decay: Annotated[
        float | None,
        About(
            "each layer's learning rate is this times that of the layer above; left out: all the same",
            gt=0,
            le=1,
        ),
    ] = None
    clip: Annotated[float | None, About("gradient clipping: largest norm of the whole gradient", gt=0)] = 1.0
    average: Annotated[AverageSpec | None, About("exponential moving average of the weights")] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], About("compute dtype; auto: bf16 on a GPU, fp32 on a CPU")
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"], About("where to compute; auto: a GPU when there is one")
    ] = "auto"
    compile: Annotated[Literal["auto", "on", "off"], About("torch.compile; auto: on a GPU only")] = "auto"
    gradient_checkpointing: Annotated[
        bool, About("recompute activations in the backward pass to save memory")
    ] = False
    loss_chunk: Annotated[
        int | None, About("logits computed at once in the loss; left out: chosen by memory", "tokens", ge=1)
    ] = None
    parallel: Annotated[Literal["ddp", "fsdp2"], About("how ranks divide the work under torchrun")] = "ddp"
    nonfinite: Annotated[
        Literal["stop", "skip"],
        About("on NaN or infinity: stop, or go back to the last checkpoint and skip the step"),
    ] = "stop"
    evaluate_every: Annotated[int, About("steps between validations", "steps", ge=1)] = 250
    evaluate_tokens: Annotated[int, About("tokens read in a validation", "tokens", ge=1)] = 100_000
    patience: Annotated[
        int | None,
        About("early stopping: validations without a better loss before stopping; left out: never", ge=1),
    ] = None
    save: Annotated[SaveSpec, About("checkpoints")] = SaveSpec()

    def __post_init__(self) -> None:
        if self.minutes is not None and self.schedule.kind != "wsd":
            raise RecipeError(
                f"a {self.schedule.kind} schedule must know its steps beforehand, and a time budget does not",
                where="minutes",
                advice='set training.schedule = { kind = "wsd" }, whose decay begins when the time left says so',
            )
