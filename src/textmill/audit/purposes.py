"""What a model of each objective is for, in the words of its card."""

from __future__ import annotations

from dataclasses import dataclass

_WRITES = (
    "It writes what is likely after the text before it, whether or not it is true. Check what it says.",
    "It repeats the errors, gaps and prejudices of its training text, and knows nothing else.",
    "It may repeat passages of its training text word for word. Do not publish it more widely than that text.",
)
_ANSWERS = (
    "It writes what is likely for its source, whether or not it is true. Check what it says.",
    *_WRITES[1:],
)
_SAYS = (
    "It says something of every text, also of one unlike any it was trained on.",
    "It repeats the errors, gaps and prejudices of its training data, and knows nothing else.",
    "What it was trained on can partly be inferred from it. Do not publish it more widely than that data.",
)


@dataclass(frozen=True)
class Purpose:
    """pipeline: Hugging Face's name of the task. loads: whether `transformers.pipeline` of that name runs it.

    writes: whether `textmill generate` does. chinese: one sentence on what it does and does not do.
    """

    pipeline: str
    task: str
    use: str
    limits: tuple[str, ...]
    chinese: str
    writes: bool = False
    loads: bool = False


_CONTINUES = "Continuing text of the kind it was trained on, and studying how such a model is made."
_UNTAUGHT = " It has not been taught to follow instructions or to hold a conversation."
_PURPOSES = {
    "causal": Purpose(
        "text-generation",
        "language modelling",
        _CONTINUES + _UNTAUGHT,
        _WRITES,
        "它只会续写文本，可能写出不实或带有偏见的内容，也可能逐字复述训练文本；使用前请人工核对。",
        writes=True,
        loads=True,
    ),
    "continue": Purpose(
        "text2text-generation",
        "language modelling",
        _CONTINUES + _UNTAUGHT,
        _ANSWERS,
        "它只会续写文本，可能写出不实或带有偏见的内容，也可能逐字复述训练文本；使用前请人工核对。",
        writes=True,
    ),
    "masked": Purpose(
        "fill-mask",
        "masked language modelling",
        "Being trained further for a task (labels, tags, answers, embeddings), and guessing words left out of a text.",
        _SAYS,
        "它只会猜测文中被遮盖的词，主要用作其他任务的起点；它会带有训练文本中的错误与偏见。",
        loads=True,
    ),
    "denoise": Purpose(
        "text2text-generation",
        "denoising",
        "Being trained further for a task that reads one text and writes another.",
        _ANSWERS,
        "它只会补全残缺的文本，主要用作其他任务的起点；它会带有训练文本中的错误与偏见。",
        writes=True,
    ),
    "pairs": Purpose(
        "text2text-generation",
        "writing a text from another",
        "Writing from a text what its training pairs wrote from theirs: a translation, a summary.",
        _ANSWERS,
        "它按训练数据的方式由源文本写出目标文本，可能有错译、遗漏或不实之处；使用前请人工核对。",
        writes=True,
    ),
    "classify": Purpose(
        "text-classification",
        "text classification",
        "Labelling texts of the kind it was trained on.",
        _SAYS,
        "它只会为文本给出训练时见过的标签，任何文本都会得到标签，可能有误；使用前请人工核对。",
        loads=True,
    ),
    "regress": Purpose(
        "text-classification",
        "text regression",
        "Estimating a number for texts of the kind it was trained on.",
        _SAYS,
        "它只会为文本估计一个数值，可能有误；使用前请人工核对。",
    ),
    "tag": Purpose(
        "token-classification",
        "tagging",
        "Tagging the words of texts of the kind it was trained on.",
        _SAYS,
        "它只会为文中的词给出训练时见过的标记，可能有误；使用前请人工核对。",
        loads=True,
    ),
    "answer": Purpose(
        "question-answering",
        "extractive question answering",
        "Finding the stretch of a given text that answers a question.",
        _SAYS,
        "它只会从给定文本中摘出一段作为答案，没有答案时也会摘；使用前请人工核对。",
    ),
}
_PURPOSES |= dict.fromkeys(("infilling", "spans"), _PURPOSES["denoise"])


def purpose(objective: str | None) -> Purpose:
    """That of an objective by its kind; of a language model where there is none."""
    return _PURPOSES[objective or "causal"]
