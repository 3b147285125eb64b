package data

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A record of CIFAR-10's binary version: one label, then 32×32 pixels of red, green and blue planes
// (Krizhevsky 2009; https://www.cs.toronto.edu/~kriz/cifar.html).
const (
	cifarSide    = 32
	cifarPixels  = 3 * cifarSide * cifarSide
	cifarRecord  = 1 + cifarPixels
	cifarFolder  = "cifar-10-batches-bin"
	cifarClasses = 10
)

var cifarLabels = []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}

// openCIFAR opens CIFAR-10's binary version; path is the folder of the batches or the one above it.
func openCIFAR(cfg Config) (train, valid Dataset, err error) {
	folder, err := Find(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	if inner := filepath.Join(folder, cifarFolder); isDir(inner) {
		folder = inner
	}
	sum := newHash()
	var a, b pixels
	for i := 1; i <= 5; i++ {
		if err := a.appendCIFAR(filepath.Join(folder, fmt.Sprintf("data_batch_%d.bin", i)), sum); err != nil {
			return nil, nil, err
		}
	}
	if err := b.appendCIFAR(filepath.Join(folder, "test_batch.bin"), sum); err != nil {
		return nil, nil, err
	}
	return imageSets(cfg, a, b, cifarLabels, hexSum(sum))
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// appendCIFAR adds the records of one batch file.
func (p *pixels) appendCIFAR(path string, sum io.Writer) error {
	raw, err := readFile(path, maxIDX, sum)
	if err != nil {
		return err
	}
	if err := p.appendCIFARRecords(raw); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (p *pixels) appendCIFARRecords(raw []byte) error {
	if len(raw) == 0 || len(raw)%cifarRecord != 0 {
		return fmt.Errorf("%d bytes, expected a positive multiple of the record's %d: truncated, or not CIFAR-10's binary version", len(raw), cifarRecord)
	}
	p.channels, p.height, p.width = 3, cifarSide, cifarSide
	for i := 0; i < len(raw); i += cifarRecord {
		if raw[i] >= cifarClasses {
			return fmt.Errorf("record %d has label %d, expected 0…%d", i/cifarRecord, raw[i], cifarClasses-1)
		}
		p.labels = append(p.labels, raw[i])
		p.data = append(p.data, raw[i+1:i+cifarRecord]...)
	}
	return nil
}
