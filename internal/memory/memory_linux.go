package memory

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Release gives the whole pages inside b back. b must be memory that is mapped from a file and that nobody has written, such as the
// variables of an embedded file: its pages then come from the file again. A refusal costs memory alone.
func Release(b []byte) {
	page := os.Getpagesize()
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (page - 1)
	if len(b) > skip+page {
		_ = unix.Madvise(b[skip:skip+(len(b)-skip)&^(page-1)], unix.MADV_DONTNEED)
	}
}

// releaseProgram gives back the program's code and constants. Refusals cost memory alone.
func releaseProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range unwritten(f, exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses: from included, to not.
type mapping struct{ from, to uintptr }

// unwritten reads a process's smaps (proc_pid_smaps(5)) and returns the mappings of a file that cannot be written and of which no page
// was ever changed. Relocated constants were, before they became read-only, and so was code in which a debugger set a
// breakpoint: such pages are anonymous, and would come back without the change.
func unwritten(smaps io.Reader, file string) []mapping {
	var list []mapping
	var m mapping // the one being read; empty where it is not wanted
	for s := bufio.NewScanner(smaps); s.Scan(); {
		line := s.Text()
		if value, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			if m.to > m.from && strings.TrimSpace(value) == "0 kB" {
				list = append(list, m)
			}
			m = mapping{}
		} else if span, ok := header(line, file); ok {
			m = span
		}
	}
	return list
}

// header reads the line that opens a mapping, "from-to permissions offset device inode path", where it is one of the file and cannot be written.
func header(line, file string) (mapping, bool) {
	if !strings.HasSuffix(line, file) {
		return mapping{}, false
	}
	f := strings.Fields(strings.TrimSuffix(line, file))
	if len(f) != 5 || len(f[1]) != 4 || f[1][1] != '-' {
		return mapping{}, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, errA := strconv.ParseUint(from, 16, strconv.IntSize)
	b, errB := strconv.ParseUint(to, 16, strconv.IntSize)
	return mapping{uintptr(a), uintptr(b)}, errA == nil && errB == nil
}
