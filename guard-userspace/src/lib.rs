//! ProcessGuard's userspace: everything around the deciding core that touches the world.

pub mod sensor;
