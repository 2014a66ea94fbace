"""Makes a MIG layout through pynvml: half a GPU shared by two compute instances, and one slice. Prints the errors that
impossible requests get."""

import ctypes

import pynvml as nvml


def refused(call, *arguments):
    try:
        call(*arguments)
    except nvml.NVMLError as error:
        print(type(error).__name__)
    else:
        print("accepted")


def profile(gpu, number):
    return nvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, number, version=2)


nvml.nvmlInit()
gpu = nvml.nvmlDeviceGetHandleByIndex(1)
half = profile(gpu, nvml.NVML_GPU_INSTANCE_PROFILE_3_SLICE)
slice_ = profile(gpu, nvml.NVML_GPU_INSTANCE_PROFILE_1_SLICE)
whole = profile(gpu, nvml.NVML_GPU_INSTANCE_PROFILE_7_SLICE)

refused(nvml.nvmlDeviceCreateGpuInstance, gpu, half.id)
assert nvml.nvmlDeviceSetMigMode(gpu, nvml.NVML_DEVICE_MIG_ENABLE) == nvml.NVML_SUCCESS
assert nvml.nvmlDeviceGetMigMode(gpu) == [1, 1]

first = nvml.nvmlDeviceCreateGpuInstance(gpu, half.id)
for _ in range(2):
    nvml.nvmlGpuInstanceCreateComputeInstance(first, nvml.NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE)
place = nvml.c_nvmlGpuInstancePlacement_t(start=3, size=1)
second = nvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, slice_.id, ctypes.byref(place))
nvml.nvmlGpuInstanceCreateComputeInstance(second, nvml.NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE)

refused(nvml.nvmlDeviceCreateGpuInstance, gpu, whole.id)
refused(nvml.nvmlDeviceCreateGpuInstance, gpu, 4711)
refused(nvml.nvmlDeviceCreateGpuInstanceWithPlacement, gpu, slice_.id, ctypes.byref(place))
refused(nvml.nvmlGpuInstanceDestroy, first)
refused(nvml.nvmlDeviceSetMigMode, gpu, nvml.NVML_DEVICE_MIG_DISABLE)
refused(nvml.nvmlDeviceGetGpuInstanceById, gpu, 14)
refused(nvml.nvmlGpuInstanceCreateComputeInstance, first, nvml.NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE)
print(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, slice_.id))
nvml.nvmlShutdown()
