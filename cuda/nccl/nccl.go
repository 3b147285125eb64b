//go:build cuda

package nccl

// #include <stdlib.h>
// #include "nccl.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/runtime/tensor"
)

// EnvLibrary names another file than libnccl.so.2.
const EnvLibrary = "RINGO_NCCL_LIBRARY"

// Library is what was loaded: its file, and its version code, such as 22304 for 2.23.4.
type Library struct {
	Path    string
	Version int
}

// String is the version and the file, as people read them.
func (l Library) String() string {
	return fmt.Sprintf("%d.%d.%d (%s)", l.Version/10000, l.Version/100%100, l.Version%100, l.Path)
}

var library struct {
	sync.Mutex
	asked string
	found Library
}

// Open loads the library: "" means the usual names. A process has one, so a later call with another path is an error.
func Open(path string) (Library, error) {
	library.Lock()
	defer library.Unlock()
	if library.found.Version != 0 {
		if path != library.asked {
			return Library{}, fmt.Errorf("no NCCL at %q: this process already uses %q", path, library.asked)
		}
		return library.found, nil
	}
	names := []string{"libnccl.so.2", "libnccl.so"}
	if path != "" {
		names = []string{path}
	}
	l, err := driver.OpenLibrary(names...)
	if err != nil {
		return Library{}, fmt.Errorf("no NCCL: %w", err)
	}
	v := C.ringo_nccl_bind(l.Handle)
	if v == 0 {
		return Library{}, fmt.Errorf("no NCCL: %s: %s", l.Path, C.GoString(C.ringo_nccl_why()))
	}
	library.asked, library.found = path, Library{l.Path, int(v)}
	return library.found, nil
}

// ID is what one process makes and all that meet in one communicator know: an address, and a secret number. It serves once.
type ID [128]byte

// NewID makes an ID. This process then listens for the others until they have met.
func NewID() (id ID, err error) {
	return id, result("making an id", C.ringo_nccl_new_id((*C.ringo_nccl_id)(unsafe.Pointer(&id))), nil)
}

// Error is a result code other than success.
type Error struct {
	Op   string
	Code int // ncclResult_t
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("NCCL: %s: %s", e.Op, e.Text) }

// ErrQuit ends calls on a communicator after Quit.
var ErrQuit = errors.New("NCCL: the communicator was told to quit")

// result turns a code into an error; a call that is in progress has not failed.
func result(op string, rc C.int, comm unsafe.Pointer) error {
	if rc == C.RINGO_NCCL_OK || rc == C.RINGO_NCCL_IN_PROGRESS {
		return nil
	}
	var text [512]C.char
	C.ringo_nccl_text(rc, comm, &text[0], C.size_t(len(text)))
	return &Error{op, int(rc), C.GoString(&text[0])}
}

// Comm is one process's place in a communicator, on the device that was current when it was made. Calls but Quit come from
// one goroutine at a time. No call waits inside the library: what is in progress is looked at from here, where Quit ends it.
type Comm struct {
	comm unsafe.Pointer
	at   *unsafe.Pointer // C memory: while it joins, the library may write there from a thread of its own
	quit atomic.Bool
}

// New meets size processes that have the same id. It returns when all are there, with ctx's error when that ends before.
func New(ctx context.Context, id ID, rank, size int) (*Comm, error) {
	c := &Comm{at: (*unsafe.Pointer)(C.calloc(1, C.size_t(unsafe.Sizeof(unsafe.Pointer(nil)))))}
	stop := context.AfterFunc(ctx, c.Quit)
	defer stop()
	op := fmt.Sprintf("joining rank %d of %d", rank, size)
	err := result(op, C.ringo_nccl_init(c.at, C.int(size), (*C.ringo_nccl_id)(unsafe.Pointer(&id)), C.int(rank)), nil)
	c.comm = *c.at
	if err == nil {
		err = c.settle(op)
	}
	if err == nil {
		return c, nil
	}
	if errors.Is(err, ErrQuit) {
		err = fmt.Errorf("NCCL: %s: %w", op, context.Cause(ctx))
	}
	if c.comm == nil {
		C.free(unsafe.Pointer(c.at))
		return nil, err
	}
	return nil, errors.Join(err, c.Abort())
}

// Sum enqueues the sum of n elements of device memory over all ranks, in place, on a stream.
func (c *Comm) Sum(at uint64, n int, dt tensor.DType, s cu.Stream) error {
	kind := C.int(C.RINGO_NCCL_F32)
	switch dt {
	case tensor.F32:
	case tensor.BF16:
		kind = C.RINGO_NCCL_BF16
	default:
		return fmt.Errorf("NCCL: sums of %s: expected f32 or bf16", dt)
	}
	const op = "a sum over workers"
	if c.quit.Load() {
		return ErrQuit
	}
	stream := *(*C.CUstream)(unsafe.Pointer(&s)) // the one field of a handle, which the package does not export
	if err := result(op, C.ringo_nccl_sum(c.comm, C.uint64_t(at), C.size_t(n), kind, stream), c.comm); err != nil {
		return err
	}
	return c.settle(op)
}

// Wait looks at the communicator until done says true: that what Sum enqueued is finished. It returns an error as
// soon as the library reports one, or ErrQuit.
func (c *Comm) Wait(done func() (bool, error)) error {
	for p := (pace{}); ; p.next() {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if c.quit.Load() {
			return ErrQuit
		}
		if err := result("a sum over workers", C.ringo_nccl_state(c.comm), c.comm); err != nil {
			return err
		}
	}
}

// settle waits until the last call is not in progress any more.
func (c *Comm) settle(op string) error {
	for p := (pace{}); ; p.next() {
		rc := C.ringo_nccl_state(c.comm)
		if rc != C.RINGO_NCCL_IN_PROGRESS {
			return result(op, rc, c.comm)
		}
		if c.quit.Load() {
			return ErrQuit
		}
	}
}

// Quit ends the call in progress and all later ones with ErrQuit, from any goroutine. Abort is still needed.
func (c *Comm) Quit() { c.quit.Store(true) }

// Abort frees the communicator; sums that are under way on the device end without a result.
func (c *Comm) Abort() error {
	comm := c.comm
	if c.comm = nil; comm == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(c.at))
	return result("aborting", C.ringo_nccl_abort(comm), nil)
}

// patience is how long Close lets other ranks come to the same end.
const patience = 2 * time.Second

// Close frees a communicator whose sums are all done. Where the others do not come along, it aborts.
func (c *Comm) Close() error {
	if c.comm == nil {
		return nil
	}
	late := time.AfterFunc(patience, c.Quit)
	defer late.Stop()
	const op = "finishing"
	err := result(op, C.ringo_nccl_finalize(c.comm), c.comm)
	if err == nil {
		err = c.settle(op)
	}
	if err != nil {
		return c.Abort() // what it could say is known: somebody else has gone
	}
	comm := c.comm
	c.comm = nil
	defer C.free(unsafe.Pointer(c.at))
	return result("closing", C.ringo_nccl_destroy(comm), nil)
}

// pace is how often something is looked at: often at first, then every fifth of a millisecond.
type pace struct{ looks int }

func (p *pace) next() {
	if p.looks++; p.looks < 64 {
		runtime.Gosched()
		return
	}
	time.Sleep(time.Duration(min(p.looks, 200)) * time.Microsecond)
}
