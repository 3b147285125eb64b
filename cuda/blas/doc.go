// Package blas owns matrix products by cuBLASLt, which is opened at run time where it is installed: descriptors made
// once, algorithms timed once per shape and kept on disk. Everything but this file needs the build tag cuda. It must
// not know of programs.
package blas
