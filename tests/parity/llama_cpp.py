"""llama.cpp itself, through the package xllamacpp, in a process of its own: `ask(path, request)`.

The package is looked for in the Python that the environment variable TEXTMILL_LLAMA_CPP names, or in this one. As a
program this module reads a request as JSON on stdin and prints the answer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any


def python() -> str | None:
    """The Python that has llama.cpp; None where there is none."""
    named = os.environ.get("TEXTMILL_LLAMA_CPP")
    return named or (sys.executable if importlib.util.find_spec("xllamacpp") else None)


def ask(path: Path, **request: Any) -> dict[str, Any]:
    """What llama.cpp makes of a GGUF file.

    prompts: ids to go on from greedily, `tokens` each; texts: to be tokenised; lora: a
    file of an adapter. The answer's `prompts` hold, for each, the ids and, of the first of them, the log-probabilities
    of the `probabilities` likeliest by id.
    """
    done = subprocess.run(
        [str(python()), __file__],
        input=json.dumps({"path": str(path)} | request),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = request["path"]
    options.n_ctx, options.n_parallel, options.n_gpu_layers, options.warmup = 256, 1, 0, False
    options.cpuparams.n_threads = 2
    if "lora" in request:
        options.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(request["lora"], 1.0)]
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(options)
    answers = []
    for ids in request.get("prompts", ()):
        found = server.handle_completions(
            {
                "prompt": ids,
                "n_predict": request.get("tokens", 1),
                "n_probs": request.get("probabilities", 1),
                "temperature": 0.0,
                "cache_prompt": False,
                "ignore_eos": True,
            }
        )
        # Where all that was written is half a character, the server reports no steps.
        steps = (found["choices"][0]["logprobs"] or {"content": []})["content"]
        first = {str(one["id"]): one["logprob"] for one in steps[0]["top_logprobs"]} if steps else {}
        answers.append({"ids": [step["id"] for step in steps], "first": first})
    texts = [_tokens(server.listening_address, text) for text in request.get("texts", ())]
    return {"prompts": answers, "texts": texts}


def _tokens(address: str, text: str) -> list[int]:
    body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
    wanted = urllib.request.Request(f"{address}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(wanted) as answer:
        return json.load(answer)["tokens"]


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
