"""One training session of a run: from its newest checkpoint to the end of its steps, or to an interruption.

Everything that must survive is in the checkpoint: weights, optimiser, moving average and `Progress`. The batch
and the random numbers of a step are functions of (data, seed, step), so a session that begins where another
was killed goes on exactly as that one would have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from textmill.base.console import Reporter, TrainingStatus, counted
from textmill.base.errors import DamagedError, Interrupted, NonFiniteError
from textmill.data.loader import AnyLoader
from textmill.models import adapters
from textmill.models.model import Model
from textmill.nn import mode
from textmill.objectives.loss import Losses, evaluate_loss
from textmill.specs.recipe import Recipe
from textmill.stages.runs.board import Board, NoBoard
from textmill.stages.workspace.interrupt import Stop
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.training import budget, checkpoint, device, memory, schedule
from textmill.training.average import WeightAverage
from textmill.training.budget import Course
from textmill.training.distributed import World, placed
from textmill.training.loop import StepResult, train
from textmill.training.optimizer import Optimizer

_SMOOTHING = 0.98  # share of the old value in the smoothed loss
_VALIDATION_POSITIONS = 4096  # computed at once when the validation split is scored
_MOST_SKIPPED = 10  # steps passed over for not being finite, before the run is given up


@dataclass
class Progress:
    """Where a run stands: the part of a checkpoint that is not tensors."""

    step: int = 0  # updates made, skipped steps counted
    tokens: int = 0  # targets trained on
    smoothed: float | None = None  # loss a target
    best: float | None = None  # lowest validation loss a target
    best_step: int | None = None
    validations: int = 0  # since the best one
    micro_batch: int | None = None  # rows computed at once; kept, since it decides the order of additions
    loss_chunk: int | None = None  # tokens whose logits exist at once; kept for the same reason
    skipped: list[int] = field(default_factory=list)  # steps passed over
    seconds: float = (
        0.0  # spent, where there is a time budget; else the state would not be that of the steps alone
    )
    base: str | None = None  # content hash of the model under an adapter, of which a checkpoint holds nothing
    course: dict[str, int | None] = field(
        default_factory=dict
    )  # what was decided of it: training.budget.Course

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass
class Session:
    """A run while it trains."""

    run: Run
    data: RunData
    world: World
    compute: device.Compute
    flops_per_token: float  # forward and backward
    model: Model
    optimizer: Optimizer
    average: WeightAverage | None
    reporter: Reporter
    stop: Stop
    board: Board = field(default_factory=NoBoard)
    progress: Progress = field(default_factory=Progress)
    _saved: int = 0  # updates made before the newest checkpoint
    _durations: list[float] = field(default_factory=list)  # seconds of the last steps, for the time left
    _clock: float = field(
        default_factory=time.monotonic
    )  # when the last step ended, where there is a time budget
    _lately: list[float] = field(default_factory=list)  # seconds of the last steps, all between them included

    @property
    def recipe(self) -> Recipe:
        """What is asked."""
        return self.data.recipe

    @property
    def loader(self) -> AnyLoader:
        """What is trained on."""
        return self.data.loader()

    @property
    def course(self) -> Course:
        """What was decided of a time budget."""
        return Course(**self.progress.course)

    @property
    def steps(self) -> int:
        """Steps of the run; with a time budget the most there may be, until it is decided."""
        return self.course.steps or self.recipe.training.steps

    @property
    def _base(self) -> str | None:
        """Content hash of the model under an adapter; None: all weights are in the checkpoint."""
        start = self.recipe.start
        return None if self.recipe.tuning is None or start is None else start.hash

    def restore(self) -> bool:
        """Take up the newest whole checkpoint; damaged ones are reported. False: there is none yet."""
        newest = checkpoint.newest_whole(self.run.checkpoints)
        for error in newest.damaged if self.world.first else ():
            self.reporter.warn(f"{error}")
            self.run.event("damaged", where=error.where, what=error.what)
        if newest.path is None:
            return False
        self._take(checkpoint.load(newest.path))
        self._saved = self.progress.step
        return True

    def lost(self) -> str:
        """What is not saved at this moment, in words."""
        steps = self.progress.step - self._saved
        if not steps:
            return f"step {self._saved:,} and all before it are saved"
        what = (
            f"step {self.progress.step:,} is"
            if steps == 1
            else f"steps {self._saved + 1:,} to {self.progress.step:,} are"
        )
        return f"{what} not saved, the last checkpoint is of step {self._saved:,}"

    def _take(self, saved: checkpoint.Checkpoint) -> None:
        base = saved.state.get("base")
        if base != self._base:
            raise DamagedError(
                f"is of an adapter whose base is {base}, and this run's is {self._base}",
                where=self.run.checkpoints,
                advice="put the run's recipe back",
            )
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(placed(saved.model[name], tensor))
        self.optimizer.load_state(saved.optimizer)
        if self.average is not None:
            self.average.load_state(saved.average if saved.average is not None else saved.model)
        self.progress = Progress(**saved.state)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """The weights, and whatever else of the model is saved with them; of an adapter what is trained alone."""
        return (
            self.model.state_dict(keep_vars=True)
            if self.recipe.tuning is None
            else adapters.tensors(self.model)
        )

    def go(self) -> None:
        """Train to the end. Raises Interrupted when asked to stop (after saving), NonFiniteError as the loop."""
        self._clock = time.monotonic()
        while self.progress.step < self.steps and not self._patience_lost():
            if self.progress.step in self.progress.skipped:
                self.progress.step += 1
                continue
            until = min([step for step in self.progress.skipped if step > self.progress.step] + [self.steps])
            try:
                self._stretch(range(self.progress.step, until))
            except NonFiniteError as error:
                self._not_finite(error)
        self.save()

    def _stretch(self, steps: range) -> None:
        training = self.recipe.training
        rows = min(self.progress.micro_batch or training.batch, training.batch)
        recomputed = memory.recomputed_blocks(
            self.recipe.trained,
            training,
            self.data.vocabulary,
            self.recipe.sequence,
            rows,
            loss_chunk=self.progress.loss_chunk,
            precision=self.compute.precision,
            ranks=self.world.size,
        )
        results = train(
            self.model,
            self._losses().training,
            self.loader,
            self.optimizer,
            steps=steps,
            rates=self._rate,
            micro_batch=self.progress.micro_batch,
            clip=training.clip,
            seed=self.recipe.seed,
            world=self.world,
            autocast=self.compute.autocast,
            count=self._losses().count,
            baseline=self._losses().baseline,
            during=lambda step: mode.computing(
                recomputed_blocks=recomputed,
                teacher_forcing=self.data.objective.teacher_forcing(
                    self.recipe.objective, step, self.course.expected or training.steps
                ),
            ),
        )
        for result in results:
            self._account(result)
            done = self.progress.step
            improved = False
            decided = training.minutes is not None and self._decide()
            if done % training.evaluate_every == 0 or done == self.steps:
                improved = self._validate()
            if improved or decided or done % training.save.every == 0:
                self.save()
            if self._asked_to_stop():
                self.save()
                raise Interrupted(
                    f"stopped by {self.stop.asked or 'another rank'} after step {done} of {self.steps}, "
                    "all of it saved",
                    where=self.run.name,
                    advice="the same command resumes here",
                )
            if done >= self.steps or self._patience_lost():
                return

    def _rate(self, step: int) -> float:
        """The share of the peak learning rate at a step."""
        training = self.recipe.training
        if training.minutes is None:
            return schedule.rate(training.schedule, step, training.steps)
        return budget.rate(training, self.course, step)

    def _decide(self) -> bool:
        """Count the time since the last step, all of it; whether it decides something, which is to be saved."""
        progress, now = self.progress, time.monotonic()
        took, self._clock = now - self._clock, now
        progress.seconds += took
        if progress.step > 1:
            self._lately = [*self._lately[1 - budget.LATELY :], took]
        times = (progress.seconds, sum(self._lately) / max(len(self._lately), 1))
        if self.world.size > 1:  # the first rank's clock is everybody's
            times = self.world.sum_many([part if self.world.first else 0.0 for part in times])
        course = budget.decided(self.recipe.training, self.course, progress.step, *times)
        if course == self.course:
            return False
        progress.course = dataclasses.asdict(course)
        if course.steps is not None and self.world.first:
            self.run.event("end decided", steps=course.steps, decay_from=course.falls)
            self.reporter.note(f"the learning rate falls now, to end with step {course.steps:,}")
        return True

    def _losses(self) -> Losses:
        recipe = self.recipe
        return self.data.objective.losses(
            recipe.objective, sequence=recipe.sequence, chunk=self.progress.loss_chunk
        )

    def _account(self, result: StepResult) -> None:
        progress = self.progress
        if self.average is not None:
            self.average.update()
        progress.step = result.step + 1
        progress.tokens += result.targets
        old, made = progress.smoothed, progress.step
        # A moving average that is right from its first value on (Kingma & Ba 2015, section 3).
        share = (1 - _SMOOTHING) / (1 - _SMOOTHING**made)
        progress.smoothed = result.loss if old is None else old + share * (result.loss - old)
        progress.micro_batch = result.micro_batch
        if self.world.first:
            self._tell(result)

    def _tell(self, result: StepResult) -> None:
        progress, training = self.progress, self.recipe.training
        steps = self.course.steps or self.course.expected or training.steps
        speed = result.tokens / result.seconds
        rate = result.rate * self.recipe.training.optimizer.lr
        peak = self.flops_per_token * speed / (device.peak_flops(self.compute) * self.world.size)
        self._durations = [*self._durations[-49:], result.seconds]
        self.run.log(
            {
                "step": progress.step,
                "loss": result.loss,
                "smoothed": progress.smoothed,
                "learning_rate": rate,
                "grad_norm": result.grad_norm,
                "tokens": progress.tokens,
                "tokens_per_second": round(speed, 1),
                "mfu": round(peak, 4),
                "seconds": round(result.seconds, 4),
            }
        )
        self.board.write(
            progress.step,
            {
                "loss/training": result.loss,
                "learning_rate": rate,
                "grad_norm": result.grad_norm,
                "tokens_per_second": speed,
            },
        )
        left = sum(self._durations) / len(self._durations) * (steps - progress.step)
        if training.minutes is not None:
            left = max(0.0, 60 * training.minutes - progress.seconds)
        smoothed = progress.smoothed if progress.smoothed is not None else math.nan
        self.reporter.training(
            TrainingStatus(
                progress.step,
                steps,
                result.loss,
                smoothed,
                rate,
                result.grad_norm,
                speed,
                peak,
                progress.best,
                left,
            )
        )

    def _validate(self) -> bool:
        """Score the validation split; whether it is the best validation so far. With an empty split: never."""
        progress = self.progress
        nats, targets = self.validation_loss()
        if targets == 0:
            return False
        loss = nats / targets
        if not math.isfinite(loss):
            progress.validations += 1
            if self.world.first:
                self.run.event("validation not finite", step=progress.step)
                self.reporter.warn(
                    f"the validation loss after step {progress.step:,} is not a finite number: it does not count "
                    "as the best"
                )
            return False
        if self.world.first:
            self.run.log({"step": progress.step, "validation": loss})
            self.board.write(progress.step, {"loss/validation": loss})
        improved = progress.best is None or loss < progress.best
        if improved:
            progress.best, progress.best_step, progress.validations = loss, progress.step, 0
        else:
            progress.validations += 1
        return improved

    def validation_loss(self) -> tuple[float, int]:
        """(nats, targets) of the first `training.evaluate_tokens` of the validation split, averaged weights if any."""
        averaged = self.average.applied() if self.average is not None else contextlib.nullcontext()
        with averaged, self.compute.autocast():
            return evaluate_loss(self.model, self._validation_batches(), self._losses().validation)

    def _validation_batches(self) -> Iterator[Any]:
        if not len(self.data.store("validation")):
            return
        rows = max(1, _VALIDATION_POSITIONS // self.recipe.sequence)
        for item in self.data.loader("validation").evaluation(
            rows, tokens=self.recipe.training.evaluate_tokens
        ):
            yield item.batch.to(self.compute.device)

    def _patience_lost(self) -> bool:
        patience = self.recipe.training.patience
        return patience is not None and self.progress.validations >= patience

    def _asked_to_stop(self) -> bool:
        return self.world.sum(int(bool(self.stop))) > 0 if self.world.size > 1 else bool(self.stop)

    def save(self) -> None:
        """Write a checkpoint, then remove what the policy does not keep."""
        progress = self.progress
        progress.base = self._base
        if self.data.objective.settle is not None:
            self.data.objective.settle(self.recipe.objective, self.model, self.data.loader())
        model = self.world.whole(self._tensors())
        optimizer = self.world.whole(self.optimizer.state())
        average = self.world.whole(self.average.state()) if self.average is not None else None
        if not self.world.first:
            self.world.barrier()
            return
        checkpoint.save(
            self.run.checkpoints,
            progress.step,
            model=model,
            optimizer=optimizer,
            average=average,
            state=progress.plain(),
        )
        self._saved = progress.step
        self.run.event("saved", step=progress.step)
        checkpoint.prune(self.run.checkpoints, self.recipe.training.save, progress.best_step)
        self.world.barrier()

    def _not_finite(self, error: NonFiniteError) -> None:
        """Name the documents of the step; then stop, or go back to the last checkpoint and pass it over."""
        step = error.step
        documents = self.loader.documents(step)
        named = ", ".join(document for document, _ in documents[:5])
        if self.world.first:
            self.run.event("not finite", step=step + 1, documents=[document for document, _ in documents])
        skipped = [*self.progress.skipped, step]
        if self.recipe.training.nonfinite == "stop" or len(skipped) > _MOST_SKIPPED:
            raise NonFiniteError(
                f"{error.what}; the batch held {counted(len(documents), 'document')}: {named}"
                + (", …" if len(documents) > 5 else ""),
                where=self.run.name,
                step=step,
                advice=f"`textmill data where {self.run.name} --step {step + 1}` lists them; lower the learning rate, "
                'or set training.nonfinite = "skip"',
            ) from None
        if self.world.first:
            self.reporter.warn(
                f"step {step + 1:,} was not finite: going back to the last checkpoint, and skipping this step"
            )
        if not self.restore():
            raise error
        self.progress.skipped = sorted({*skipped, *self.progress.skipped})
        self.save()
