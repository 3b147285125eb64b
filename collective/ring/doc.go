// Package ring is the data plane of one view: workers that hold connections to each other and sum,
// gather and copy vectors over them. It owns wire frames, handshakes, deadlines, keepalives, and the choice
// between TCP, TLS and shared memory.
// It must not know how members are found or agreed on (package view), nor what the vectors mean.
//
// A process has one [Listener] for all its views, and one [Ring] per view. Calls on a Ring come from one goroutine at a
// time, and in the same order with the same sizes on all ranks; every call starts with a header that is checked, so
// ranks that disagree get an error and no wrong sums. Abort and Close may be called from anywhere.
//
// Two schedules carry all operations. With n ranks and N bytes:
//
//   - direct (exchange.go): every rank owns 1/n of the vector, gets the others' contributions for it, sums them in a
//     fixed order and sends the result to all: 2 rounds, 2(n−1)/n·N bytes sent and received per rank.
//   - around the ring (around.go): the classic reduce-scatter and all-gather in 2(n−1) rounds, with the same bytes but
//     two neighbours only.
//
// Vectors in [Memory], which the members of a host map from each other, are summed where they lie instead (inplace.go).
//
// Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (2009), show that
// no schedule sends less.
package ring
