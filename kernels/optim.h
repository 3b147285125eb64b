// Optimizer updates over n contiguous elements; the formulas are at the ops' rows in the graph package.
#pragma once

// Places in the buffer of the step's numbers, as HyperLR and so on in the graph package.
enum { RG_HYPER_LR = 0, RG_HYPER_SCALE = 1, RG_HYPER_BIAS1 = 2, RG_HYPER_BIAS2 = 3 };

typedef struct {
  long n;
  float *param, *m, *v;     // m: first moment or momentum; v: second moment of AdamW, else NULL
  const float *grad;
  const float *hyper, *norm; // norm NULL, or grad_norm's output
  double beta1, beta2;       // momentum is beta1 in SGD; double, as 1 − 0.999f is off by 5e-5
  double eps, decay;
  int nesterov;
} rg_optim;

// Several updates by one rule in one round of the pool.
enum { RG_ADAMW = 0, RG_SGD = 1, RG_LION = 2 };
typedef struct {
  const rg_optim *of;
  long at; // which of the pieces of that update
} rg_optim_piece;
typedef struct {
  int rule;
  long count;
  const rg_optim_piece *pieces; // all of every update
} rg_optim_group;
// rg_optim_pieces returns the pieces of an update of n elements.
long rg_optim_pieces(long n);
void rg_optim_run(const rg_optim_group *g);

// What the numbers of one AdamW step come to: step is lr / bias₁, root2 1 / √bias₂; with the gradient's scale s, c1 is (1−β₁)·s and
// root_c2 √(1−β₂)·s.
typedef struct {
  float keep, step, root2, eps, b1, b2, c1, root_c2;
} rg_adamw_set;

void rg_adamw(const rg_optim *a);
void rg_sgd(const rg_optim *a);
void rg_lion(const rg_optim *a);
// state = keep·state + add·value
void rg_lerp(float *state, const float *value, float keep, float add, long n);
// out = {‖g‖, factor}; max 0 only measures
void rg_grad_norm(float *out, const float *grad, const float *hyper, float max, long n);
