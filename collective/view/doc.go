// Package view is the agreement among launchers on who takes part in a job: a numbered chain of views, each decided by
// one single-decree Paxos instance whose acceptors are the hosts of the view before it (Lamport, "Paxos Made Simple",
// 2001; reconfiguration as in Lamport, Malkhi, Zhou, "Reconfiguring a State Machine", 2010, with a window of one).
//
// It is a pure state machine: no I/O, no clock, no goroutine, no global state. The owner (collective/launch on real
// sockets, collective/sim in virtual time) calls Step with one Input and the time, and carries out the Outputs. Equal
// inputs give equal outputs. It must not know how messages travel, what workers compute, or what a gradient is.
//
// Only launchers vote. A worker that dies is an input to its launcher, never a lost vote. docs/views.md states the
// assumptions, the rules, why they are safe and what looks safe and is not.
package view
