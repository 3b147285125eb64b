package data

import "testing"

// The parsers must answer any bytes with a value or an error, in memory of the order of the input.

func FuzzIDX(f *testing.F) {
	f.Add(idxBytes(2, 3, 3), 3)
	f.Add(idxBytes(5), 1)
	f.Add([]byte{0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, 3)
	f.Fuzz(func(t *testing.T, raw []byte, rank int) {
		if rank < 1 || rank > 4 {
			return
		}
		a, err := parseIDX(raw, rank)
		if err != nil {
			return
		}
		n := 1
		for _, d := range a.shape {
			n *= d
		}
		if n != len(a.bytes) || n == 0 {
			t.Fatalf("shape %v with %d bytes", a.shape, len(a.bytes))
		}
	})
}

func FuzzCIFAR(f *testing.F) {
	f.Add(make([]byte, cifarRecord))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p pixels
		if p.appendCIFARRecords(raw) == nil && len(p.data) != len(p.labels)*p.size() {
			t.Fatal("labels and pixels disagree")
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("x,c,y\n1,a,p\n2,b,q\n3,?,p\n"))
	f.Add([]byte("\xef\xbb\xbfa,b\n|comment\n\"1\"\"\",2\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := parseCSV("f.csv", raw, 0, func([]string) bool { return true })
		if err != nil {
			return
		}
		columns, err := mergeHeader("f.csv", file.header, nil)
		if err != nil {
			return
		}
		head, tail := file.split(0.7)
		for _, categories := range []string{"onehot", "embed"} {
			train, valid, err := tableSets(Config{Categories: categories}, columns, head, tail, "")
			if err != nil {
				continue
			}
			for _, ds := range []Dataset{train, valid} {
				buf := newBuffers(ds.Fields())
				for i := range ds.Len() {
					if err := ds.Read(i, nil, buf); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

func FuzzLlama2cTokenizer(f *testing.F) {
	f.Add(llama2cFile("a", "b", "ab", " "), "ab ba")
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, "x")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tok, err := parseLlama2c(raw)
		if err != nil {
			return
		}
		ids, err := tok.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= tok.Vocab() {
				t.Fatalf("id %d of %d", id, tok.Vocab())
			}
		}
		tok.Decode(ids)
	})
}

func FuzzGPT2Tokenizer(f *testing.F) {
	f.Add([]byte(encoderJSON()), []byte("#version: 0.2\n"), "it's  a\ttest")
	f.Add([]byte(`{"a":0,"b":1,"ab":2}`), []byte("a b\n"), "ab")
	f.Fuzz(func(t *testing.T, encoder, merges []byte, text string) {
		tok, err := parseGPT2(encoder, merges)
		if err != nil {
			return
		}
		ids, err := tok.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(ids); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}

func FuzzTokenHeader(f *testing.F) {
	f.Add(llmcFile(llmcMagicGPT2, 1, 2, uint16s(1, 2))[:12], int64(1028), 2)
	f.Add([]byte{1, 2, 3, 4}, int64(4), 4)
	f.Fuzz(func(t *testing.T, head []byte, size int64, width int) {
		if size < 0 || size > 1<<50 || width != 2 && width != 4 {
			return
		}
		start, tokens, idBytes, err := parseTokenHeader(head, size, width)
		if err == nil && (tokens < 1 || start+int64(tokens)*int64(idBytes) != size) {
			t.Fatalf("%d tokens of %d bytes from %d in %d bytes", tokens, idBytes, start, size)
		}
	})
}
