package quant

import (
	"cmp"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"ringo/internal/files"
)

// shownLayers is how many layers a table lists.
const shownLayers = 5

// Table is the report for people.
func (r *Report) Table() string {
	var b strings.Builder
	row := func(name, float, int8, change string) {
		fmt.Fprintf(&b, "%-24s%14s%14s   %s\n", name, float, int8, change)
	}
	row("", "float", "int8", "")
	if r.Float.Perplexity > 0 {
		row("perplexity", fmt.Sprintf("%.4f", r.Float.Perplexity), fmt.Sprintf("%.4f", r.Int8.Perplexity), fmt.Sprintf("%+.3f ± %.3f %%, at most %+g %%", r.Drop, r.Deviation, r.MaxDrop))
	} else {
		row("accuracy", fmt.Sprintf("%.2f %%", 100*r.Float.Accuracy), fmt.Sprintf("%.2f %%", 100*r.Int8.Accuracy), fmt.Sprintf("%+.2f ± %.2f points, at most −%g", -r.Drop, r.Deviation, r.MaxDrop))
	}
	row("loss", fmt.Sprintf("%.5f", r.Float.Loss), fmt.Sprintf("%.5f", r.Int8.Loss), "")
	row("weights", fmt.Sprintf("%d B", r.FloatBytes), fmt.Sprintf("%d B", r.Int8Bytes), fmt.Sprintf("%.2f times smaller", float64(r.FloatBytes)/float64(r.Int8Bytes)))
	ms := func(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }
	row(fmt.Sprintf("a batch of %d", r.Int8.Batch), ms(r.Float.Latency), ms(r.Int8.Latency), fmt.Sprintf("%.2f times faster, %s", float64(r.Float.Latency)/float64(r.Int8.Latency), r.Device))
	fmt.Fprintf(&b, "\nlayers with the largest error, ‖y_int8 − y‖²/‖y‖² on calibration data:\n")
	for _, l := range r.worst() {
		state := l.In.Method
		if l.Float {
			state = "kept in float"
		}
		fmt.Fprintf(&b, "  %-42s%10.2e   %7.1f dB   %s\n", l.Weight, l.Error, decibels(l.Error), state)
	}
	return b.String()
}

// decibels is the signal-to-noise ratio of an error; 120 dB where there is none.
func decibels(e float64) float64 { return -10 * math.Log10(max(e, 1e-12)) }

func (r *Report) worst() []Layer {
	list := slices.Clone(r.Layers)
	slices.SortStableFunc(list, func(a, b Layer) int { return cmp.Compare(b.Error, a.Error) })
	return list[:min(len(list), shownLayers)]
}

// JSON writes report.json.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Plot draws the layers' signal-to-noise ratios as a PNG; layers kept in float are grey.
func (r *Report) Plot(w io.Writer) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s, int8 layer by layer", r.Model)
	p.Y.Label.Text = "signal to noise, dB"
	p.X.Label.Text = "layer, from the input"
	p.Y.Min = 0
	integer, float := make(plotter.Values, len(r.Layers)), make(plotter.Values, len(r.Layers))
	for i, l := range r.Layers {
		if l.Float {
			float[i] = decibels(l.Error)
		} else {
			integer[i] = decibels(l.Error)
		}
	}
	width := vg.Points(max(2, 320/float64(len(r.Layers)+1)))
	for _, series := range []struct {
		v plotter.Values
		c color.Color
	}{{integer, color.RGBA{R: 46, G: 110, B: 178, A: 255}}, {float, color.Gray{Y: 170}}} {
		bars, err := plotter.NewBarChart(series.v, width)
		if err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		bars.Color, bars.LineStyle.Width = series.c, 0
		p.Add(bars)
	}
	to, err := p.WriterTo(6*vg.Inch, 3*vg.Inch, "png")
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	_, err = to.WriteTo(w)
	return err
}

// Parts are the report's files, to be written beside the model.
func (r *Report) Parts() []files.Part {
	return []files.Part{{Name: "report.json", Write: r.JSON}, {Name: "report.png", Write: r.Plot}}
}
