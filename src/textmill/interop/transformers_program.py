"""What transformers makes of a model's directory, in a process that knows nothing but transformers and the directory.

It is run by base/confined.py and imports nothing of Textmill: what it says is what anybody gets who loads the model by
AutoTokenizer, an AutoModel and `pipeline`. A request names the directory and holds raw texts, and ids that Textmill
made of them; the answer holds ids, answers and labels, and logits lie in the safetensors file the request names.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")


def begin(setting: dict):
    """setting: {"threads"}, of torch."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch
    import transformers

    torch.set_num_threads(setting["threads"])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return answer


def _model(cls: Any, where: dict) -> Any:
    """The model of a directory, or of an adapter's: its base, with peft's layers in it."""
    import torch

    config = Path(where["pretrained_model_name_or_path"]) / "adapter_config.json"
    if not config.is_file():
        return cls.from_pretrained(**where, dtype=torch.float32).eval()
    import peft

    base = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    model = cls.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, config.parent).get_base_model().eval()


def answer(request: dict) -> dict:
    """All that is asked of one directory. {"lacking": …} where transformers wants a package that is not installed."""
    import torch
    import transformers
    from safetensors.torch import save_file

    where = {"pretrained_model_name_or_path": request["directory"], "local_files_only": True}
    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**where)
    except ImportError as error:
        return {"lacking": str(error)}
    model = _model(getattr(transformers, request["auto"]), where)
    logits: dict = {}
    with torch.inference_mode():
        reader = _Reader(tokenizer, model, request["kind"], request["body"])
        for number, row in enumerate(request["given"]):
            logits[f"given.{number}"] = reader.given(row)
        for number, text in enumerate(request["read"]):
            logits[f"alone.{number}"] = reader.logits([text])[0]
        for number, rows in enumerate(reader.logits(request["read"]) if request["read"] else ()):
            logits[f"together.{number}"] = rows
        for number, pair in enumerate(request["pairs"]):
            logits[f"pair.{number}"] = reader.logits([pair[0]], [pair[1]])[0]
        heard = {
            "ids": [tokenizer(text)["input_ids"] for text in request["texts"]],
            "split": [tokenizer(text, split_special_tokens=True)["input_ids"] for text in request["split"]],
            "together": _together(tokenizer, request["texts"]),
            "pairs": [_pair(tokenizer, *pair) for pair in request["pairs"]],
            "written": reader.written(request["prompts"], request["length"]) if request["prompts"] else {},
            "labels": _labels(transformers, request, tokenizer, model) if request["labelled"] else [],
            "chats": [_chat(tokenizer, messages) for messages in request["chats"]],
        }
    save_file({name: rows.float().contiguous() for name, rows in logits.items()}, request["out"])
    return heard | {"textmill": any(name.partition(".")[0] == "textmill" for name in sys.modules)}


def _together(tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of texts in one batch, padding left out."""
    if not texts:
        return []
    read = tokenizer(texts, padding=True)
    pairs = zip(read["input_ids"], read["attention_mask"], strict=True)
    return [[token for token, real in zip(ids, mask, strict=True) if real] for ids, mask in pairs]


def _pair(tokenizer, first: str, second: str) -> dict:
    read = tokenizer(first, second)
    return {"ids": read["input_ids"], "segments": read.get("token_type_ids")}


def _chat(tokenizer, messages: list[dict]) -> list[int]:
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    return list(ids["input_ids"])


class _Reader:
    """A tokenizer and a model, as whoever loads the two uses them."""

    def __init__(self, tokenizer, model, kind: str, body: bool) -> None:
        self.tokenizer, self.model, self.kind, self.body = tokenizer, model, kind, body

    def given(self, row: dict):
        """(T, V) logits of ids that were made elsewhere."""
        import torch

        ids = torch.tensor([row["ids"]])
        if row["source"] is not None:
            read = self.model(input_ids=torch.tensor([row["source"]]), decoder_input_ids=ids)
        else:
            read = self.model(ids)
        return self._rows(read)[0]

    def logits(self, texts: list[str], seconds: list[str] | None = None) -> list:
        """The logits of each text of a batch, (T, V); padding left out."""
        read = self.tokenizer(texts, seconds, return_tensors="pt", padding=len(texts) > 1)
        mask = read["attention_mask"]
        if self.kind == "decoder" and not bool(mask.all()):  # as `generate` counts them
            read["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if self.kind == "encoder-decoder":
            inputs, mask = self._targets(texts)
            read |= {"decoder_input_ids": inputs, "decoder_attention_mask": mask}
        rows = self._rows(self.model(**read))
        if rows.ndim == 2:  # one row a text
            return list(rows[:, None])
        return [row[real.bool()] for row, real in zip(rows, mask, strict=True)]

    def _targets(self, texts: list[str]) -> tuple:
        """Each text as the beginning of a target, behind what the directory says a target begins with."""
        import torch

        start = self.model.config.decoder_start_token_id
        said = [self.tokenizer(text_target=text, add_special_tokens=False)["input_ids"] for text in texts]
        rows = [[start, *ids] for ids in said]
        width = max(map(len, rows))
        inputs = torch.tensor([row + [start] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return inputs, mask

    def _rows(self, read):
        """(B, T, V), or (B, C) where there is one row a text."""
        import torch

        if self.body:
            return read.last_hidden_state
        if self.kind == "answer":
            return torch.stack((read.start_logits, read.end_logits), dim=-1)
        if hasattr(read, "prediction_logits"):
            return read.prediction_logits
        return read.logits

    def written(self, texts: list[str], length: int) -> dict:
        """What the model writes after texts, or from them, by the likeliest token: one at a time and in a batch by
        `generate`, and what the pipeline of decoders says."""
        import transformers

        found: dict = {
            "alone": [self._write([text], length)[0] for text in texts],
            "together": self._write(texts, length),
            "pipeline": None,
        }
        if self.kind == "decoder":
            line = transformers.pipeline(
                "text-generation", model=self.model, tokenizer=self.tokenizer, device="cpu"
            )
            said = line(texts, **self._greedily(length), return_full_text=False)
            found["pipeline"] = [answers[0]["generated_text"] for answers in said]
        return found

    def _greedily(self, length: int) -> dict:
        least = getattr(self.model.generation_config, "min_new_tokens", None) or 0
        return {"max_new_tokens": length, "min_new_tokens": min(least, length), "do_sample": False}

    def _write(self, texts: list[str], length: int) -> list[list[int]]:
        side = {} if self.kind == "encoder-decoder" or len(texts) == 1 else {"padding_side": "left"}
        read = self.tokenizer(texts, padding=len(texts) > 1, return_tensors="pt", **side)
        made = self.model.generate(**read, **self._greedily(length))
        begun = 1 if self.kind == "encoder-decoder" else read["input_ids"].shape[1]
        return made[:, begun:].tolist()


def _labels(transformers, request: dict, tokenizer, model) -> list:
    """What the pipeline of the card says of texts."""
    line = transformers.pipeline(request["task"], model=model, tokenizer=tokenizer, device="cpu")
    texts = request["labelled"]
    if request["task"] == "fill-mask":
        return [line(f"{text} {tokenizer.mask_token}", top_k=1)[0]["token"] for text in texts]
    if request["task"] == "token-classification":
        said = [line(text, ignore_labels=[]) for text in texts]
        return [[[found["index"], found["entity"]] for found in row] for row in said]
    batches = (line(texts, top_k=None, batch_size=size) for size in (1, len(texts)))
    return [[{found["label"]: found["score"] for found in row} for row in batch] for batch in batches]
