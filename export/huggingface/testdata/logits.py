"""Loads folders with transformers and compares logits and token ids with those given. With a second argument it writes
what transformers computes there, for checks without Python. Usage: logits.py TASKS.json [GOLDEN.json]"""
import hashlib
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

golden = {}
for task in json.load(open(sys.argv[1])):
    model, info = AutoModelForCausalLM.from_pretrained(task["dir"], output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    with torch.no_grad():
        got = model.eval()(torch.tensor([task["tokens"]])).logits
    want = torch.tensor(task["logits"])
    worst = ((got.flatten() - want).abs().max() / want.abs().max()).item()
    assert worst < 1e-5, (task["dir"], worst)
    tok = AutoTokenizer.from_pretrained(task["dir"])
    assert tok(task["text"])["input_ids"] == task["ids"], (task["text"], tok(task["text"]), task["ids"])
    assert tok.decode(task["ids"]) == task["text"]
    weights = hashlib.sha256(open(os.path.join(task["dir"], "model.safetensors"), "rb").read()).hexdigest()
    last = [round(x, 6) for x in got[0, -1].tolist()]
    golden[os.path.basename(task["dir"])] = {"sha256": weights, "tokens": task["tokens"], "last": last}
if len(sys.argv) > 2:
    with open(sys.argv[2], "w") as out:
        out.write("{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()) + "\n}\n")
