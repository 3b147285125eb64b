// Package sim runs a job in virtual time: real view machines (collective/view), a model of the workers' step protocol on
// top, and a seeded network that delays, loses, repeats, reorders and cuts. Processes crash, hang, restart, join and
// leave. After every event it checks what must never happen; at the end, that the job went on. One seed is one schedule,
// to the last event: a failure prints its seed, and Run with Options.Trace tells its story.
//
// StepTime answers another question with the same vocabulary: how long a training step takes on a given cluster.
//
// It must not touch sockets, files, processes or the wall clock.
package sim
