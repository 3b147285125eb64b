//go:build cuda

// One trampoline per driver function: it jumps through a table whose entry starts at code that pushes the
// function's index and asks ringo_cuda_resolve for the address. After that a call costs one indirect jump. The names are hidden:
// go-nvml has the linker export a program's symbols, and libcuda, the libraries above it and tools that are injected must find the driver's
// functions, not these.

	.set index, 0

.macro trampoline name
	.text
	.globl \name
	.hidden \name
	.type \name, @function
	.p2align 4
\name:
	endbr64
	jmp *(ringo_cuda_table + 8 * index)(%rip)
.Lunresolved_\name:
	push $index
	jmp resolve_and_call
	.size \name, . - \name
	.section .data.ringo_cuda_table, "aw"
	.quad .Lunresolved_\name
	.set index, index + 1
.endm

	.section .data.ringo_cuda_table, "aw"
	.globl ringo_cuda_table
	.hidden ringo_cuda_table
	.p2align 3
ringo_cuda_table:

	.text
// On entry: (%rsp) is the index, 8(%rsp) the caller's return address. All argument registers of the System V
// ABI survive the call of the resolver; the stack is 16-aligned there: 8 + 8 + 6·8 + 128 bytes.
resolve_and_call:
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %r8
	push %r9
	mov 48(%rsp), %rdi
	sub $128, %rsp
	movups %xmm0, 0(%rsp)
	movups %xmm1, 16(%rsp)
	movups %xmm2, 32(%rsp)
	movups %xmm3, 48(%rsp)
	movups %xmm4, 64(%rsp)
	movups %xmm5, 80(%rsp)
	movups %xmm6, 96(%rsp)
	movups %xmm7, 112(%rsp)
	call ringo_cuda_resolve
	movups 0(%rsp), %xmm0
	movups 16(%rsp), %xmm1
	movups 32(%rsp), %xmm2
	movups 48(%rsp), %xmm3
	movups 64(%rsp), %xmm4
	movups 80(%rsp), %xmm5
	movups 96(%rsp), %xmm6
	movups 112(%rsp), %xmm7
	add $128, %rsp
	pop %r9
	pop %r8
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	add $8, %rsp
	jmp *%rax

#define SYMBOL(name) trampoline name
#include "symbols.h"
#undef SYMBOL

	.section .note.GNU-stack, "", @progbits
