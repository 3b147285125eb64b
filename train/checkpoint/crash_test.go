package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/internal/files"
)

const childDir = "RINGO_TEST_SAVE_FOREVER_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		saveForever(dir)
	}
	os.Exit(m.Run())
}

// saveForever is the child process: it saves steps 2, 3, … 250 over and over until it is killed.
func saveForever(dir string) {
	s := &Store{Dir: dir, Keep: 3}
	fmt.Println("ready")
	for {
		for step := 2; step < 250; step++ {
			if _, err := s.Save(step, parts(step)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
}

// A process that is killed with SIGKILL at random moments while it saves leaves a complete checkpoint.
func TestKillWhileSaving(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	save(t, &Store{Dir: dir, Keep: 3}, 1)
	unfinished := 0
	for range 15 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 5))
		require.NoError(t, err)
		time.Sleep(time.Duration(rng.IntN(30_000)) * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed")
		intact(t, dir)
		left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
		require.NoError(t, err)
		unfinished += len(left)
	}
	t.Logf("%d of 15 kills left an unfinished save behind", unfinished)
	save(t, &Store{Dir: dir, Keep: 3}, 249)
	require.Equal(t, 249, intact(t, dir))
}

// A disk of 64 KiB: the kernel itself refuses the write.
func TestRealDiskFull(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root on Linux")
	}
	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).Run(); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here: %v", err)
	}
	defer func() { require.NoError(t, exec.Command("umount", dir).Run()) }()
	s := &Store{Dir: filepath.Join(dir, "checkpoints")}
	save(t, s, 1)
	big := parts(2)
	big[0].Write = parts(200)[0].Write
	for range 40 {
		big = append(big, files.Part{Name: fmt.Sprintf("more-%d", len(big)), Write: big[0].Write})
	}
	_, err := s.Save(2, big)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "the one before it is intact")
	require.Equal(t, 1, intact(t, dir))
	save(t, s, 3)
	require.Equal(t, 3, intact(t, dir))
}
