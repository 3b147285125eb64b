package huggingface

import (
	"fmt"
	"io"
	"strings"

	"ringo/data"
	"ringo/internal/files"
)

// A tokenizer.json (the format of Hugging Face's tokenizers library) is one of these per kind:
//
//	byte     one token per byte, in the byte alphabet of GPT-2
//	char     one token per character, no merges
//	gpt2     byte-level byte-pair encoding
//	llama2c  byte-pair encoding with "▁" for the space and single bytes where the vocabulary ends

type tokenizerJSON struct {
	Version       string       `json:"version"`
	Truncation    any          `json:"truncation"`
	Padding       any          `json:"padding"`
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    any          `json:"normalizer"`
	PreTokenizer  any          `json:"pre_tokenizer"`
	PostProcessor any          `json:"post_processor"`
	Decoder       any          `json:"decoder"`
	Model         bpe          `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type bpe struct {
	Type         string           `json:"type"`
	Dropout      any              `json:"dropout"`
	Unk          *string          `json:"unk_token"`
	Prefix       any              `json:"continuing_subword_prefix"`
	Suffix       any              `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       []string         `json:"merges"`
}

type object map[string]any

// tokenizerFiles returns tokenizer.json and tokenizer_config.json, and for GPT-2's tokenizer vocab.json and
// merges.txt, which ringo reads too.
func tokenizerFiles(t data.Tokenizer, context int) ([]files.Part, error) {
	v, ok := data.OpenVocabulary(t)
	if !ok {
		return nil, fmt.Errorf("huggingface: tokenizer %s has no tokenizer.json form", t.Name())
	}
	pieces, err := v.Printable()
	if err != nil {
		return nil, fmt.Errorf("huggingface: %w", err)
	}
	j, marks := tokenizerOf(v, pieces)
	class := "PreTrainedTokenizerFast"
	settings := object{"tokenizer_class": class, "model_max_length": context, "clean_up_tokenization_spaces": false}
	for name, text := range marks {
		settings[name] = text
	}
	parts := []files.Part{jsonPart("tokenizer.json", j), jsonPart("tokenizer_config.json", settings)}
	if v.Kind == "gpt2" {
		parts = append(parts, jsonPart("vocab.json", j.Model.Vocab), files.Part{Name: "merges.txt", Write: func(w io.Writer) error {
			_, err := io.WriteString(w, "#version: 0.2\n"+strings.Join(j.Model.Merges, "\n")+"\n")
			return err
		}})
	}
	return parts, nil
}

// tokenizerOf returns the tokenizer.json, and the special tokens that tokenizer_config.json names.
func tokenizerOf(v data.Vocabulary, pieces []string) (*tokenizerJSON, map[string]string) {
	j := &tokenizerJSON{Version: "1.0", Model: bpe{Type: "BPE", Vocab: map[string]int32{}, Merges: []string{}}, AddedTokens: []addedToken{}}
	for id, p := range pieces {
		if _, dup := j.Model.Vocab[p]; !dup {
			j.Model.Vocab[p] = int32(id)
		}
	}
	for _, m := range v.Merges {
		j.Model.Merges = append(j.Model.Merges, pieces[m.Left]+" "+pieces[m.Right])
	}
	marks := map[string]string{}
	special := func(id int32, names ...string) {
		j.AddedTokens = append(j.AddedTokens, addedToken{ID: id, Content: pieces[id], Special: true})
		for _, n := range names {
			marks[n] = pieces[id]
		}
	}
	byteLevel := func(words bool) object {
		return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words}
	}
	switch v.Kind {
	case "byte":
		j.PreTokenizer, j.Decoder = byteLevel(false), byteLevel(false)
	case "char":
		j.Decoder = object{"type": "Fuse"}
	case "gpt2":
		j.PreTokenizer, j.Decoder = byteLevel(true), byteLevel(true)
		if v.EOS >= 0 {
			special(v.EOS, "bos_token", "eos_token", "unk_token")
		}
	case "llama2c":
		j.Model.ByteFallback, j.Model.FuseUnk, j.Model.Unk = true, true, &pieces[0]
		special(0, "unk_token")
		special(v.BOS, "bos_token")
		special(v.EOS, "eos_token")
		replace := func(from, to string) object {
			return object{"type": "Replace", "pattern": object{"String": from}, "content": to}
		}
		j.Normalizer = object{"type": "Sequence", "normalizers": []object{{"type": "Prepend", "prepend": data.Space}, replace(" ", data.Space)}}
		j.Decoder = object{"type": "Sequence", "decoders": []object{replace(data.Space, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
			{"type": "Strip", "content": " ", "start": 1, "stop": 0}}}
		bos := []object{{"SpecialToken": object{"id": pieces[v.BOS], "type_id": 0}}}
		text := func(name string) object { return object{"Sequence": object{"id": name, "type_id": 0}} }
		j.PostProcessor = object{"type": "TemplateProcessing", "single": append(bos, text("A")), "pair": append(append([]object{}, bos...), text("A"), text("B")),
			"special_tokens": object{pieces[v.BOS]: object{"id": pieces[v.BOS], "ids": []int32{v.BOS}, "tokens": []string{pieces[v.BOS]}}}}
	}
	return j, marks
}
