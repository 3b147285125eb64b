"""The jobs of `ringo bench` in PyTorch: whole training steps on synthetic data, AdamW, one JSON line per job.

Usage: train.py JOB [--threads N] [--dtype fp32|bf16] [--seconds S] [--compile]

Eager mode with the fused AdamW and scaled_dot_product_attention; bf16 is autocast with f32 master weights.
Needs: torch. Prints the fields that `ringo bench --json` prints, as far as they apply.
"""

import argparse
import json
import math
import resource
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.p = heads, dropout
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.c_attn(self.ln_1(x)).split(c, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.dropout(self.c_proj(y.transpose(1, 2).reshape(b, t, c)), self.p)
        return x + F.dropout(self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh")), self.p)


class GPT(nn.Module):
    def __init__(self, layers, heads, width, context, vocab, dropout=0.0):
        super().__init__()
        self.p = dropout
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 / math.sqrt(2 * layers) if name.endswith(("c_proj.weight", "c_out.weight")) else 0.02
                nn.init.normal_(p, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, targets):
        x = F.dropout(self.wte(ids) + self.wpe.weight[: ids.shape[1]], self.p)
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Classifier(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x, y):
        return F.cross_entropy(self.body(x), y)


def residual_stage(inp, out, stride):
    class Basic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
                                   nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
            self.s, self.grow = stride, out - inp

        def forward(self, x):
            short = x if self.s == 1 and self.grow == 0 else F.pad(x[:, :, :: self.s, :: self.s], (0, 0, 0, 0, self.grow // 2, self.grow // 2))
            return F.relu(self.a(x) + short)

    return Basic()


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inp = 16
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            layers.append(residual_stage(inp, out, stride if i == 0 else 1))
            inp = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def tokens(batch, context, vocab):
    return [torch.randint(vocab, (batch, context)) for _ in range(2)]


def images(batch, *shape):
    return [torch.randn(batch, *shape), torch.randint(10, (batch,))]


JOBS = {
    "gpt2-124m": (lambda: GPT(12, 12, 768, 64, 50257), lambda: tokens(4, 64, 50257)),
    "gpt-char": (lambda: GPT(4, 4, 128, 64, 65), lambda: tokens(12, 64, 65)),
    "gpt-baby": (lambda: GPT(6, 6, 384, 256, 65, 0.2), lambda: tokens(16, 256, 65)),
    "mnist-mlp": (lambda: Classifier(nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))),
                  lambda: images(128, 784)),
    "mnist-conv": (lambda: Classifier(nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                                    nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Linear(128, 10))), lambda: images(64, 1, 28, 28)),
    "resnet20": (lambda: Classifier(resnet20()), lambda: images(128, 3, 32, 32)),
}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("job", choices=JOBS)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    ap.add_argument("--seconds", type=float, default=6)
    ap.add_argument("--compile", action="store_true")
    a = ap.parse_args()
    torch.manual_seed(1337)
    torch.set_num_threads(a.threads)
    make, feed = JOBS[a.job]
    model, batch = make(), feed()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if a.compile else model

    def step():
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = forward(*batch)
        loss.backward()
        opt.step()
        return loss

    for _ in range(3):
        loss = step()
    times, until = [], time.perf_counter() + a.seconds
    while time.perf_counter() < until or len(times) < 5:
        t = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - t)
    times.sort()
    print(json.dumps({"job": a.job, "device": "cpu", "framework": "torch " + torch.__version__ + (" compiled" if a.compile else ""),
                      "dtype": a.dtype, "threads": a.threads, "steps": len(times), "ms": times[len(times) // 2] * 1e3, "min_ms": times[0] * 1e3,
                      "max_ms": times[-1] * 1e3, "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "loss": loss.item()}))


if __name__ == "__main__":
    main()
