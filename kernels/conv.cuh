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

// A Tap is one k of a product: a channel of the group and a place in the window, as steps from where the window begins in the plane.
// Taps are counted up to whole tiles; those beyond the last lie nowhere.
struct __align__(16) Tap {
  int offset, row, col; // in elements of the group's planes; in pixels
  int phase;            // back, with strides: which pixels have this tap
};
#define NOWHERE (1 << 30)

// A Window is where the windows of a pixel begin: those of output pixel (i,j) in x or, back, of input pixel (i,j) in dy. Under tap
// (r,s) lies, with stride a and dilation d (likewise across),
//
//   x row i·a − top + r·d          dy row (i + top − r·d)/a, where that is whole: (i + top) mod a = r·d mod a
//
// so that its element is a step from the window's, and meets one if row and column are in the plane and the phases agree.
template <class T, bool back> struct Window {
  const T *origin;
  int row, col, phase;

  DEVICE_MEMBER void place(const ConvShape &c, const T *image, int i, int j, bool live) {
    int y = i + c.top, x = j + c.left;
    row = back ? y / c.stride_h : i * c.stride_h - c.top;
    col = back ? x / c.stride_w : j * c.stride_w - c.left;
    phase = back ? y % c.stride_h * c.stride_w + x % c.stride_w : 0;
    origin = image + ((int64_t)row * (back ? c.ow : c.w) + col);
    if (!live) row = NOWHERE / 2;
  }
  DEVICE_MEMBER T at(const ConvShape &c, const Tap &t) const {
    bool there = (unsigned)(row + t.row) < (unsigned)(back ? c.oh : c.h); // no && below: it would be branches
    there &= (unsigned)(col + t.col) < (unsigned)(back ? c.ow : c.w);
    if (back) there &= phase == t.phase;
    return there ? origin[t.offset] : T();
  }
};

// tap is number k of a product's taps, as Window<T, back> takes them.
DEVICE Tap tap(const ConvShape &c, int k, bool back) {
  int channel = k / (c.kh * c.kw), r = k / c.kw % c.kh * c.dilation_h, s = k % c.kw * c.dilation_w;
  if (!back) return {(channel * c.h + r) * c.w + s, r, s, 0};
  int row = -(r / c.stride_h), col = -(s / c.stride_w);
  return {(channel * c.oh + row) * c.ow + col, row, col, r % c.stride_h * c.stride_w + s % c.stride_w};
}
