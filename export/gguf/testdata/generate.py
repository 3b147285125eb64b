"""Continues texts greedily in llama.cpp (through xllamacpp) and compares with the texts given. Usage: generate.py TASKS.json"""
import faulthandler
import json
import os
import sys

import xllamacpp

faulthandler.dump_traceback_later(60, exit=True)


def complete(task):
    p = xllamacpp.CommonParams()
    p.model.path = task["Path"]
    p.n_ctx, p.n_parallel, p.warmup = 256, 1, False
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    request = {"prompt": task["Prompt"], "max_tokens": task["Tokens"], "temperature": 0, "top_k": 1}
    return xllamacpp.Server(p).handle_completions(request)


failed = 0
for task in json.load(open(sys.argv[1])):
    out = complete(task)
    text, tokens = out["choices"][0]["text"], out["usage"]["prompt_tokens"]
    if not text.startswith(task["Want"]) or tokens != task["Prompted"]:
        print(f"{task['Path']}: {text!r} after {tokens} tokens, expected {task['Want']!r} after {task['Prompted']}")
        failed = 1
sys.stdout.flush()
os._exit(failed)  # the server's threads do not always let the interpreter end
