package data

// source is one row of the table of sources.
type source struct {
	name      string
	text      bool // hands out windows of tokens
	needsPath bool
	open      func(Config) (train, valid Dataset, err error)
}

// sources is the table behind Open. Each row names the configuration keys it reads besides split and limit.
var sources []source

func init() { // filled here because the openers refer to Open's helpers, which refer to the table
	sources = []source{
		{"text", true, true, openText},             // path, test, tokenizer, tokenizer_path, context, sampling
		{"go-stdlib", true, false, openGoStdlib},   // path (a Go root), tokenizer, tokenizer_path, context, sampling
		{"tokens", true, true, openTokens},         // path, test, tokenizer, vocab, dtype, context, sampling
		{"idx", false, true, openIDX},              // path, test, augment, mean, std
		{"cifar10", false, true, openCIFAR},        // path, augment, mean, std
		{"csv", false, true, openCSV},              // path, test, columns, target, categories
		{"synthetic", false, false, openSynthetic}, // shape and classes, or vocab and context; samples, seed
	}
}

// Sources lists the names that data.source may take.
func Sources() []string {
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.name
	}
	return names
}

func sourceNamed(name string) *source {
	for i := range sources {
		if sources[i].name == name {
			return &sources[i]
		}
	}
	return nil
}
