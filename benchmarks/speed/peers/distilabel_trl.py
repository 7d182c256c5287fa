"""One iteration of self-rewarding by a distilabel pipeline and TRL. distilabel_trl.py SETTINGS.json

TextGeneration with K generations a prompt, a step of one's own for the expected score (distilabel has no such judge),
FormatTextGenerationDPO for best against worst, DPO. Its TransformersLLM answers one prompt at a time.
"""

import json
import sys
from pathlib import Path

import torch
from distilabel.models import TransformersLLM
from distilabel.pipeline import Pipeline
from distilabel.steps import FormatTextGenerationDPO, LoadDataFromDicts, Step, StepInput
from distilabel.steps.tasks import TextGeneration
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

SCALE = "012345"


class ExpectedScore(Step):
    """The mean of the points under their probabilities, right after the words that lead a score."""

    model: str
    system: str
    rubric: str
    lead: str
    dtype: str

    def load(self):
        super().load()
        self._tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
        network = AutoModelForCausalLM.from_pretrained(self.model, use_safetensors=True, dtype=self.dtype)
        self._network = network.eval()
        self._points = [self._tokenizer.encode(digit, add_special_tokens=False)[0] for digit in SCALE]

    @property
    def inputs(self):
        return ["instruction", "generations"]

    @property
    def outputs(self):
        return ["ratings"]

    def process(self, inputs: StepInput):
        asked = [self._asked(row["instruction"], answer) for row in inputs for answer in row["generations"]]
        batch = self._tokenizer(asked, padding=True, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits = self._network(**batch, logits_to_keep=1).logits[:, -1].float()
        scores = iter((logits[:, self._points].softmax(-1) @ torch.arange(len(SCALE)).float()).tolist())
        for row in inputs:
            row["ratings"] = [next(scores) for _ in row["generations"]]
        yield inputs

    def _asked(self, prompt, answer):
        text = self.rubric.replace("{instruction}", prompt).replace("{response}", answer)
        turns = [{"role": "system", "content": self.system}, {"role": "user", "content": text}]
        return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + self.lead


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    sampling = {"max_new_tokens": settings["max_tokens"], "temperature": 1.0, "repetition_penalty": 1.0}
    with Pipeline(name="self-rewarding") as pipeline:
        prompts = Path(settings["prompts"]).read_text().splitlines()
        load = LoadDataFromDicts(data=[{"instruction": prompt} for prompt in prompts], batch_size=16)
        answer = TextGeneration(
            llm=TransformersLLM(
                model=settings["model"], torch_dtype=settings["dtype"], device="cpu", generation_kwargs=sampling
            ),
            num_generations=settings["k"],
            group_generations=True,
            input_batch_size=16,
            output_mappings={"generation": "generations", "model_name": "generation_models"},
        )
        judge = ExpectedScore(
            input_batch_size=16, **{name: settings[name] for name in ("model", "system", "rubric", "lead", "dtype")}
        )
        load >> answer >> judge >> FormatTextGenerationDPO()
    made = pipeline.run(use_cache=False)["default"]["train"]
    kept = made.filter(lambda row: row["chosen_rating"] > row["rejected_rating"])
    pairs = kept.select_columns(["chosen", "rejected"])
    pairs.to_json(Path(settings["out"]) / "pairs.jsonl")
    config = DPOConfig(settings["out"], report_to="none", save_strategy="no", **settings["training"])
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    trainer = DPOTrainer(settings["model"], args=config, train_dataset=pairs, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
