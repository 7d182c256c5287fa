"""One iteration of self-rewarding by hand: transformers answers and judges, TRL trains. plain_trl.py SETTINGS.json

K answers a prompt in padded batches of 64, the expected score of each under the probabilities of 0 to 5, best against
worst, DPO. What a careful person would write without a toolkit: no store, no resuming, no checks.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

BATCH, SCALE = 64, "012345"
settings = json.loads(Path(sys.argv[1]).read_text())
tokenizer = AutoTokenizer.from_pretrained(settings["model"], padding_side="left")
network = AutoModelForCausalLM.from_pretrained(settings["model"], use_safetensors=True, dtype=settings["dtype"]).eval()
torch.manual_seed(0)


def batches(conversations, lead=""):
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) + lead for c in conversations]
    for start in range(0, len(texts), BATCH):
        yield tokenizer(texts[start : start + BATCH], padding=True, return_tensors="pt", add_special_tokens=False)


def user(text):
    return {"role": "user", "content": text}


@torch.inference_mode()
def answered(prompts):
    answers = []
    for batch in batches([[user(prompt)] for prompt in prompts]):
        made = network.generate(
            **batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=settings["max_tokens"]
        )
        answers += tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


@torch.inference_mode()
def scored(prompts, answers):
    points = [tokenizer.encode(digit, add_special_tokens=False)[0] for digit in SCALE]
    system, scores = {"role": "system", "content": settings["system"]}, []
    rubric = settings["rubric"]
    asked = [rubric.replace("{instruction}", p).replace("{response}", a) for p, a in zip(prompts, answers, strict=True)]
    for batch in batches([[system, user(text)] for text in asked], settings["lead"]):
        likely = network(**batch, logits_to_keep=1).logits[:, -1].float()[:, points].softmax(-1)
        scores += (likely @ torch.arange(len(SCALE)).float()).tolist()
    return scores


prompts = Path(settings["prompts"]).read_text().splitlines()
repeated = [prompt for prompt in prompts for _ in range(settings["k"])]
answers = answered(repeated)
pools = {prompt: [] for prompt in prompts}
for prompt, answer, score in zip(repeated, answers, scored(repeated, answers), strict=True):
    pools[prompt].append((score, answer))
rows = []
for prompt, pool in pools.items():
    (low, rejected), (high, chosen) = min(pool), max(pool)
    if high > low and chosen != rejected:
        sides = [{"role": "assistant", "content": text} for text in (chosen, rejected)]
        rows.append({"prompt": [user(prompt)], "chosen": sides[:1], "rejected": sides[1:]})
pairs = Dataset.from_list(rows)
pairs.to_json(Path(settings["out"]) / "pairs.jsonl")
network = None

config = DPOConfig(settings["out"], report_to="none", save_strategy="no", **settings["training"])
trainer = DPOTrainer(settings["model"], args=config, train_dataset=pairs, processing_class=tokenizer)
trainer.train()
trainer.save_model()
