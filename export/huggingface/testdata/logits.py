"""Loads folders with transformers and compares logits and token ids with those given. Usage: logits.py TASKS.json"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

for task in json.load(open(sys.argv[1])):
    model, info = AutoModelForCausalLM.from_pretrained(task["dir"], output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    with torch.no_grad():
        got = model.eval()(torch.tensor([task["tokens"]])).logits.flatten()
    want = torch.tensor(task["logits"])
    worst = ((got - want).abs().max() / want.abs().max()).item()
    assert worst < 1e-5, (task["dir"], worst)
    tok = AutoTokenizer.from_pretrained(task["dir"])
    assert tok(task["text"])["input_ids"] == task["ids"], (task["text"], tok(task["text"]), task["ids"])
    assert tok.decode(task["ids"]) == task["text"]
