//go:build !linux

package ring

import "errors"

// shared and segment are shared memory, which needs Linux here.
type shared struct{}
type segment struct{}

// region is a Memory's, which needs Linux too.
type region struct{ mem []byte }

func (*region) open(int) error { return errors.ErrUnsupported }
func (*region) renew() error   { return nil }
func (*region) close() error   { return nil }

func openShared(*Options) *shared                 { return nil }
func (*shared) offer() shmOffer                   { return shmOffer{} }
func (*shared) attach(shmOffer) (*segment, error) { return nil, errors.ErrUnsupported }
func (*shared) link(*peer) link                   { return nil }
func (*shared) close()                            {}
func (*segment) close()                           {}
func (*shared) leave()                            {}
func (*shared) lend(*Memory) (int, bool)          { return 0, false }
func (*segment) region(int) ([]byte, error)       { return nil, errors.ErrUnsupported }
func (r *Ring) chooseBell() bell                  { return newChanBell() }
