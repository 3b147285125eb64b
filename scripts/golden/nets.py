"""The models of models/, written independently in plain PyTorch with the parameter names of Hugging Face and
torchvision. Shapes: B batch, T time, C channels, H heads, D head size, V vocabulary."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Conv1D(nn.Module):
    """Hugging Face's GPT-2 linear layer: weight (in, out), y = x W + b."""

    def __init__(self, i, o):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(i, o)), nn.Parameter(torch.zeros(o))

    def forward(self, x):
        return x @ self.weight + self.bias


class GPTBlock(nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(c, 3 * c), "c_proj": Conv1D(c, c)})
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(c, 4 * c), "c_proj": Conv1D(4 * c, c)})

    def forward(self, x):  # (B, T, C)
        b, t, c = x.shape
        q, k, v = self.attn["c_attn"](self.ln_1(x)).split(c, dim=2)
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in (q, k, v))  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocab, context, layers, heads, width):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocab, width), "wpe": nn.Embedding(context, width),
            "h": nn.ModuleList(GPTBlock(width, heads) for _ in range(layers)), "ln_f": nn.LayerNorm(width)})

    def forward(self, ids):  # (B, T) -> (B, T, V)
        m = self.transformer
        x = m["wte"](ids) + m["wpe"].weight[: ids.shape[1]]
        for h in m["h"]:
            x = h(x)
        return m["ln_f"](x) @ m["wte"].weight.T


class RMSNorm(nn.Module):
    def __init__(self, c, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(c)), eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def rope(x, base, interleaved):  # (B, H, T, D)
    """Rotates pairs by t * base^(-2i/D): pairs are (i, i + D/2) as in Hugging Face, or (2i, 2i + 1) as in llama2.c."""
    t, d = x.shape[2:]
    freq = base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = torch.arange(t, dtype=torch.float64)[:, None] * freq  # (T, D/2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., : d // 2], x[..., d // 2:])
    ra, rb = a * cos - b * sin, a * sin + b * cos
    return torch.stack((ra, rb), dim=-1).flatten(-2) if interleaved else torch.cat((ra, rb), dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o, c, d = o, o["width"], o["width"] // o["heads"]
        lin = lambda i, j: nn.Linear(i, j, bias=False)
        self.self_attn = nn.ModuleDict({"q_proj": lin(c, c), "k_proj": lin(c, o["kv_heads"] * d),
                                        "v_proj": lin(c, o["kv_heads"] * d), "o_proj": lin(c, c)})
        self.mlp = nn.ModuleDict({"gate_proj": lin(c, o["hidden"]), "up_proj": lin(c, o["hidden"]),
                                  "down_proj": lin(o["hidden"], c)})
        self.input_layernorm = RMSNorm(c, o["norm_eps"])
        self.post_attention_layernorm = RMSNorm(c, o["norm_eps"])

    def forward(self, x):  # (B, T, C)
        o, (b, t, c) = self.o, x.shape
        n, a = self.input_layernorm(x), self.self_attn
        q, k, v = (a[p](n).view(b, t, -1, c // o["heads"]).transpose(1, 2) for p in ("q_proj", "k_proj", "v_proj"))
        q, k = (rope(z, o["rope_base"], o["rope_interleaved"]) for z in (q, k))
        rep = o["heads"] // o["kv_heads"]
        k, v = k.repeat_interleave(rep, dim=1), v.repeat_interleave(rep, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + a["o_proj"](y.transpose(1, 2).reshape(b, t, c))
        n, m = self.post_attention_layernorm(x), self.mlp
        return x + m["down_proj"](F.silu(m["gate_proj"](n)) * m["up_proj"](n))


class Llama(nn.Module):
    def __init__(self, **o):
        super().__init__()
        c = o["width"]
        self.model = nn.ModuleDict({"embed_tokens": nn.Embedding(o["vocab"], c),
                                    "layers": nn.ModuleList(LlamaBlock(o) for _ in range(o["layers"])),
                                    "norm": RMSNorm(c, o["norm_eps"])})
        if not o["tied"]:
            self.lm_head = nn.Linear(c, o["vocab"], bias=False)

    def forward(self, ids):  # (B, T) -> (B, T, V)
        x = self.model["embed_tokens"](ids)
        for h in self.model["layers"]:
            x = h(x)
        x = self.model["norm"](x)
        return self.lm_head(x) if hasattr(self, "lm_head") else x @ self.model["embed_tokens"].weight.T


def convnet(input, channels, hidden, classes):
    layers, (c, h, w) = [], input
    for o in channels:
        layers += [nn.Conv2d(c, o, 3), nn.ReLU()]
        c, h, w = o, h - 2, w - 2
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(c * (h // 2) * (w // 2), hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


class MLP(nn.Module):
    """Linear and ReLU in turn; categories enter through one embedding each, beside the numeric features."""

    def __init__(self, input, sizes, classes, categories=(), embed=0):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, embed) for n in categories)
        sizes = [math.prod(input) + embed * len(categories), *sizes]
        for i, (a, b) in enumerate(zip(sizes, [*sizes[1:], classes])):
            self.add_module(str(2 * i), nn.Linear(a, b))
        self.count = len(sizes)

    def forward(self, x, categories=None):
        x = x.flatten(1)
        if categories is not None:
            x = torch.cat([x] + [e(categories[:, i]) for i, e in enumerate(self.embeddings)], dim=1)
        for i in range(self.count):
            x = self.get_submodule(str(2 * i))(x)
            x = F.relu(x) if i < self.count - 1 else x
        return x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut is a 1x1 convolution (torchvision) or, in the
    CIFAR family, every second pixel and zero channels at the end (option A of He et al. 2015)."""

    def __init__(self, i, o, stride, project):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.stride, self.more = stride, o - i
        if project and (stride > 1 or i != o):
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.stride > 1 or self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, layers, width, input, classes):
        super().__init__()
        cifar = layers not in (18, 34)
        counts = [(layers - 2) // 6] * 3 if cifar else {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}[layers]
        self.conv1, self.bn1 = nn.Conv2d(input[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        c, self.stages = width, len(counts)
        for s, n in enumerate(counts):
            blocks = []
            for b in range(n):
                o = width << s
                blocks.append(BasicBlock(c, o, 2 if s > 0 and b == 0 else 1, not cifar))
                c = o
            self.add_module(f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for s in range(self.stages):
            x = self.get_submodule(f"layer{s + 1}")(x)
        return self.fc(x.mean((2, 3)))
