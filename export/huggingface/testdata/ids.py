"""Compares ids and decoded text of tokenizer.json files with those given. Usage: ids.py TASKS.json"""
import json
import sys

from tokenizers import Tokenizer

for task in json.load(open(sys.argv[1])):
    t = Tokenizer.from_file(task["File"])
    got = t.encode(task["Text"], add_special_tokens=False).ids
    assert got == task["IDs"], (task["File"], got, task["IDs"])
    assert t.decode(got) == task["Text"], (task["File"], t.decode(got))
