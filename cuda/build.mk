# Builds what the tag cuda needs beside Go: the software device, and the kernels' images for GPUs. One object per
# family and target, so that a change rebuilds one file. Run through scripts/cuda.sh, which names the compilers.
OUT := bin/cuda
FAMILIES := $(basename $(notdir $(wildcard kernels/*.cu)))
HEADERS := $(wildcard kernels/*.cuh)
DEVICE := cuda/soft/device
PTX := cuda/soft/ptx
DEVICE_HEADERS := $(wildcard $(DEVICE)/*.h $(PTX)/*.h)
# -mtls-dialect: thread-local storage is where static shared memory lies. No fused multiply-adds beyond those
# written: the same numbers on every CPU.
CXXFLAGS := -std=c++17 -g1 -Wall -Wextra -Werror -fPIC -mtls-dialect=gnu2 -ffp-contract=off
KERNELFLAGS := -x c++ -DSOFTCUDA -I$(DEVICE) -Wno-unknown-pragmas -Wno-unused-function
OPT ?= -O2

SOFT := $(FAMILIES) $(basename $(notdir $(wildcard $(DEVICE)/*.cpp $(DEVICE)/*.cu))) $(addprefix ptx/,$(basename $(notdir $(wildcard $(PTX)/*.cpp))))
# The PTX machine works on 32 lanes at a time. It is compiled for CPUs with AVX2 and FMA, and says so on others; -O3 is what
# makes vectors of its loops.
PTXFLAGS := -O3 -mavx2 -mfma

soft: bin/libringo_softcuda.so bin/libringo_softcublaslt.so bin/libringo_softnccl.so
asan: bin/libringo_softcuda_asan.so

bin/libringo_softcuda.so: $(patsubst %,$(OUT)/soft/%.o,$(SOFT))
	$(CXX) -shared -o $@ $^ -lpthread

bin/libringo_softcublaslt.so: cuda/soft/blas/cublaslt.cpp bin/libringo_softcuda.so
	$(CXX) $(CXXFLAGS) -O2 -shared -o $@ $< -Lbin -lringo_softcuda -Wl,-rpath,'$$ORIGIN'

bin/libringo_softnccl.so: cuda/soft/nccl/nccl.cpp cuda/soft/nccl/room.cpp cuda/soft/nccl/room.h bin/libringo_softcuda.so
	$(CXX) $(CXXFLAGS) -O2 -shared -o $@ cuda/soft/nccl/nccl.cpp cuda/soft/nccl/room.cpp -Lbin -lringo_softcuda -lpthread -Wl,-rpath,'$$ORIGIN'

# Fibers are stacks that AddressSanitizer does not know: it checks heap memory only, which is what kernels touch. An access
# whose address is no multiple of its size, which a GPU refuses, ends the process too.
ASAN := -fsanitize=address,alignment -fno-sanitize-recover=alignment --param asan-stack=0 -fno-omit-frame-pointer
bin/libringo_softcuda_asan.so: $(patsubst %,$(OUT)/asan/%.o,$(SOFT))
	$(CXX) -shared $(ASAN) -o $@ $^ -lpthread

$(OUT)/soft/%.o: kernels/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft
	$(CXX) $(CXXFLAGS) $(OPT) $(KERNELFLAGS) -c $< -o $@
$(OUT)/soft/%.o: $(DEVICE)/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft
	$(CXX) $(CXXFLAGS) $(OPT) $(KERNELFLAGS) -c $< -o $@
$(OUT)/soft/%.o: $(DEVICE)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft
	$(CXX) $(CXXFLAGS) -O2 -c $< -o $@
$(OUT)/soft/ptx/%.o: $(PTX)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft/ptx
	$(CXX) $(CXXFLAGS) $(PTXFLAGS) -c $< -o $@
$(OUT)/asan/ptx/%.o: $(PTX)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan/ptx
	$(CXX) $(CXXFLAGS) $(PTXFLAGS) -c $< -o $@
$(OUT)/asan/%.o: kernels/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan
	$(CXX) $(CXXFLAGS) -O1 $(ASAN) $(KERNELFLAGS) -c $< -o $@
$(OUT)/asan/%.o: $(DEVICE)/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan
	$(CXX) $(CXXFLAGS) -O1 $(ASAN) $(KERNELFLAGS) -c $< -o $@
$(OUT)/asan/%.o: $(DEVICE)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan
	$(CXX) $(CXXFLAGS) -O1 $(ASAN) -c $< -o $@

$(OUT)/soft $(OUT)/asan $(OUT)/soft/ptx $(OUT)/asan/ptx:
	mkdir -p $@

# Images: machine code for the GPUs in ARCHS, PTX for newer ones; families for Hopper's own instructions, *_hopper.cu, have code for that GPU
# alone. NVCC names a toolkit's compiler, NVRTC the
# compiler library; scripts/cuda.sh sets one of them. LINEINFO=--generate-line-info lets compute-sanitizer and profilers name
# lines of the source; it doubles the size.
ARCHS := sm_80 sm_90
HOPPER := $(filter %_hopper,$(FAMILIES))
PORTABLE := $(filter-out $(HOPPER),$(FAMILIES))
CUBINS := $(foreach a,$(ARCHS),$(PORTABLE:%=%.$(a))) $(HOPPER:%=%.sm_90a)
IMAGES := $(CUBINS:%=cuda/image/%.cubin.gz) $(PORTABLE:%=cuda/image/%.ptx.gz)
NVCCFLAGS := -std=c++17 -O3 -Werror all-warnings -Ikernels
ifdef NVCC
cubin = $(NVCC) $(NVCCFLAGS) $(LINEINFO:--generate-line-info=-lineinfo) -cubin -gencode arch=$(subst sm_,compute_,$1),code=$1 -Xptxas -v -o $3 $2
ptx = $(NVCC) $(NVCCFLAGS) $(LINEINFO:--generate-line-info=-lineinfo) -ptx -arch=compute_80 -o $2 $1
else
cubin = $(OUT)/nvrtc $(NVRTC) $1 $2 $3 -Ikernels $(LINEINFO)
ptx = $(OUT)/nvrtc $(NVRTC) compute_80 $1 $2 -Ikernels $(LINEINFO)
COMPILE := $(OUT)/nvrtc
endif

image: $(OUT)/resources.txt
$(OUT)/resources.txt: $(IMAGES)
	@rm -f $(filter-out $(IMAGES),$(wildcard cuda/image/*.gz))
	awk -f cuda/compile/resources.awk $(CUBINS:%=$(OUT)/image/%.log) | LC_ALL=C sort > $@

# Another compiler makes everything anew. The file is written, and so newer than what hangs on it, only where that is so.
IDENTITY = $(NVCC) $(NVRTC) $(LINEINFO) $(if $(NVCC),$(shell $(NVCC) --version | tail -1))
$(OUT)/image/compiler $(OUT)/check/compiler: $(OUT)/%/compiler: FORCE | $(OUT)/%
	@echo '$(IDENTITY)' | cmp -s - $@ || echo '$(IDENTITY)' > $@

# What ptxas only remarks on, products of warpgroups that it makes wait for each other, counts as an error too: $(call silent,LOG).
silent = ! grep -q '(C75' $1

define architecture
cuda/image/%.$1.cubin.gz: kernels/%.cu $(HEADERS) cuda/build.mk $(COMPILE) $(OUT)/image/compiler | $(OUT)/image
	@$$(call cubin,$1,$$<,$(OUT)/image/$$*.$1.cubin) > $(OUT)/image/$$*.$1.log 2>&1 && $$(call silent,$(OUT)/image/$$*.$1.log) || { cat $(OUT)/image/$$*.$1.log >&2; exit 1; }
	@gzip -9nc $(OUT)/image/$$*.$1.cubin > $$@
endef
$(foreach a,$(ARCHS) sm_90a,$(eval $(call architecture,$a)))
cuda/image/%.ptx.gz: kernels/%.cu $(HEADERS) cuda/build.mk $(COMPILE) $(OUT)/image/compiler | $(OUT)/image
	@$(call ptx,$<,$(OUT)/image/$*.ptx) > $(OUT)/image/$*.ptx.log 2>&1 || { cat $(OUT)/image/$*.ptx.log >&2; exit 1; }
	@gzip -9nc $(OUT)/image/$*.ptx > $@

# Kernels with mistakes, for the tests of the PTX machine: with lines, which its messages name.
planted: $(OUT)/planted.ptx
$(OUT)/planted.ptx: LINEINFO := --generate-line-info
$(OUT)/planted.ptx: $(PTX)/planted.cu $(HEADERS) cuda/build.mk $(COMPILE) $(OUT)/image/compiler
	@$(call ptx,$<,$@.part) > $(OUT)/image/planted.ptx.log 2>&1 || { cat $(OUT)/image/planted.ptx.log >&2; exit 1; }
	@mv $@.part $@

$(OUT)/nvrtc: cuda/compile/nvrtc.c
	mkdir -p $(OUT)
	$(CC) -O1 -Wall -Wno-strict-prototypes -o $@ $< -ldl

# A second opinion: nvcc, one call per file for all targets, for its warnings and for registers and spills.
comma := ,
GENCODE := -gencode arch=compute_80,code=compute_80 $(foreach a,$(ARCHS:sm_%=%),-gencode arch=compute_$(a)$(comma)code=sm_$(a))
$(HOPPER:%=$(OUT)/check/%.log): GENCODE := -gencode arch=compute_90a,code=sm_90a
check: $(OUT)/check/resources.txt
$(OUT)/check/resources.txt: $(patsubst %,$(OUT)/check/%.log,$(FAMILIES))
	awk -f cuda/compile/resources.awk $^ | LC_ALL=C sort > $@
$(OUT)/check/%.log: kernels/%.cu $(HEADERS) cuda/build.mk $(OUT)/check/compiler | $(OUT)/check
	@$(NVCC) $(NVCCFLAGS) -fatbin $(GENCODE) -Xptxas -v -o $(OUT)/check/$*.fatbin $< > $@.part 2>&1 && $(call silent,$@.part) || { cat $@.part >&2; exit 1; }
	@mv $@.part $@

$(OUT)/image $(OUT)/check:
	mkdir -p $@

.PHONY: soft asan image planted check FORCE
