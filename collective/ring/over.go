package ring

// Over is closed when the ring is over: it failed, was aborted or closed. It may be asked for at any time.
func (r *Ring) Over() <-chan struct{} { return r.over }

// Err says why the ring is over, nil while it is not.
func (r *Ring) Err() error { return r.failure() }
