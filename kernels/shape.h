// Moving elements between layouts.
#pragma once
#include "elementwise.h"

// y[…] = x[…] over a loop nest with any strides: operand 0 is y, 1 is x; size is the bytes of an element (1, 2, 4, 8).
// Serves slice, broadcast, transpose, and with a strided y their inverses.
void rg_move(const rg_loop *l, int size, const void *x, void *y);
// Concatenation: input i holds `rows` rows of bytes[i] bytes; y's rows hold them one after another.
void rg_concat(int count, const uintptr_t *in, const int64_t *bytes, long rows, void *y);
// Fills the n elements of y with bits, then moves x to y from element `at` on; a loop of no axes moves nothing.
void rg_fill_move(const rg_loop *l, int size, const void *x, void *y, long at, uint64_t bits, long n);
