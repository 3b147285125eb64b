package data

import (
	"path/filepath"
	"strings"
)

// CatalogEntry is a public data set that `ringo data fetch` knows; package data/fetch downloads it.
type CatalogEntry struct {
	Name  string // also the folder below CacheDir, so that a configuration's path starts with it
	About string
	Files []CatalogFile
}

// CatalogFile is one file of a data set. Mirrors are tried in order; the content is the same.
type CatalogFile struct {
	URLs   []string
	Path   string // below the entry's folder
	Size   int64  // bytes
	SHA256 string // hex, of the file as downloaded
	Unpack bool   // a .tar.gz whose files are wanted, not itself
}

// Catalog is the table of known data sets. Sizes and hashes are those of TensorFlow Datasets'
// url_checksums (mnist, fashion_mnist, cifar10) and of tiktoken's openai_public.py (gpt2-bpe);
// tinyshakespeare and gpt2-bpe were checked against the files themselves.
var Catalog = []CatalogEntry{
	{
		Name: "mnist", About: "60,000 + 10,000 handwritten digits, 28×28 gray, 10 classes",
		Files: idxFiles([]string{
			"https://storage.googleapis.com/cvdf-datasets/mnist/",
			"https://ossci-datasets.s3.amazonaws.com/mnist/",
		}, [4]string{
			"440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
			"3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
			"8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
			"f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
		}, [4]int64{9912422, 28881, 1648877, 4542}),
	},
	{
		Name: "fashion-mnist", About: "60,000 + 10,000 pictures of clothing, 28×28 gray, 10 classes",
		Files: idxFiles([]string{
			"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
		}, [4]string{
			"3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
			"a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
			"346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
			"67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
		}, [4]int64{26421880, 29515, 4422102, 5148}),
	},
	{
		Name: "cifar-10", About: "50,000 + 10,000 photographs, 32×32 colour, 10 classes",
		Files: []CatalogFile{{
			URLs:   []string{"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"},
			Path:   "cifar-10-binary.tar.gz",
			Size:   170052171,
			SHA256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
			Unpack: true,
		}},
	},
	{
		Name: "tinyshakespeare", About: "1.1 MB of Shakespeare's plays, 65 distinct characters",
		Files: []CatalogFile{{
			URLs:   []string{"https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"},
			Path:   "input.txt",
			Size:   1115394,
			SHA256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
		}},
	},
	{
		Name: "gpt2-bpe", About: "GPT-2's byte-pair vocabulary, 50,257 ids",
		Files: []CatalogFile{
			{
				URLs:   []string{"https://openaipublic.blob.core.windows.net/gpt-2/models/124M/encoder.json"},
				Path:   "encoder.json",
				Size:   1042301,
				SHA256: "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
			},
			{
				URLs:   []string{"https://openaipublic.blob.core.windows.net/gpt-2/models/124M/vocab.bpe"},
				Path:   "vocab.bpe",
				Size:   456318,
				SHA256: "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
			},
		},
	},
}

// idxFiles lists the four files of a set in MNIST's format.
func idxFiles(bases []string, sha256 [4]string, size [4]int64) []CatalogFile {
	var files []CatalogFile
	for i, name := range idxNames {
		f := CatalogFile{Path: name + ".gz", SHA256: sha256[i], Size: size[i]}
		for _, base := range bases {
			f.URLs = append(f.URLs, base+f.Path)
		}
		files = append(files, f)
	}
	return files
}

// idxNames are the files of a set in MNIST's format: training images and labels, then test.
var idxNames = [4]string{
	"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
	"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
}

// CatalogNames lists the data sets that can be fetched.
func CatalogNames() []string {
	names := make([]string, len(Catalog))
	for i, e := range Catalog {
		names[i] = e.Name
	}
	return names
}

// catalogFor returns the entry whose folder a path starts with, or nil.
func catalogFor(path string) *CatalogEntry {
	first, _, _ := strings.Cut(filepath.ToSlash(filepath.Clean(path)), "/")
	for i := range Catalog {
		if Catalog[i].Name == first {
			return &Catalog[i]
		}
	}
	return nil
}
