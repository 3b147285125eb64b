package kernels

// blocked is a parameter that this program keeps in blocks, as it was after so many of the store's changes.
type blocked struct {
	at   uint64
	kept bool // this program's own changes reach the blocks
}

// whenChanged returns the function that computes blocks where the parameter may have changed since.
func (e *exec) whenChanged(instr int, run func()) func() {
	b := &blocked{}
	for _, k := range e.p.Blocks {
		b.kept = b.kept || k.Instr == instr && k.Kept
	}
	e.blocks = append(e.blocks, b)
	return func() {
		if b.at != e.store.changes {
			run()
			b.at = e.store.changes
		}
	}
}

// moved tells the store, and so other programs on it, that this program may have changed parameters.
func (e *exec) moved() {
	e.store.changes++
	for _, b := range e.blocks {
		if b.kept && b.at == e.store.changes-1 {
			b.at++
		}
	}
}
