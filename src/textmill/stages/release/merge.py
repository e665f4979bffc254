"""`textmill merge`: an adapter and its base as one model, and how far rounding moves its logits."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.release.verify import TEXTS, read_text
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.models import load_model
from textmill.stages.workspace.workspace import Workspace

TOLERANCE = (
    1e-3  # largest |Δ logit| that goes without being asked for: float32 sums in another order stay far below
)
DTYPES = ("fp32", "bf16", "fp16")
_TOKENS = 512  # of each text that is compared on


def merge(
    workspace: Workspace,
    target: str,
    path: Path,
    *,
    files: Sequence[Path] = (),
    dtype: str = "fp32",
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Write the standard directory of an adapter merged into its base, and say what that changed.

    files: texts to compare on; left out, a built-in mix. dtype: of the weights written; in 16 bits the additions are
    rounded with them. The merged weights, as written, are read again and held against the adapter beside its base:
    the largest |Δ logit|, and the mean KL in nats per token.

    Raises TextmillError, and writes nothing, where the largest |Δ logit| is over `tolerance`, where that is not an
    adapter, and for virtual tokens; RecipeError for a dtype there is not.
    """
    import torch

    from textmill.base.files import atomic_directory, check_free
    from textmill.interop import forward_passes
    from textmill.interop.check import compare
    from textmill.interop.huggingface import directory

    if dtype not in DTYPES:
        raise RecipeError(f"{dtype!r} is not one of {', '.join(DTYPES)}", where="--dtype")
    check_free(path)
    adapted = load_model(workspace, locate_model(workspace, target))
    if adapted.adapter is None:
        raise TextmillError("is a model, not an adapter: there is nothing to merge", where=target)
    batches = forward_passes.batches_of(adapted, [read_text(file) for file in files] or TEXTS, _TOKENS)
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    origin = {"merged": {"adapter": target, "base": adapted.adapter.name, "dtype": dtype}}
    whole = adapted.merged()
    # a copy: what is not merged is the base's own, which stays as it is
    model = deepcopy(whole.model).to(kinds[dtype])
    whole = replace(whole, model=model, info={**adapted.info, **origin})
    with atomic_directory(path, private=False) as partial:
        directory.write(partial, whole)
        again = directory.read_directory(partial).model.float().eval()
        with torch.inference_mode():
            reference = forward_passes.alone(adapted.model, batches)
            found = compare(
                "merged", reference, lambda: forward_passes.alone(again, batches), tolerance=tolerance
            )
        delta, kl = found.max_difference, found.mean_kl
        if delta is None or not delta <= tolerance:
            raise TextmillError(
                f"merged in {dtype}, its logits differ from the adapter's by up to {delta:.2g} "
                f"(mean KL {kl:.2g} nats per token), and {tolerance:g} is allowed; nothing was written",
                where=target,
                advice="keep the adapter beside its base, write --dtype fp32, or allow more by --tolerance",
            )
    return {
        "adapter": target,
        "model": str(path),
        "dtype": dtype,
        "max_difference": delta,
        "mean_kl": kl,
        "texts": len(batches),
        "tokens": sum(map(forward_passes.tokens_of, batches)),
        "notes": list(adapted.warnings),
    }
