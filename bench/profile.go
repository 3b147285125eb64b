package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"ringo/models"
	"ringo/runtime/plan"
)

// Profile runs a job instruction by instruction and prints where the time of a step goes: per kind of
// instruction (op and shapes), its count, the sum of its medians over steps, share, FLOP/s and bytes per second. Timing every instruction by
// itself adds about a tenth of a microsecond to each, on a GPU some ten microseconds for launch and wait.
func Profile(w io.Writer, job Job, c Config) error {
	l, err := prepare(job, c)
	if err != nil {
		return err
	}
	defer l.close()
	p := l.exec.Program()
	const warmup = 3
	rounds := max(c.Steps, 20)
	times := make([][]time.Duration, len(p.Instrs))
	for round := range warmup + rounds {
		if err := l.step.Begin(3e-4, 0.1, 0.05); err != nil {
			return err
		}
		for i := range p.Instrs {
			start := time.Now()
			if err := l.instruction(i); err != nil {
				return err
			}
			if round >= warmup {
				times[i] = append(times[i], time.Since(start))
			}
		}
	}
	typical := make([]time.Duration, len(p.Instrs))
	for i, t := range times {
		slices.Sort(t)
		typical[i] = t[len(t)/2]
	}
	printProfile(w, p, typical)
	return nil
}

// instruction runs one instruction and waits for it where the device runs by itself.
func (w *workload) instruction(i int) error {
	if err := w.exec.Run(i, i+1); err != nil || w.device.Name() == "cpu" {
		return err
	}
	_, err := w.step.Mean(models.Loss)
	return err
}

type profileRow struct {
	key          string
	count        int
	time         time.Duration
	flops, bytes int64
}

func printProfile(w io.Writer, p *plan.Program, typical []time.Duration) {
	rows := map[string]*profileRow{}
	var all time.Duration
	for i := range p.Instrs {
		in := &p.Instrs[i]
		key := in.Op.Name
		for _, r := range in.In[:min(2, len(in.In))] {
			key += " " + r.Type.String()
		}
		row := rows[key]
		if row == nil {
			row = &profileRow{key: key}
			rows[key] = row
		}
		d := typical[i]
		row.count++
		row.time += d
		row.flops += in.FLOPs
		row.bytes += in.Bytes()
		all += d
	}
	var list []*profileRow
	for _, r := range rows {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *profileRow) int { return cmp.Compare(b.time, a.time) })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "µs\tshare\tcount\tGFLOP/s\tGB/s\t  instruction\t")
	for _, r := range list {
		s := max(r.time, 1).Seconds()
		fmt.Fprintf(tw, "%.1f\t%.1f %%\t%d\t%.0f\t%.1f\t  %s\t\n", s*1e6, 100*float64(r.time)/float64(all), r.count, float64(r.flops)/s/1e9, float64(r.bytes)/s/1e9, r.key)
	}
	tw.Flush()
	fmt.Fprintf(w, "%.1f µs in all\n", all.Seconds()*1e6)
}
