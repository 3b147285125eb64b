//go:build cuda

package driver

// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// AllocAsync takes device memory in a stream's order, from the device's pool.
func AllocAsync(bytes int64, s cu.Stream) (cu.DevicePtr, error) {
	var p C.CUdeviceptr
	err := Result(int(C.cuMemAllocAsync(&p, C.size_t(bytes), (C.CUstream)(handle(s)))))
	return cu.DevicePtr(p), err
}

// FreeAsync gives memory back in a stream's order.
func FreeAsync(p cu.DevicePtr, s cu.Stream) error {
	return Result(int(C.cuMemFreeAsync(C.CUdeviceptr(p), (C.CUstream)(handle(s)))))
}

// EnablePeer lets the current context use the memory of another device's context. Where the devices cannot reach each
// other it is an error that names them; where it is enabled already it does nothing.
func EnablePeer(here, there cu.Device, peer cu.CUContext) error {
	can, err := here.CanAccessPeer(there)
	if err != nil {
		return err
	}
	if can == 0 {
		return fmt.Errorf("device %d cannot reach the memory of device %d: copies go through host memory", here, there)
	}
	const alreadyEnabled = Error(C.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)
	if err := Result(int(C.cuCtxEnablePeerAccess((C.CUcontext)(handle(peer)), 0))); err != nil && err != alreadyEnabled {
		return err
	}
	return nil
}

// IPCHandle names an allocation so that another process on this machine can open it.
type IPCHandle [C.CU_IPC_HANDLE_SIZE]byte

// Export returns the handle of an allocation, which must be the address that an allocation returned.
func Export(p cu.DevicePtr) (h IPCHandle, err error) {
	var c C.CUipcMemHandle
	err = Result(int(C.cuIpcGetMemHandle(&c, C.CUdeviceptr(p))))
	return *(*IPCHandle)(unsafe.Pointer(&c)), err
}

// Import opens another process's allocation; CloseImport ends its use.
func Import(h IPCHandle) (cu.DevicePtr, error) {
	var p C.CUdeviceptr
	err := Result(int(C.cuIpcOpenMemHandle(&p, *(*C.CUipcMemHandle)(unsafe.Pointer(&h)), C.CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)))
	return cu.DevicePtr(p), err
}

// CloseImport ends the use of another process's allocation.
func CloseImport(p cu.DevicePtr) error {
	return Result(int(C.cuIpcCloseMemHandle(C.CUdeviceptr(p))))
}
