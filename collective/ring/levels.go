package ring

import "ringo/runtime/tensor"

// levels is a view as hosts with members, for sums in three stages: within hosts, where it is cheap, every one of R members
// sums 1/R of the vector; then the members of one number, one per host, sum their part between hosts (a rail); then
// members of a host gather the parts. R is the number of members of the smallest host: 1 makes a leader per host.
//
// Between hosts a host so sends 2(h−1)/h·N bytes for h hosts, whatever its number of members.
type levels struct {
	host  []int // ranks on this host
	local int   // this rank's index in host
	rails int
	rail  []int // one rank per host, this one among them; nil where this rank is on no rail
	at    int   // this rank's index in rail
}

// planLevels returns nil where stages would not help: one host, or one member on every host.
func planLevels(o *Options) *levels {
	var hosts [][]int
	mine := -1
	for i := range o.Members {
		h := 0
		for h < len(hosts) && !o.sameHost(hosts[h][0], i) {
			h++
		}
		if h == len(hosts) {
			hosts = append(hosts, nil)
		}
		hosts[h] = append(hosts[h], i)
		if i == o.Self {
			mine = h
		}
	}
	l := &levels{host: hosts[mine], rails: len(o.Members)}
	for _, h := range hosts {
		l.rails = min(l.rails, len(h))
	}
	for i, rank := range l.host {
		if rank == o.Self {
			l.local = i
		}
	}
	if len(hosts) < 2 || len(hosts) == len(o.Members) {
		return nil
	}
	if l.local < l.rails {
		for _, h := range hosts {
			l.rail = append(l.rail, h[l.local])
		}
		l.at = mine
	}
	return l
}

// bounds cuts a vector over the rails; members beyond them get nothing.
func (l *levels) bounds(seg []int, elems int) []int {
	seg = split(seg, elems, l.rails)
	for len(seg) <= len(l.host) {
		seg = append(seg, elems)
	}
	return seg
}

// among limits an exchange to some ranks.
func (x *exchange) among(group []int, me int, stage uint8) {
	x.group, x.me, x.stage = append(x.group[:0], group...), me, stage
	x.count = ones(x.count, len(group))
}

// overLevels is AllReduce in three stages. Only what travels between hosts is coded for the wire.
func (r *Ring) overLevels(l *levels, buf []byte, dt tensor.DType, elems int) error {
	size := dt.Size()
	x := r.set(opAllReduce, dt, size)
	if len(l.host) > 1 {
		x.among(l.host, l.local, 1)
		x.seg = l.bounds(x.seg, elems)
		x.in, x.out, x.ag = append(x.in, buf), buf, false
		if err := x.run(); err != nil {
			return err
		}
	}
	if l.rail != nil {
		x.seg = l.bounds(x.seg, elems)
		part := buf[x.seg[l.local]*size : x.seg[l.local+1]*size]
		x = r.set(opAllReduce, dt, size)
		x.among(l.rail, l.at, 2)
		x.code = r.wireCode(dt, part)
		x.seg = split(x.seg, len(part)/size, len(l.rail))
		x.in, x.out = append(x.in, part), part
		if err := x.run(); err != nil {
			return err
		}
	}
	if len(l.host) > 1 {
		x = r.set(opAllReduce, dt, size)
		x.among(l.host, l.local, 3)
		x.seg = l.bounds(x.seg, elems)
		x.out, x.rs = buf, false
		return x.run()
	}
	return nil
}
