package metrics

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"ringo/internal/files"
)

// Plot is the sink that keeps the curve of the loss and draws it as a PNG on Close.
type Plot struct {
	path, title string
	train, val  plotter.XYs
}

// NewPlot returns a sink that draws to path. history is what an earlier part of the run said; room is the
// number of step events to expect, so that recording one allocates nothing.
func NewPlot(path, title string, history []Point, room int) *Plot {
	p := &Plot{path: path, title: title}
	p.train = make(plotter.XYs, 0, len(history)+room)
	for _, h := range history {
		if h.Loss != nil {
			p.train = append(p.train, plotter.XY{X: float64(h.Step), Y: *h.Loss})
		}
		if h.ValLoss != nil {
			p.val = append(p.val, plotter.XY{X: float64(h.Step), Y: *h.ValLoss})
		}
	}
	return p
}

// Event records the losses of step and eval events.
func (p *Plot) Event(e Event, _ []byte) error {
	switch e := e.(type) {
	case *Step:
		if finite(e.Loss) {
			p.train = append(p.train, plotter.XY{X: float64(e.Step), Y: e.Loss})
		}
	case *Eval:
		if finite(e.ValLoss) {
			p.val = append(p.val, plotter.XY{X: float64(e.Step), Y: e.ValLoss})
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Close draws the picture, whole or not at all. A run without events leaves none.
func (p *Plot) Close() error {
	if len(p.train) == 0 && len(p.val) == 0 {
		return nil
	}
	if err := files.Write(files.OS{}, filepath.Dir(p.path), files.Part{Name: filepath.Base(p.path), Write: p.Draw}); err != nil {
		return fmt.Errorf("loss plot: %w", err)
	}
	return nil
}

// The picture's colours: a light and a dark blue for training, orange for validation, greys for the frame.
var (
	lightBlue = color.RGBA{R: 0xb9, G: 0xd3, B: 0xee, A: 0xff}
	darkBlue  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	orange    = color.RGBA{R: 0xe0, G: 0x6c, B: 0x1f, A: 0xff}
	gridGrey  = color.RGBA{R: 0xe6, G: 0xe6, B: 0xe6, A: 0xff}
	axisGrey  = color.RGBA{R: 0x55, G: 0x55, B: 0x55, A: 0xff}
)

// Draw writes the picture as PNG.
func (p *Plot) Draw(w io.Writer) error {
	pl := plot.New()
	style(pl, p.title)
	if len(p.train) > 0 {
		shown := thinned(p.train, mostPoints)
		raw := line(shown, lightBlue, 1)
		smooth := line(smoothed(shown), darkBlue, 2)
		pl.Add(raw, smooth)
		pl.Legend.Add("training", raw)
		pl.Legend.Add("training, smoothed", smooth)
	}
	if len(p.val) > 0 {
		l := line(p.val, orange, 2)
		dots := &plotter.Scatter{XYs: p.val, GlyphStyle: draw.GlyphStyle{Color: orange, Radius: vg.Points(3.2), Shape: draw.CircleGlyph{}}}
		pl.Add(l, dots)
		last := p.val[len(p.val)-1]
		pl.Legend.Add(fmt.Sprintf("validation, last %.4g", last.Y), l, dots)
	}
	pl.X.Min = 0
	// A curve without height, but for rounding, gets some: ticks could not be told apart.
	if least := 1e-6 * math.Max(math.Abs(pl.Y.Min), math.Abs(pl.Y.Max)); pl.Y.Max-pl.Y.Min <= least {
		pl.Y.Min, pl.Y.Max = pl.Y.Min-0.5, pl.Y.Max+0.5
	}
	// 8 × 4.6 inches at 120 dots per inch: 960 × 552 pixels, readable in a README, 2 MB of memory.
	img := vgimg.NewWith(vgimg.UseWH(8*vg.Inch, 4.6*vg.Inch), vgimg.UseDPI(120))
	pl.Draw(draw.Crop(draw.New(img), vg.Points(8), vg.Points(-14), vg.Points(8), vg.Points(-10)))
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

func style(pl *plot.Plot, title string) {
	sans := func(size vg.Length) font.Font { return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size} }
	pl.Title.Text = title
	pl.Title.TextStyle.Font = sans(vg.Points(13))
	pl.Title.Padding = vg.Points(6)
	pl.X.Label.Text, pl.Y.Label.Text = "step", "loss (nats)"
	for _, a := range []*plot.Axis{&pl.X, &pl.Y} {
		a.Label.TextStyle.Font = sans(vg.Points(11))
		a.Tick.Label.Font = sans(vg.Points(10))
		a.Color, a.Tick.Color = axisGrey, axisGrey
		a.Label.Padding = vg.Points(4)
		a.Tick.Marker = plot.TickerFunc(ticks)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridGrey, gridGrey
	pl.Add(grid)
	pl.Legend.Top = true
	pl.Legend.TextStyle.Font = sans(vg.Points(10))
	pl.Legend.ThumbnailWidth = vg.Points(22)
	pl.Legend.XOffs, pl.Legend.YOffs = vg.Points(-6), vg.Points(-4)
	pl.Legend.Padding = vg.Points(2)
}

func line(xy plotter.XYs, c color.Color, width float64) *plotter.Line {
	return &plotter.Line{XYs: xy, LineStyle: draw.LineStyle{Color: c, Width: vg.Points(width)}}
}

// mostPoints is about four points for every pixel of the curve's width; more are not seen and take minutes to draw.
const mostPoints = 4096

// thinned returns at most `most` points, each the mean of as many neighbours as that takes.
func thinned(xy plotter.XYs, most int) plotter.XYs {
	k := (len(xy) + most - 1) / most
	if k <= 1 {
		return xy
	}
	out := make(plotter.XYs, 0, most)
	for len(xy) > 0 {
		part := xy[:min(k, len(xy))]
		var p plotter.XY
		for _, q := range part {
			p.X += q.X / float64(len(part))
			p.Y += q.Y / float64(len(part))
		}
		out, xy = append(out, p), xy[len(part):]
	}
	return out
}

// smoothed is the average around each point under a Gaussian weight, whose standard deviation is a fortieth
// of the curve: centred, and narrower towards the start, so that it does not lag behind the steep descent
// there as a running average does.
func smoothed(xy plotter.XYs) plotter.XYs {
	sigma := math.Max(1, float64(len(xy))/40)
	out := make(plotter.XYs, len(xy))
	for i := range xy {
		var sum, weight float64
		reach := min(int(3*sigma), i)
		for j := max(0, i-reach); j <= min(len(xy)-1, i+reach); j++ {
			d := float64(j-i) / sigma
			w := math.Exp(-d * d / 2)
			sum += w * xy[j].Y
			weight += w
		}
		out[i] = plotter.XY{X: xy[i].X, Y: sum / weight}
	}
	return out
}

// ticks puts labels at multiples of 1, 2 or 5 times a power of ten, five to ten of them.
func ticks(lo, hi float64) (out []plot.Tick) {
	span := hi - lo
	if !(span > 0) {
		return []plot.Tick{{Value: lo, Label: strconv.FormatFloat(lo, 'g', 4, 64)}}
	}
	unit := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, m := range []float64{5, 2} {
		if span/(m*unit) >= 5 {
			unit *= m
			break
		}
	}
	first := math.Ceil(lo / unit)
	for i := range 12 { // counted: next to numbers above 2⁵³ units, adding one unit changes nothing
		if v := (first + float64(i)) * unit; v <= hi {
			out = append(out, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
		}
	}
	return out
}
