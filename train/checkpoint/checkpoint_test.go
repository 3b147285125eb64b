package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/runtime/tensor"
)

// parts is a checkpoint whose content follows from its step, so that a torn one shows.
func parts(step int) []files.Part {
	body := func(n int) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte{byte(step)}, n))
			return err
		}
	}
	return []files.Part{{Name: "model.safetensors", Write: body(3000 + step)}, {Name: "state.json", Write: body(40)}}
}

func save(t testing.TB, s *Store, steps ...int) {
	t.Helper()
	for _, n := range steps {
		_, err := s.Save(n, parts(n))
		require.NoError(t, err)
	}
}

// intact opens the newest checkpoint and checks its content.
func intact(t testing.TB, dir string) int {
	t.Helper()
	c, err := Open(dir)
	require.NoError(t, err)
	raw, err := os.ReadFile(c.Path("model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{byte(c.Step)}, 3000+c.Step), raw)
	return c.Step
}

func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestSaveKeepsTheNewest(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	s := &Store{Dir: filepath.Join(run, "checkpoints"), Keep: 2}
	save(t, s, 1, 2, 10)
	require.Equal(t, []string{"latest", "step-10", "step-2"}, names(t, s.Dir))
	for _, p := range []string{run, s.Dir, filepath.Join(s.Dir, "latest"), filepath.Join(s.Dir, "step-10")} {
		require.Equal(t, 10, intact(t, p), p)
	}
	save(t, s, 10, 10) // a step again: replaced, never missing
	require.Equal(t, 10, intact(t, run))
	save(t, s, 5) // taken up again from an earlier step
	require.Equal(t, 5, intact(t, run))
	require.Equal(t, []string{"latest", "step-10", "step-2", "step-5"}, names(t, s.Dir))
}

// The best checkpoint stays whatever Keep says, until another one is the best; a full disk leaves the old name in place.
func TestBestIsKept(t *testing.T) {
	t.Parallel()
	s := &Store{Dir: t.TempDir(), Keep: 1}
	save(t, s, 1)
	require.NoError(t, s.Best(1))
	save(t, s, 2, 3)
	require.Equal(t, []string{"best", "latest", "step-1", "step-3"}, names(t, s.Dir))
	best := filepath.Join(s.Dir, BestName)
	require.Equal(t, 1, intact(t, best))
	for at := range 4 {
		full := &Store{Dir: s.Dir, Keep: 1, FS: &failing{left: at}}
		if err := full.Best(3); err != nil {
			require.ErrorIs(t, err, errFull)
			require.ErrorContains(t, err, "marking checkpoint 3 as the best")
		}
		require.Contains(t, []int{1, 3}, intact(t, best))
	}
	require.NoError(t, s.Best(3))
	save(t, s, 4)
	require.Equal(t, []string{"best", "latest", "step-3", "step-4"}, names(t, s.Dir))
	require.Equal(t, 3, intact(t, best))
}

func TestDamageIsRefusedAndTheOlderOffered(t *testing.T) {
	t.Parallel()
	flip := func(raw []byte) []byte { raw[len(raw)/2] ^= 1; return raw }
	cut := func(raw []byte) []byte { return raw[:len(raw)-1] }
	for _, c := range []struct {
		file, want string
		change     func([]byte) []byte
	}{
		{"model.safetensors", "does not match its sha256", flip},
		{"model.safetensors", "has 3001 bytes, expected 3002", cut},
		{"state.json", "does not match its sha256", flip},
		{ManifestName, ManifestName, func(raw []byte) []byte { return raw[:20] }},
		{ManifestName, "format 9", func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"format": 1`), []byte(`"format": 9`), 1) }},
		{ManifestName, "step 7", func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"step": 2`), []byte(`"step": 7`), 1) }},
		{ManifestName, "outside the folder", func(raw []byte) []byte { return bytes.Replace(raw, []byte("state.json"), []byte("../a"), 1) }},
		{"state.json", "no such file", nil},
	} {
		s := &Store{Dir: t.TempDir()}
		save(t, s, 1, 2)
		path := filepath.Join(s.Dir, "step-2", c.file)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		if c.change != nil {
			require.NoError(t, os.WriteFile(path, c.change(raw), 0o600))
		}
		_, err = Open(s.Dir)
		var d *Damaged
		require.ErrorAs(t, err, &d, c.want)
		require.Contains(t, d.Reason, c.want)
		require.Equal(t, filepath.Join(s.Dir, "step-1"), d.Older)
		require.Equal(t, 1, intact(t, d.Older))
		require.NoError(t, os.Remove(filepath.Join(s.Dir, "step-1", "state.json")))
		_, err = Open(s.Dir)
		require.ErrorContains(t, err, "no older complete checkpoint")
	}
}

