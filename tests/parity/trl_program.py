"""What TRL says of a batch of preferences: run by hand in an environment of its own, its figures stand in trl.json.

python trl_program.py FOLDER > trl.json        # FOLDER as test_trl.py writes it: --basetemp, folder of `pair`
"""

import json
import sys
from pathlib import Path

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

PROBES = (
    "model.embed_tokens.weight",
    "lm_head.weight",
    "model.norm.weight",
    "model.layers.0.mlp.down_proj.weight",
)


def main(folder: Path) -> None:
    rows = json.loads((folder / "batch.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder / "start")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    some = Dataset.from_list([{"prompt": "a b", "chosen": " c", "rejected": " d"}] * 2)
    thumbs = Dataset.from_list([{"prompt": "a b", "completion": " c", "label": one} for one in (True, False)])
    common = {"output_dir": str(folder / "out"), "use_cpu": True, "bf16": False, "report_to": []}
    common |= {"gradient_checkpointing": False, "disable_dropout": True, "per_device_train_batch_size": 2}

    def models():
        return [
            AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
            for name in ("policy", "start")
        ]

    found = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    for name, more in {
        "dpo": {"loss_type": ["sigmoid"], "beta": 0.3},
        "ipo": {"loss_type": ["ipo"], "beta": 0.3},
    }.items():
        policy, start = models()
        trainer = DPOTrainer(
            policy, start, args=DPOConfig(**common, **more), train_dataset=some, processing_class=tokenizer
        )
        batch = trainer.data_collator(
            [{key: row[key] for key in row if key.endswith("_ids")} for row in rows]
        )
        loss = trainer._compute_loss(trainer.model, batch, False)
        found[name] = said(trainer, loss, ("rewards/chosen", "rewards/rejected", "rewards/margins"))

    policy, start = models()
    trainer = KTOTrainer(
        policy,
        start,
        args=KTOConfig(**common, beta=0.3, desirable_weight=1.5, undesirable_weight=0.8),
        train_dataset=thumbs,
        processing_class=tokenizer,
    )
    single = [
        {
            "prompt_ids": row["prompt_ids"],
            "completion_ids": row["chosen_ids" if good else "rejected_ids"],
            "label": good,
        }
        for row in rows
        for good in (True, False)
    ]
    for number, one in enumerate(single):
        one["KL_completion_ids"] = single[(number + 1) % len(single)]["completion_ids"]
    loss = trainer._compute_loss(trainer.model, trainer.data_collator(single), False)
    found["kto"] = said(trainer, loss, ("kl", "rewards/chosen", "rewards/rejected"))

    policy, _ = models()
    trainer = ORPOTrainer(
        policy, args=ORPOConfig(**common, beta=0.4), train_dataset=some, processing_class=tokenizer
    )
    batch = {}
    for name in ("chosen", "rejected"):  # the prompt is its last token alone: TRL learns prompts, too
        whole = [torch.tensor(row["prompt_ids"][-1:] + row[f"{name}_ids"][:5]) for row in rows]
        batch[f"{name}_input_ids"] = torch.stack(whole)
        batch[f"{name}_attention_mask"] = torch.ones_like(batch[f"{name}_input_ids"])
        batch[f"{name}_labels"] = batch[f"{name}_input_ids"].clone()
        batch[f"{name}_labels"][:, 0] = -100
    loss, metrics = trainer.get_batch_loss_metrics(trainer.model, batch)
    loss.backward()
    found["orpo"] = {"loss": loss.item(), **gradient(trainer.model)}
    found["orpo"] |= {name: float(metrics[name]) for name in ("rewards/chosen", "rewards/rejected")}
    print(json.dumps(found, indent=1))


def said(trainer, loss, names) -> dict:
    loss.backward()
    metrics = trainer._metrics["eval"]  # the models were never put in training mode
    return {"loss": loss.item(), **gradient(trainer.model)} | {
        name: metrics[name][-1] for name in names if name in metrics
    }


def gradient(model) -> dict:
    """Its length, and what a few weights' come to along a fixed direction."""
    parameters = {name.removeprefix("module."): weight.grad for name, weight in model.named_parameters()}
    squares = sum(grad.double().square().sum() for grad in parameters.values())
    probes = {
        name: float(
            (
                parameters[name].double().flatten() * torch.arange(parameters[name].numel()).double().cos()
            ).sum()
        )
        for name in PROBES
    }
    return {"gradient": float(squares.sqrt()), "along": probes}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
