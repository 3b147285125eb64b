//go:build cuda

package nccl_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/nccl"
	"ringo/cuda/soft"
	"ringo/runtime/tensor"
)

// These tests run against the simulated NCCL on the software device, every rank in a process of its own.

const asRank = "RINGO_TEST_NCCL_RANK"

func TestMain(m *testing.M) {
	if os.Getenv(asRank) != "" {
		if err := rank(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// simulated opens the simulation.
func simulated() error {
	path, err := soft.Library()
	if err == nil {
		_, err = nccl.Open(filepath.Join(filepath.Dir(path), soft.NCCLFile))
	}
	return err
}

// gpu is a software device with a stream.
type gpu struct {
	ctx    cu.CUContext
	stream cu.Stream
}

func openGPU() (g gpu, err error) {
	runtime.LockOSThread()
	path, err := soft.Library()
	if err == nil {
		err = errors.Join(driver.Open(path), simulated())
	}
	if err == nil {
		g.ctx, err = cu.Device(0).RetainPrimaryCtx()
	}
	if err == nil {
		err = cu.SetCurrentContext(g.ctx)
	}
	if err == nil {
		g.stream, err = cu.MakeStream(cu.NonBlocking)
	}
	return g, err
}

// sum adds n elements of 1+rank+index%8 over all ranks and compares.
func (g gpu) sum(c *nccl.Comm, dt tensor.DType, rank, size, n int) error {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(1 + rank + i%8)
	}
	raw := bytesOf(x)
	if dt == tensor.BF16 { // small whole numbers are exact in the upper half
		for i := range x {
			copy(raw[2*i:], raw[4*i+2:4*i+4])
		}
		raw = raw[:2*n]
	}
	p, err := cu.MemAlloc(int64(len(raw)))
	if err != nil {
		return err
	}
	if err := cu.MemcpyHtoDAsync(p, unsafe.Pointer(&raw[0]), int64(len(raw)), g.stream); err != nil {
		return err
	}
	if err := c.Sum(uint64(p), n, dt, g.stream); err != nil {
		return err
	}
	if err := c.Wait(g.idle); err != nil {
		return err
	}
	if err := cu.MemcpyDtoH(unsafe.Pointer(&raw[0]), p, int64(len(raw))); err != nil {
		return err
	}
	for i := n - 1; i >= 0 && dt == tensor.BF16; i-- {
		copy(bytesOf(x)[4*i:4*i+4], []byte{0, 0, raw[2*i], raw[2*i+1]})
	}
	for i, v := range x {
		if want := float32(size*(1+i%8) + size*(size-1)/2); v != want {
			return fmt.Errorf("%s, element %d of %d: %g, expected %g", dt, i, n, v, want)
		}
	}
	return cu.MemFree(p) // not after a failure: it would wait for a stream that hangs
}

func bytesOf(x []float32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x)) }

func (g gpu) idle() (bool, error) {
	err := g.stream.Query()
	if err == cu.NotReady {
		return false, nil
	}
	return err == nil, err
}

// rank is what a child does: lines "join ID RANK SIZE", "sums", "endless", "quit" come on stdin.
func rank() error {
	g, err := openGPU()
	if err != nil {
		return err
	}
	var c *nccl.Comm
	var id string
	var r, size int
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "join":
			if _, err = fmt.Sscan(rest, &id, &r, &size); err != nil {
				return err
			}
			var key nccl.ID
			if _, err = hex.Decode(key[:], []byte(id)); err == nil {
				c, err = nccl.New(context.Background(), key, r, size)
			}
		case "sums":
			for _, n := range []int{1, 7, 1000, 300_001} {
				err = errors.Join(err, g.sum(c, tensor.F32, r, size, n), g.sum(c, tensor.BF16, r, size, n))
			}
		case "endless": // until Quit, or an error of the library
			err = g.endless(c, r, size, lines)
		case "close":
			err = c.Close()
		}
		if err != nil {
			return fmt.Errorf("rank %d: %s: %w", r, word, err)
		}
		fmt.Println("done", word)
	}
	return nil
}

