"""How a model is computed belongs to the call: threads that share a process, or a model, do not see each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from textmill.data.batch import Batch
from textmill.decoding.generate import generate
from textmill.models.build import build
from textmill.nn import mode
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, RecurrentEncoderDecoderSpec
from textmill.specs.recipe import GenerationSpec

VOCABULARY = 50
SHAPE = {"d_model": 32, "layers": 3, "heads": 4, "d_ff": 48, "context": 64}
GREEDY = GenerationSpec(tokens=24, temperature=0)
DRAWN = GenerationSpec(tokens=24, temperature=0.9, seed=3)


def ids(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def written(model, spec: GenerationSpec) -> list[int]:
    return [piece.id for piece in generate(model, [[5, 6, 7], [8, 9]], spec, ends=())]


def gradients(model, batch: Batch) -> list[torch.Tensor]:
    """Those of one training step; the gradients of the model itself are left alone."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return list(torch.autograd.grad(model(batch).square().mean(), weights))


def beside(work: Callable[[], object], *, times: int) -> tuple[threading.Event, threading.Thread, list]:
    """Work that is done again and again in another thread, until it has been done so often and is told to end."""
    begun, end, failed = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            done = 0
            while done < times or not end.is_set():
                work()
                done += 1
                begun.set()
        except BaseException as error:
            failed.append(error)
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    return end, thread, failed


@pytest.mark.parametrize("same", [False, True], ids=["another model", "the same weights"])
def test_a_model_answers_while_it_or_another_trains(same):
    """Recomputing blocks, with dropout, and looking at the attention: nothing of it reaches the thread that decodes."""
    spec = DecoderSpec(**SHAPE, dropout=0.4)
    answering = build(spec, VOCABULARY, seed=1).train(same)
    trained = answering if same else build(spec, VOCABULARY, seed=2)
    x, alone = ids(4, 12), [written(answering, rule) for rule in (GREEDY, DRAWN)]
    seen: list[int] = []

    def step() -> None:
        with mode.computing(recomputed_blocks=2), mode.capture() as maps:
            gradients(trained.train(), Batch(x, x))
        seen.append(len(maps))

    end, thread, failed = beside(step, times=3)
    found = [[written(answering, rule) for rule in (GREEDY, DRAWN)] for _ in range(5)]
    end.set()
    thread.join()
    assert not failed
    assert found == [alone] * 5
    assert set(seen) == {3}  # of every layer once, recomputed or not, and none of the other thread's
    assert trained.training


def test_one_model_in_two_threads_with_two_modes():
    model = build(DecoderSpec(**SHAPE), VOCABULARY, seed=1).eval()
    batch, steps = Batch(ids(2, 9), ids(2, 9)), 12
    plain = gradients(model, batch)
    meet, results = threading.Barrier(2), {}

    def work(name: str, **fields) -> None:
        for _ in range(steps):
            meet.wait()
            with mode.capture() if name == "looks" else nullcontext() as maps, mode.computing(**fields):
                found = gradients(model, batch)
            results.setdefault(name, []).append((found, maps))

    threads = [
        threading.Thread(target=work, args=("looks",)),
        threading.Thread(target=work, args=("recomputes",), kwargs={"recomputed_blocks": 3}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(maps) for _, maps in results["looks"]] == [3] * steps
    for found, maps in results["looks"] + results["recomputes"]:
        for one, other in zip(found, plain, strict=True):
            torch.testing.assert_close(one, other)
        assert maps is None or all(len(weights) == 2 for weights in maps)
    assert mode.current() == mode.PLAIN


def test_beams_that_look_at_a_source_beside_one_that_does_not():
    """The coverage penalty captures attention over the source while another thread decodes with the same model."""
    model = build(EncoderDecoderSpec(**SHAPE, dropout=0.2), VOCABULARY, seed=4)
    from textmill.decoding import beam
    from textmill.decoding.prompt import Prompt

    prompts = [Prompt([1], [7, 8, 9, 4]), Prompt([1], [3, 2])]
    covered = GenerationSpec(tokens=8, beams=3, coverage_penalty=0.4)
    plain = GenerationSpec(tokens=8, beams=3)
    alone = [beam.search(model, prompts, spec, ends=2) for spec in (covered, plain)]
    end, thread, failed = beside(lambda: beam.search(model, prompts, covered, ends=2), times=2)
    found = [beam.search(model, prompts, plain, ends=2) for _ in range(4)]
    end.set()
    thread.join()
    assert not failed
    assert found == [alone[1]] * 4
    assert beam.search(model, prompts, covered, ends=2) == alone[0]


def test_teacher_forcing_is_of_the_thread_that_trains():
    spec = RecurrentEncoderDecoderSpec(d_model=16, layers=1, context=24, dropout=0.0)
    model = build(spec, VOCABULARY, seed=1).train()
    batch = Batch(ids(2, 6), ids(2, 6), source=ids(2, 5, seed=3))
    with torch.no_grad():
        told = model(batch)
        with mode.computing(teacher_forcing=0.0):
            guessed = model(batch)
            seen = []
            other = threading.Thread(target=lambda: seen.append(model(batch).detach()))
            other.start()
            other.join()
    assert (guessed - told).abs().max() > 1e-3
    torch.testing.assert_close(seen[0], told)


def test_modes_end_with_their_block():
    with pytest.raises(RuntimeError), mode.computing(recomputed_blocks=2):
        assert mode.current().recomputed_blocks == 2
        with mode.computing(teacher_forcing=0.5):
            assert mode.current() == mode.Mode(recomputed_blocks=2, teacher_forcing=0.5)
        raise RuntimeError
    assert mode.current() == mode.PLAIN
