//go:build !unix

package checkpoint

// Exclusive runs do. There are no file locks here: one process per folder.
func (s *Store) Exclusive(do func() error) error { return do() }
