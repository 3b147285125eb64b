//go:build cuda

package kernels

// COLUMN_THREADS and COLUMN_LANES of columns.cuh, JOIN_LINES of columns.cu.
const (
	columnThreads = 256
	columnLanes   = 32
	joinLines     = 32
)

// columnStretches cuts rows for sums down columns: by shape alone, so that the order of the sums is the same on every
// device. It returns the number of stretches and the rows of each.
func columnStretches(rows int) (stretches, stretch int) {
	stretch = max(64, ceilDiv(rows, 256))
	return ceilDiv(rows, stretch), stretch
}

// columnGrid is the grid of column_sums over cols columns of x's type, and whether rows are whole packs.
func columnGrid(x DeviceView, cols, stretches int) (Dim3, int32) {
	width := 16 / x.DType.Size()
	packed := packs(cols, width)
	if packed == 0 {
		width = 1
	}
	return Grid(ceilDiv(cols, columnLanes*width), stretches), packed
}

// joinColumns adds partial sums (stretches, lists, cols) into a, and b where there are two lists, divided by count.
func joinColumns(c *DeviceCall, partial uint64, a DeviceView, b uint64, cols, stretches, lists int, count float32) error {
	s, ok := suffix(a.DType)
	if !ok {
		return c.Uncovered()
	}
	return c.Launch("columns_join"+s, Grid(ceilDiv(cols, columnLanes), lists), Block(joinLines*columnLanes), 0,
		partial, a, b, int32(cols), int32(stretches), int32(lists), count)
}

// columnSums is Σ over the rows of x (rows, cols), divided by count.
func columnSums(c *DeviceCall, x, y DeviceView, rows, cols int, count float32) error {
	s, ok := suffix(x.DType)
	if !ok {
		return c.Uncovered()
	}
	stretches, stretch := columnStretches(rows)
	partial := c.Scratch(int64(stretches) * int64(cols) * 4)
	grid, packed := columnGrid(x, cols, stretches)
	if err := c.Launch("column_sums"+s, grid, Block(columnThreads), 0, x, partial, int32(rows), int32(cols), int32(stretch), packed); err != nil {
		return err
	}
	return joinColumns(c, partial, y, Null, cols, stretches, 1, count)
}
