// What the convolution kernels share: the geometry, and where a pixel of an output meets a pixel of an input.
#pragma once
#include "device.cuh"
#include "epilogue.cuh"

// ConvShape is laid out as convDevice of conv_cuda.go: x (images, groups·cg, h, w), weight (groups·og, cg, kh, kw), y (images, groups·og, oh, ow).
struct ConvShape {
  int images, groups, cg, og, h, w, oh, ow, kh, kw;
  int stride_h, stride_w, dilation_h, dilation_w, top, left;
};

// read_x is x under tap (r,s) of output (i,j) in a plane, 0 in the padding.
template <class T> DEVICE float read_x(const ConvShape &c, const T *plane, int i, int j, int r, int s) {
  int y = i * c.stride_h - c.top + r * c.dilation_h, x = j * c.stride_w - c.left + s * c.dilation_w;
  return (unsigned)y < (unsigned)c.h && (unsigned)x < (unsigned)c.w ? to_float(plane[(int64_t)y * c.w + x]) : 0.f;
}

// read_y is dy at the output that meets input (i,j) under tap (r,s) in a plane, 0 where there is none.
template <class T> DEVICE float read_y(const ConvShape &c, const T *plane, int i, int j, int r, int s) {
  int y = i + c.top - r * c.dilation_h, x = j + c.left - s * c.dilation_w;
  if (y < 0 || x < 0 || y % c.stride_h || x % c.stride_w) return 0.f;
  y /= c.stride_h, x /= c.stride_w;
  return y < c.oh && x < c.ow ? to_float(plane[(int64_t)y * c.ow + x]) : 0.f;
}

// A Tap is one k of a product: a channel of the group and a place in the window.
struct __align__(16) Tap {
  int channel, r, s, unused;
};
