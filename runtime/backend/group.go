package backend

import "context"

// DeviceGrouper is a Backend whose device can sum gradients with the devices of other processes by itself: GPUs, through
// NCCL. One process makes an ID, all get it in a way of their own, and all call JoinGroup.
type DeviceGrouper interface {
	// CanGroup says why this process cannot take part in a group, nil where it can.
	CanGroup() error
	// GroupID makes an ID.
	GroupID() ([]byte, error)
	// JoinGroup meets size processes with one ID and returns when all are there, with an error when ctx ends before. An ID
	// serves once.
	JoinGroup(ctx context.Context, id []byte, rank, size int) (DeviceGroup, error)
}

// DeviceGroup is one process's place among those. Calls but Abort come from one goroutine at a time, in the same order in
// every process. After an error the group is of no more use.
type DeviceGroup interface {
	// Sum begins to add up elements [from,to) of a gradient over all processes, in place: it takes them when everything run
	// so far is done, and goes on beside what is run later. The gradient is one of this backend's.
	Sum(g DeviceGradient, from, to int) error
	// Wait returns when every sum is done; what is run later sees them.
	Wait() error
	// Abort ends the call in progress and all later ones with an error, from any goroutine.
	Abort()
	// Close leaves. Sums that are not done end without a result.
	Close() error
}

// DeviceGradient is a Gradient that a DeviceGroup can sum.
type DeviceGradient interface {
	Gradient
	// Fill sets elements [from,to) to v, in the order of what is run.
	Fill(from, to int, v float32) error
}
