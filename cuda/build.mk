# Builds what the tag cuda needs beside Go: the software device, and the kernels' images for GPUs. One object per
# family and target, so that a change rebuilds one file. Run through scripts/cuda.sh, which sets COMPILER.
OUT := bin/cuda
FAMILIES := $(basename $(notdir $(wildcard kernels/*.cu)))
HEADERS := $(wildcard kernels/*.cuh)
DEVICE := cuda/soft/device
DEVICE_HEADERS := $(wildcard $(DEVICE)/*.h)
# -mtls-dialect: thread-local storage is where static shared memory lies. No fused multiply-adds beyond those
# written: the same numbers on every CPU.
CXXFLAGS := -std=c++17 -g -Wall -Wextra -Werror -fPIC -mtls-dialect=gnu2 -ffp-contract=off
KERNELFLAGS := -x c++ -DSOFTCUDA -I$(DEVICE) -Wno-unknown-pragmas -Wno-unused-function
OPT ?= -O2

soft: bin/libringo_softcuda.so
asan: bin/libringo_softcuda_asan.so

bin/libringo_softcuda.so: $(patsubst %,$(OUT)/soft/%.o,$(FAMILIES) $(basename $(notdir $(wildcard $(DEVICE)/*.cpp))))
	$(CXX) -shared -o $@ $^ -lpthread

# Fibers are stacks that AddressSanitizer does not know: it checks heap memory only, which is what kernels touch.
ASAN := -fsanitize=address --param asan-stack=0 -fno-omit-frame-pointer
bin/libringo_softcuda_asan.so: $(patsubst %,$(OUT)/asan/%.o,$(FAMILIES) $(basename $(notdir $(wildcard $(DEVICE)/*.cpp))))
	$(CXX) -shared $(ASAN) -o $@ $^ -lpthread

$(OUT)/soft/%.o: kernels/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft
	$(CXX) $(CXXFLAGS) $(OPT) $(KERNELFLAGS) -c $< -o $@
$(OUT)/soft/%.o: $(DEVICE)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/soft
	$(CXX) $(CXXFLAGS) -O2 -c $< -o $@
$(OUT)/asan/%.o: kernels/%.cu $(HEADERS) $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan
	$(CXX) $(CXXFLAGS) -O1 $(ASAN) $(KERNELFLAGS) -c $< -o $@
$(OUT)/asan/%.o: $(DEVICE)/%.cpp $(DEVICE_HEADERS) cuda/build.mk | $(OUT)/asan
	$(CXX) $(CXXFLAGS) -O1 $(ASAN) -c $< -o $@

$(OUT)/soft $(OUT)/asan:
	mkdir -p $@

.PHONY: soft asan
