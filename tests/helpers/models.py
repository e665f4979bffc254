"""What a language model must do however it is built: the same at once, step by step, padded, packed and alone."""

from __future__ import annotations

import torch

from textmill.data.batch import Batch

VOCABULARY = 50


def tokens(*shape: int, vocabulary: int = VOCABULARY, seed: int = 3) -> torch.Tensor:
    return torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def batch_of(inputs: torch.Tensor, **more) -> Batch:
    return Batch(inputs=inputs, targets=inputs, **more)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@torch.no_grad()
def check_steps(model, batch: Batch, first: int, counts: tuple[int, ...]) -> None:
    """Reading `first` tokens and then so many at a time gives the logits of reading all of them at once."""
    x, whole = batch.inputs, model(batch)
    assert whole.shape == (*x.shape, VOCABULARY)
    last, state = model.begin(Batch(x[:, :first], x[:, :first], source=batch.source), capacity=x.shape[1])
    close(last, whole[:, first - 1])
    place = first
    for count in counts:
        logits, state = model.step(x[:, place : place + count], state)
        close(logits, whole[:, place : place + count])
        place += count
    assert place == x.shape[1]


@torch.no_grad()
def check_lengths(model) -> None:
    """Prompts padded on either side, in one batch, against each prompt in a batch of one."""
    x, lengths = tokens(3, 12), (3, 7, 5)
    alone = [model(batch_of(row[None, : n + 4]))[0] for row, n in zip(x, lengths, strict=True)]
    for side in ("left", "right"):
        prompts, real = torch.zeros(3, 7, dtype=torch.long), torch.zeros(3, 7, dtype=torch.bool)
        for i, n in enumerate(lengths):
            place = slice(7 - n, 7) if side == "left" else slice(0, n)
            prompts[i, place], real[i, place] = x[i, :n], True
        whole = model(batch_of(prompts, mask=real))
        for i, n in enumerate(lengths):
            close(whole[i][real[i]], alone[i][:n])
        last, state = model.begin(batch_of(prompts, mask=real), capacity=11)
        for i, n in enumerate(lengths):
            close(last[i], alone[i][n - 1])
        for k, count in ((0, 1), (1, 2), (3, 1)):
            new = torch.stack([x[i, n + k : n + k + count] for i, n in enumerate(lengths)])
            logits, state = model.step(new, state)
            for i, n in enumerate(lengths):
                close(logits[i], alone[i][n + k : n + k + count])


@torch.no_grad()
def check_documents(model) -> None:
    """Documents packed into one row give what they give alone, with padding after them or none."""
    x = tokens(1, 16)
    documents = torch.tensor([[4] * 6 + [2] * 1 + [9] * 6 + [0] * 3])
    real = torch.tensor([[True] * 13 + [False] * 3])
    packed = model(batch_of(x, documents=documents))
    padded = model(batch_of(x, documents=documents, mask=real))
    for start, stop in ((0, 6), (6, 7), (7, 13)):
        alone = model(batch_of(x[:, start:stop]))
        close(packed[:, start:stop], alone)
        close(padded[:, start:stop], alone)
