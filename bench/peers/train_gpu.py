"""The GPU jobs of `ringo bench` in PyTorch, compiled, bf16 autocast, fused AdamW: one line of JSON.

    python3 bench/peers/train_gpu.py --job gpt2-124m|gpt2-350m|resnet18 [--attention flash|cudnn] [--seconds 20]
"""

import argparse
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):  # (B, T, C)
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.out(y)
        return x + self.proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, heads, width, context, vocab):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        logits = self.head(self.ln_f(self.blocks(x)))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def make(job):
    """Returns the loss function's model, its inputs and what a step counts."""
    if job == "resnet18":
        import torchvision

        net = torchvision.models.resnet18().cuda().to(memory_format=torch.channels_last)

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x, y):
                return F.cross_entropy(self.net(x).float(), y)

        x = torch.randn(256, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
        return Classifier(), (x, torch.randint(1000, (256,), device="cuda")), 256
    layers, heads, width, batch = {"gpt2-124m": (12, 12, 768, 64), "gpt2-350m": (24, 16, 1024, 32)}[job]
    tokens = torch.randint(50257, (batch, 1024), device="cuda")
    # The vocabulary is a multiple of 64, as ringo's planner and llm.c make of 50257: products are faster then.
    return GPT(layers, heads, width, 1024, 50304).cuda(), (tokens, tokens.roll(-1, 1)), batch * 1024


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--job", default="gpt2-124m")
    a.add_argument("--attention", default="flash", choices=["flash", "cudnn"])
    a.add_argument("--seconds", type=float, default=20)
    a = a.parse_args()
    torch.set_float32_matmul_precision("high")
    model, batch, count = make(a.job)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model)
    backend = SDPBackend.FLASH_ATTENTION if a.attention == "flash" else SDPBackend.CUDNN_ATTENTION

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(backend):
            loss = compiled(*batch)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(10):
        step()
    torch.cuda.synchronize()
    times, end = [], time.time() + a.seconds
    while time.time() < end or len(times) < 5:
        start = time.perf_counter()
        step().item()
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    ms = times[len(times) // 2]
    print(json.dumps({"job": a.job, "framework": "torch " + torch.__version__, "attention": a.attention, "ms": ms,
                      "min_ms": times[0], "per_s": count / ms * 1e3, "peak_bytes": torch.cuda.max_memory_allocated()}))


main()
