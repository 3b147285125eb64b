// Package nccl owns the binding to NCCL, which is opened at run time where it is installed: nonblocking communicators that
// are watched while they work and can be aborted at any moment, and sums of device memory in place. Everything but this file
// needs the build tag cuda. It must not know of programs, views or training.
package nccl
