//! The traits through which the driver reaches the world.