// endless sums until the next line, or until the library notices that a peer is gone; then it aborts.
func (g gpu) endless(c *nccl.Comm, rank, size int, lines *bufio.Scanner) error {
	told := make(chan time.Time, 1)
	notices := os.Getenv("SOFTNCCL_NOTICE") == "1"
	if !notices {
		go func() { lines.Scan(); told <- time.Now(); c.Quit() }()
	}
	for i := 0; ; i++ {
		err := g.sum(c, tensor.F32, rank, size, 1000)
		if err == nil {
			if i == 0 {
				fmt.Println("begun")
			}
			continue
		}
		var e *nccl.Error
		if notices && (!errors.As(err, &e) || e.Code != 6) || !notices && !errors.Is(err, nccl.ErrQuit) {
			return err
		}
		from := time.Now()
		if !notices {
			from = <-told
		}
		if err := c.Abort(); err != nil {
			return err
		}
		for { // the stream is let go
			if ok, err := g.idle(); ok || err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if spent := time.Since(from); spent > time.Second {
			return fmt.Errorf("the abort took %v", spent)
		}
		return nil
	}
}

// child is a rank's process.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, env ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(append(os.Environ(), asRank+"=1", "SOFTCUDA_THREADS=1"), env...)
	c.cmd.Stderr = os.Stderr
	var err error
	c.in, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewScanner(out)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() { _ = c.in.Close(); _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	return c
}

func (c *child) tell(format string, args ...any) {
	c.t.Helper()
	_, err := fmt.Fprintf(c.in, format+"\n", args...)
	require.NoError(c.t, err)
}

func (c *child) hear(want string) {
	c.t.Helper()
	require.True(c.t, c.out.Scan(), "the rank ended, expected %q", want)
	require.Equal(c.t, want, c.out.Text())
}

func join(t *testing.T, ranks []*child) {
	t.Helper()
	id, err := nccl.NewID()
	require.NoError(t, err)
	for r, c := range ranks {
		c.tell("join %s %d %d", hex.EncodeToString(id[:]), r, len(ranks))
	}
	for _, c := range ranks {
		c.hear("done join")
	}
}

func all(ranks []*child, say, hear string) {
	for _, c := range ranks {
		if say != "" {
			c.tell("%s", say)
		}
	}
	for _, c := range ranks {
		c.hear(hear)
	}
}

// TestSums: one to four processes, f32 and bf16, less and more than travels at once, at once and deferred.
func TestSums(t *testing.T) {
	t.Parallel()
	require.NoError(t, simulated())
	for n := 1; n <= 4; n++ {
		var ranks []*child
		for range n {
			ranks = append(ranks, start(t, fmt.Sprintf("SOFTCUDA_DEFERRED=%d", n%2)))
		}
		join(t, ranks)
		all(ranks, "sums", "done sums")
		all(ranks, "close", "done close")
	}
}

// TestKill: a rank dies in the middle of sums. The others do not notice until they are told, or the library says so; they
// abort within a second and go on as two.
func TestKill(t *testing.T) {
	t.Parallel()
	require.NoError(t, simulated())
	for _, notice := range []string{"0", "1"} {
		var ranks []*child
		for range 3 {
			ranks = append(ranks, start(t, "SOFTNCCL_NOTICE="+notice))
		}
		join(t, ranks)
		all(ranks, "endless", "begun")
		require.NoError(t, ranks[1].cmd.Process.Kill())
		_ = ranks[1].cmd.Wait()
		left := []*child{ranks[0], ranks[2]}
		if notice == "0" {
			time.Sleep(50 * time.Millisecond)
			all(left, "quit", "done endless")
		} else {
			all(left, "", "done endless")
		}
		join(t, left)
		all(left, "sums", "done sums")
	}
}

// TestNobodyComes: joining ends with its context.
func TestNobodyComes(t *testing.T) {
	t.Parallel()
	_, err := openGPU()
	require.NoError(t, err)
	defer runtime.UnlockOSThread()
	id, err := nccl.NewID()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeoutCause(context.Background(), 30*time.Millisecond, errors.New("nobody came"))
	defer cancel()
	_, err = nccl.New(ctx, id, 0, 2)
	require.EqualError(t, err, "NCCL: joining rank 0 of 2: nobody came")
	_, err = nccl.Open("/elsewhere/libnccl.so.2")
	require.ErrorContains(t, err, "this process already uses")
}