// TestNamedFilesAreHashed: who reads the state alone learns of its damage, and of files that are cut off.
func TestNamedFilesAreHashed(t *testing.T) {
	t.Parallel()
	s := &Store{Dir: t.TempDir()}
	save(t, s, 1)
	path := filepath.Join(s.Dir, "step-1", "model.safetensors")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[5] ^= 1
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = Open(s.Dir, "state.json")
	require.NoError(t, err)
	_, err = Open(s.Dir, "state.json", "model.safetensors")
	require.ErrorContains(t, err, "does not match its sha256")
	require.NoError(t, os.WriteFile(path, raw[1:], 0o600))
	_, err = Open(s.Dir, "state.json")
	require.ErrorContains(t, err, "expected 3001")
}

func TestOpenWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Open(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// failing refuses the operation number left, counted over all kinds, and every one after it, as a full
// disk does; writes count by the call.
type failing struct {
	files.OS
	left int
}

var errFull = errors.New("no space left on device (injected)")

func (f *failing) spend() error {
	f.left--
	if f.left < 0 {
		return errFull
	}
	return nil
}

func (f *failing) MkdirAll(d string) error { return errors.Join(f.spend(), f.OS.MkdirAll(d)) }
func (f *failing) SyncDir(d string) error  { return errors.Join(f.spend(), f.OS.SyncDir(d)) }
func (f *failing) Replace(a, b string) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.OS.Replace(a, b)
}

func (f *failing) Symlink(a, b string) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.OS.Symlink(a, b)
}

func (f *failing) Create(p string) (files.File, error) {
	if err := f.spend(); err != nil {
		return nil, err
	}
	w, err := f.OS.Create(p)
	return &failingFile{w, f}, err
}

type failingFile struct {
	files.File
	f *failing
}

func (w *failingFile) Write(p []byte) (int, error) {
	if err := w.f.spend(); err != nil {
		n, _ := w.File.Write(p[:len(p)/2]) // the half that still fitted
		return n, err
	}
	return w.File.Write(p)
}

func (w *failingFile) Sync() error { return errors.Join(w.f.spend(), w.File.Sync()) }

// The disk fills up at every possible moment of a save: the checkpoint before stays, and the next save works.
func TestDiskFullAtEveryOperation(t *testing.T) {
	t.Parallel()
	failed := 0
	for at := 0; ; at++ {
		dir := t.TempDir()
		save(t, &Store{Dir: dir, Keep: 2}, 1)
		_, err := (&Store{Dir: dir, Keep: 2, FS: &failing{left: at}}).Save(2, parts(2))
		step := intact(t, dir)
		if err == nil {
			require.Equal(t, 2, step)
			break
		}
		failed++
		require.ErrorIs(t, err, errFull)
		require.ErrorContains(t, err, "saving checkpoint 2")
		save(t, &Store{Dir: dir, Keep: 2}, 3)
		require.Equal(t, 3, intact(t, dir))
		for _, n := range names(t, dir) {
			require.NotContains(t, n, tempPrefix)
		}
	}
	require.Greater(t, failed, 15, "the injection must have reached writes, syncs and renames")
}

func TestMatchNamesTheFirstDifference(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, []safetensors.Item{
		safetensors.FromTensor("a", tensor.New(tensor.F32, 2)),
		safetensors.FromTensor("b", tensor.New(tensor.F32, 3, 4)),
	}))
	f, err := safetensors.New(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	spec := func(name string, shape ...int) Spec { return Spec{name, tensor.F32, shape} }
	require.NoError(t, Match([]Spec{spec("b", 3, 4), spec("a", 2)}, f))
	for want, specs := range map[string][]Spec{
		`tensor "b" is f32(3,4), the model needs f32(4,3)`: {spec("a", 2), spec("b", 4, 3)},
		`no tensor "c", the model needs f32(1)`:            {spec("a", 2), spec("c", 1)},
		`a tensor "b" f32(3,4) that the model lacks`:       {spec("a", 2)},
	} {
		require.ErrorContains(t, Match(specs, f), want)
	}
}

// Whatever a manifest says, opening ends with an error or with files that match it.
func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	save(f, &Store{Dir: dir}, 1)
	path := filepath.Join(dir, "step-1", ManifestName)
	good, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"format":1,"step":1,"files":{"../../x":{"bytes":0}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		c, err := Open(dir)
		if err != nil {
			var d *Damaged
			require.ErrorAs(t, err, &d)
			return
		}
		require.Equal(t, 1, c.Step)
		for name := range c.Files {
			require.Contains(t, []string{"model.safetensors", "state.json", ManifestName}, name)
		}
	})
}

func ExampleStore_Save() {
	dir, err := os.MkdirTemp("", "ringo")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s := &Store{Dir: filepath.Join(dir, "checkpoints"), Keep: 3}
	_, err = s.Save(100, []files.Part{{Name: "state.json", Write: func(w io.Writer) error { _, err := w.Write([]byte("{}")); return err }}})
	c, openErr := Open(dir)
	fmt.Println(c.Step, c.Files["state.json"].Bytes, err, openErr)
	// Output: 100 2 <nil> <nil>
}
