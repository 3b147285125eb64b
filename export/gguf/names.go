package gguf

import (
	"fmt"
	"strings"

	"ringo/models"
)

// layer maps the last part of a weight's name to llama.cpp's (llama-arch.cpp).
var (
	gptLayer = map[string]string{"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
		"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
	llamaLayer = map[string]string{"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
		"self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
	outer = map[string]string{"transformer.wte": "token_embd", "transformer.wpe": positions, "transformer.ln_f": "output_norm",
		"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
)

// positions is llama.cpp's name of learned positions, which stay in f32.
const positions = "position_embd"

// nameOf returns llama.cpp's name of a weight.
func nameOf(weight string) (string, error) {
	dot := strings.LastIndexByte(weight, '.')
	stem, kind := weight[:max(dot, 0)], weight[dot+1:]
	if name := outer[stem]; name != "" {
		return name + "." + kind, nil
	}
	for prefix, layer := range map[string]map[string]string{"transformer.h.": gptLayer, "model.layers.": llamaLayer} {
		rest, ok := strings.CutPrefix(stem, prefix)
		number, part, ok2 := strings.Cut(rest, ".")
		if name := layer[part]; ok && ok2 && name != "" {
			return fmt.Sprintf("blk.%s.%s.%s", number, name, kind), nil
		}
	}
	return "", fmt.Errorf("gguf: weight %q has no name in llama.cpp", weight)
}

// architecture returns the metadata that says what kind of model it is and its sizes.
func architecture(c models.Config) ([]pair, error) {
	u := func(key string, v int) pair { return pair{key, uint32(v)} }
	switch c.Name {
	case "gpt":
		return []pair{{"general.architecture", "gpt2"},
			u("gpt2.context_length", c.Context), u("gpt2.embedding_length", c.Width), u("gpt2.block_count", c.Layers),
			u("gpt2.feed_forward_length", 4*c.Width), u("gpt2.attention.head_count", c.Heads),
			{"gpt2.attention.layer_norm_epsilon", float32(c.NormEps)}}, nil
	case "llama":
		return []pair{{"general.architecture", "llama"},
			u("llama.context_length", c.Context), u("llama.embedding_length", c.Width), u("llama.block_count", c.Layers),
			u("llama.feed_forward_length", c.Hidden), u("llama.attention.head_count", c.Heads), u("llama.attention.head_count_kv", c.KVHeads),
			{"llama.attention.layer_norm_rms_epsilon", float32(c.NormEps)}, u("llama.rope.dimension_count", c.Width/c.Heads),
			{"llama.rope.freq_base", float32(c.RopeBase)}, u("llama.vocab_size", c.Vocab)}, nil
	}
	return nil, fmt.Errorf("gguf: model %s has no form that llama.cpp runs, expected gpt or llama; export onnx or safetensors", c.Name)
}
