package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Header of llm.c's token files: 256 little-endian int32, of which magic, version and count are used
// (dev/data/data_common.py of karpathy/llm.c). Files without it are bare ids, as nanoGPT's prepare.py writes.
const (
	llmcHeader      = 256 * 4
	llmcMagicGPT2   = 20240520 // uint16 ids
	llmcMagicLlama3 = 20240801 // uint32 ids
)

// tokenFile is one shard, read where it lies: a corpus may be larger than memory.
type tokenFile struct {
	file   *os.File
	start  int64 // byte offset of the first id
	tokens int
}

// parseTokenHeader returns where the ids start, how many they are and the bytes of each, for a file of the
// given size whose first bytes are head. width holds for a file without a header.
func parseTokenHeader(head []byte, size int64, width int) (start int64, tokens, idBytes int, err error) {
	if size >= llmcHeader && len(head) >= 12 {
		magic, version := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		count := int64(binary.LittleEndian.Uint32(head[8:]))
		switch {
		case magic == llmcMagicGPT2 && version == 1:
			width = 2
		case magic == llmcMagicLlama3 && version == 7:
			width = 4
		case magic == llmcMagicGPT2 || magic == llmcMagicLlama3:
			return 0, 0, 0, fmt.Errorf("token file of version %d, expected 1 (uint16) or 7 (uint32)", version)
		default:
			magic = 0
		}
		if magic != 0 {
			if have := (size - llmcHeader) / int64(width); count == 0 || have != count || (size-llmcHeader)%int64(width) != 0 {
				return 0, 0, 0, fmt.Errorf("the header announces %d tokens, the file has %d bytes for %d", count, size-llmcHeader, have)
			}
			return llmcHeader, int(count), width, nil
		}
	}
	switch {
	case size == 0:
		return 0, 0, 0, errors.New("the token file is empty")
	case size%int64(width) != 0:
		return 0, 0, 0, fmt.Errorf("%d bytes are no whole number of %d-byte tokens: truncated, or data.dtype is wrong", size, width)
	}
	return 0, int(size / int64(width)), width, nil
}

func openTokenFile(path string, width int) (tokenFile, int, error) {
	f, err := os.Open(path)
	if err != nil {
		return tokenFile{}, 0, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = errors.New("is a folder, expected a token file")
	}
	var head [12]byte
	n := 0
	if err == nil {
		if n, err = f.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		f.Close()
		return tokenFile{}, 0, err
	}
	start, tokens, idBytes, err := parseTokenHeader(head[:n], st.Size(), width)
	if err != nil {
		f.Close()
		return tokenFile{}, 0, err
	}
	return tokenFile{f, start, tokens}, idBytes, nil
}
