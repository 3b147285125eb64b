// Softmax along the last axis of x (rows, cols), and its relatives. Outputs may be the inputs' own memory.
#pragma once
void rg_softmax(float *y, const float *x, long rows, long cols);
void rg_log_softmax(float *y, const float *x, long rows, long cols);
void rg_softmax_grad(float *dx, const float *y, const float *dy, long rows, long cols);
void rg_log_softmax_grad(float *dx, const float *y, const float *dy, long rows, long cols);
