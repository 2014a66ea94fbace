"""Prints what pynvml sees of every GPU and MIG device, as JSON."""

import json

import pynvml as nvml


def migs(gpu):
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        except nvml.NVMLError_NotFound:
            return
        yield {
            "name": nvml.nvmlDeviceGetName(mig),
            "uuid": nvml.nvmlDeviceGetUUID(mig),
            "memory": nvml.nvmlDeviceGetMemoryInfo(mig).total,
            "gpu_instance": nvml.nvmlDeviceGetGpuInstanceId(mig),
            "compute_instance": nvml.nvmlDeviceGetComputeInstanceId(mig),
            "multiprocessors": nvml.nvmlDeviceGetAttributes_v2(mig).multiprocessorCount,
        }


def describe(index):
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    return {
        "name": nvml.nvmlDeviceGetName(gpu),
        "uuid": nvml.nvmlDeviceGetUUID(gpu),
        "bus": nvml.nvmlDeviceGetPciInfo(gpu).busId,
        "minor": nvml.nvmlDeviceGetMinorNumber(gpu),
        "memory": nvml.nvmlDeviceGetMemoryInfo(gpu).total,
        "temperature": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
        "power": nvml.nvmlDeviceGetPowerUsage(gpu),
        "migs": list(migs(gpu)),
    }


nvml.nvmlInit()
gpus = [describe(index) for index in range(nvml.nvmlDeviceGetCount())]
print(json.dumps({"driver": nvml.nvmlSystemGetDriverVersion(), "gpus": gpus}))
nvml.nvmlShutdown()
