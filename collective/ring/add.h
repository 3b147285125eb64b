// What add.c offers to add_cgo.go. Vectors have n elements; d may be a or b.
#pragma once
#include <stdint.h>

void ring_add_f32(float *d, const float *a, const float *b, long n);
void ring_add_f64(double *d, const double *a, const double *b, long n);
void ring_add_i32(uint32_t *d, const uint32_t *a, const uint32_t *b, long n);
void ring_add_bf16(uint16_t *d, const uint16_t *a, const uint16_t *b, long n);
// ring_add_f16 returns how many elements it added: the caller does the rest.
long ring_add_f16(uint16_t *d, const uint16_t *a, const uint16_t *b, long n);
void ring_to_bf16(uint16_t *d, const float *a, long n);
void ring_from_bf16(float *d, const uint16_t *a, long n);
void ring_sum_bf16(float *d, const uint16_t *a, long n); // d += a
