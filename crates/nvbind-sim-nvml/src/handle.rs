//! Opaque handles: numbers that say what they are, so that a wrong one is told instead of followed.

/// What the C ABI calls `nvmlDevice_t`, `nvmlGpuInstance_t` and so on: a pointer that nobody follows.
pub(crate) type Handle = usize;

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    /// A GPU, by its place in the machine.
    Gpu(usize),
    /// A MIG device, by GPU, GPU instance id and compute instance id.
    Mig(usize, u32, u32),
    /// A GPU instance.
    GpuInstance(usize, u32),
    /// A compute instance, by GPU, GPU instance id and its own.
    ComputeInstance(usize, u32, u32),
    /// An event set, by number.
    EventSet(usize),
}

/// Marks our handles. The bits below are kind (4), GPU or number (20), GPU instance (4), compute instance (4).
const MARK: usize = 0x4e56_0000_0000;

impl Object {
    /// The handle that stands for it.
    pub(crate) fn handle(self) -> Handle {
        let (kind, number, gi, ci) = match self {
            Self::Gpu(gpu) => (1, gpu, 0, 0),
            Self::Mig(gpu, gi, ci) => (2, gpu, gi, ci),
            Self::GpuInstance(gpu, gi) => (3, gpu, gi, 0),
            Self::ComputeInstance(gpu, gi, ci) => (4, gpu, gi, ci),
            Self::EventSet(number) => (5, number, 0, 0),
        };
        MARK | kind << 28 | (number & 0xf_ffff) << 8 | (gi as usize & 0xf) << 4 | ci as usize & 0xf
    }

    /// What the handle stands for, when it is one of ours.
    pub(crate) fn of(handle: Handle) -> Option<Self> {
        if handle & !0xffff_ffff != MARK {
            return None;
        }
        let number = handle >> 8 & 0xf_ffff;
        let (gi, ci) = ((handle >> 4 & 0xf) as u32, (handle & 0xf) as u32);
        match handle >> 28 & 0xf {
            1 => Some(Self::Gpu(number)),
            2 => Some(Self::Mig(number, gi, ci)),
            3 => Some(Self::GpuInstance(number, gi)),
            4 => Some(Self::ComputeInstance(number, gi, ci)),
            5 => Some(Self::EventSet(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_tells_what_it_stands_for() {
        let objects = [
            Object::Gpu(0),
            Object::Gpu(31),
            Object::Mig(7, 13, 6),
            Object::GpuInstance(3, 0),
            Object::ComputeInstance(1, 5, 2),
            Object::EventSet(70_000),
        ];
        for object in objects {
            assert_eq!(Object::of(object.handle()), Some(object));
        }
        assert_eq!(Object::of(0), None);
        assert_eq!(Object::of(usize::MAX), None);
    }
}
