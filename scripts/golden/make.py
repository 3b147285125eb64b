"""Writes models/testdata/NAME.json: what PyTorch gets for the first ten training steps of each small model.

    python scripts/golden/make.py [NAME ...]        (PyTorch 2.x and NumPy; about ten seconds on two cores)

Weights and batches come from philox.py by tensor name, so the files hold configuration, optimizer, losses (float32
and float64), and per tensor the first step's gradient as norm and as product with a pseudo-random vector, which
tells a permutation from a match. The models are those of nets.py."""

import json
import math
import pathlib
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F

import nets
import philox

OUT = pathlib.Path(__file__).resolve().parents[2] / "models" / "testdata"
SEED, STEPS, DISTINCT = 7, 10, 2  # two batches in turn, so that losses fall

ADAMW = {"name": "adamw", "lr": 3e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
SGD = {"name": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}

CASES = {
    "gpt": dict(batch=4, optim=ADAMW, model=dict(name="gpt", layers=2, heads=2, width=32, context=16, vocab=61)),
    "llama": dict(batch=4, optim=ADAMW, model=dict(
        name="llama", layers=2, heads=4, kv_heads=2, width=32, hidden=48, context=16, vocab=61, norm_eps=1e-5,
        rope_base=1e4, rope_interleaved=False, tied=False)),
    "llama-tied": dict(batch=4, optim=ADAMW, model=dict(
        name="llama", layers=1, heads=4, kv_heads=4, width=24, hidden=40, context=12, vocab=37, norm_eps=1e-5,
        rope_base=5e2, rope_interleaved=True, tied=True)),
    "convnet": dict(batch=8, optim=SGD, model=dict(name="convnet", input=[1, 14, 14], channels=[8, 16], hidden=32, classes=10)),
    "resnet20": dict(batch=8, optim=SGD, model=dict(name="resnet", layers=20, width=8, input=[3, 12, 12], classes=10)),
    "resnet18": dict(batch=4, optim=ADAMW, model=dict(name="resnet", layers=18, width=8, input=[3, 16, 16], classes=10)),
    "mlp": dict(batch=8, optim=ADAMW, model=dict(name="mlp", input=[20], sizes=[32, 16], classes=3)),
    "mlp-embedded": dict(batch=8, optim=SGD, model=dict(
        name="mlp", input=[6], sizes=[24], classes=2, categories=[5, 3], embed=4)),
}


def build(o):
    o = dict(o)
    name = o.pop("name")
    return {"gpt": nets.GPT, "llama": nets.Llama, "convnet": nets.convnet, "resnet": nets.ResNet, "mlp": nets.MLP}[name](**o)


def initial(name, shape):
    """Biases in [-0.1, 0.1), gains in [0.9, 1.1), matrices and filters in +-1/sqrt(elements per row)."""
    if name.endswith("bias"):
        return philox.uniform(SEED, name, shape, -0.1, 0.1)
    if len(shape) == 1:
        return philox.uniform(SEED, name, shape, 0.9, 1.1)
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return philox.uniform(SEED, name, shape, -bound, bound)


def batch(case, step, dtype):
    """The inputs of a step, and its targets."""
    m, n, s = case["model"], case["batch"], step % DISTINCT
    if "vocab" in m:
        ids = torch.from_numpy(philox.integers(SEED, f"tokens/{s}", (n, m["context"] + 1), m["vocab"]))
        return (ids[:, :-1],), ids[:, 1:]
    inputs = [torch.from_numpy(philox.uniform(SEED, f"input/{s}", (n, *m["input"]), -1, 1)).to(dtype)]
    if "categories" in m:
        cols = [philox.integers(SEED, f"category{i}/{s}", (n,), c) for i, c in enumerate(m["categories"])]
        inputs.append(torch.from_numpy(np.stack(cols, axis=1)))
    return inputs, torch.from_numpy(philox.integers(SEED, f"labels/{s}", (n,), m["classes"]))


def optimizer(net, o):
    """Weight decay applies to tensors of two or more dimensions."""
    groups = [{"params": [p for p in net.parameters() if p.dim() >= 2], "weight_decay": o["weight_decay"]},
              {"params": [p for p in net.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    if o["name"] == "adamw":
        return torch.optim.AdamW(groups, lr=o["lr"], betas=o["betas"], eps=o["eps"])
    return torch.optim.SGD(groups, lr=o["lr"], momentum=o["momentum"], nesterov=o["nesterov"])


def train(case, dtype):
    net = build(case["model"])
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(torch.from_numpy(initial(name, tuple(p.shape))))
    net = net.to(dtype)
    opt, out = optimizer(net, case["optim"]), {"losses": []}
    for step in range(STEPS):
        inputs, targets = batch(case, step, dtype)
        loss = F.cross_entropy(net(*inputs).flatten(0, -2), targets.flatten())
        opt.zero_grad()
        loss.backward()
        if step == 0:
            out["gradients"] = {name: probe(name, p.grad) for name, p in net.named_parameters()}
        opt.step()
        out["losses"].append(loss.item())
    net.eval()
    with torch.no_grad():
        inputs, targets = batch(case, 0, dtype)
        logits = net(*inputs).flatten(0, -2)
        out["eval_loss"] = F.cross_entropy(logits, targets.flatten()).item()
        out["eval_correct"] = int((logits.argmax(-1) == targets.flatten()).sum())
    return out


def probe(name, grad):
    """[norm of the gradient, its product with a uniform vector of [-1, 1)]."""
    v = torch.from_numpy(philox.uniform(SEED, "probe/" + name, tuple(grad.shape), -1, 1)).double()
    return [grad.double().norm().item(), (grad.double() * v).sum().item()]


def main(names):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in names or CASES:
        case = CASES[name]
        f32, f64 = train(case, torch.float32), train(case, torch.float64)
        doc = {"made_by": f"scripts/golden/make.py, PyTorch {torch.__version__.split('+')[0]}", "seed": SEED,
               "distinct_batches": DISTINCT, **case, "losses_f32": f32["losses"], "losses_f64": f64["losses"],
               "eval_loss": f64["eval_loss"], "eval_correct": f64["eval_correct"], "gradients": f64["gradients"]}
        text = json.dumps(doc, indent=1)
        text = re.sub(r"\[[-+.\d\se,]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list on one line
        (OUT / f"{name}.json").write_text(text + "\n")
        worst = max(abs(a / b - 1) for a, b in zip(f32["losses"], f64["losses"]))
        print(f"{name}: {f64['losses'][0]:.4f} to {f64['losses'][-1]:.4f}, eval {f64['eval_loss']:.4f}, "
              f"float32 differs by {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:])
