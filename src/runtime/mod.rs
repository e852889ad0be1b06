//! What runs shards: the driver, and the worlds that it runs in.
//!
//! [`driver`] moves bytes between connections, the mesh, the disk and the shard, and is generic over the ports. `glommio` implements
//! the ports for production, one executor a core; it is the only module that names glommio. `sim` implements them over a
//! simulated disk, clock and network, all driven by one seed.

pub mod allocator;
pub mod driver;
pub mod glommio;
pub mod sim;
