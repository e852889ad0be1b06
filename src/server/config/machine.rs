//! What the machine has for this process: the cores of its affinity mask, and memory by the machine or its cgroup.
//!
//! A container's limit is found where the kernel keeps it: `/proc/self/cgroup` names the process's cgroup, version 2 in the
//! line of hierarchy 0, version 1 in the line of the `memory` controller; `/proc/self/mountinfo` tells where that hierarchy is
//! mounted, and from which root. A cgroup is limited by each of its ancestors too, so the lowest limit on the way up counts.
//! Inside a container the ancestors may not be visible; then what is visible must do.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What this process may use. What could not be found out is an error only for who needs it.
#[derive(Debug)]
pub struct Machine {
    /// Numbers of the CPUs that the process may run on, ascending.
    pub cores: io::Result<Vec<usize>>,
    /// How much memory it may use.
    pub memory: io::Result<Memory>,
}

/// An amount of memory, and who limits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In bytes.
    pub bytes: u64,
    /// Whether that is the limit of a cgroup, lower than what the machine has.
    pub cgroup: bool,
}

impl Machine {
    /// Asks the kernel.
    #[must_use]
    pub fn read() -> Machine {
        Machine {
            cores: affinity(),
            memory: memory(Path::new("/")),
        }
    }
}

fn affinity() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect())
}

/// The memory of the machine or the cgroup, whichever is less. `root` is `/`, or its like in tests.
fn memory(root: &Path) -> io::Result<Memory> {
    let machine = machine_memory(&fs::read_to_string(root.join("proc/meminfo"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no line MemTotal"))?;
    Ok(match cgroup_memory(root) {
        Some(limit) if limit < machine => Memory {
            bytes: limit,
            cgroup: true,
        },
        _ => Memory {
            bytes: machine,
            cgroup: false,
        },
    })
}

/// Bytes of `MemTotal` in the text of `/proc/meminfo`.
fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The lowest memory limit of the process's cgroups. `None`: no limit, or no cgroups.
fn cgroup_memory(root: &Path) -> Option<u64> {
    let cgroups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    cgroups
        .lines()
        .filter_map(Hierarchy::of_line)
        .filter_map(|hierarchy| hierarchy.limit(root, &mounts))
        .min()
}

/// A line of `/proc/self/cgroup` that can limit memory.
struct Hierarchy<'a> {
    version_2: bool,
    /// The process's cgroup, from the hierarchy's root as this process sees it.
    cgroup: &'a str,
}

impl<'a> Hierarchy<'a> {
    fn of_line(line: &'a str) -> Option<Hierarchy<'a>> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, cgroup) = (fields.next()?, fields.next()?, fields.next()?);
        let version_2 = number == "0" && controllers.is_empty();
        let relevant = version_2
            || controllers
                .split(',')
                .any(|controller| controller == "memory");
        relevant.then_some(Hierarchy { version_2, cgroup })
    }

    /// The lowest limit from the process's cgroup up to the mount.
    fn limit(&self, root: &Path, mounts: &str) -> Option<u64> {
        let (mount_root, mount_point) = mounts.lines().find_map(|line| self.mount_of_line(line))?;
        // Mounted from an ancestor: only what is below it has a path. From elsewhere (another namespace): only the mount.
        let below = Path::new(self.cgroup)
            .strip_prefix(mount_root)
            .unwrap_or(Path::new(""));
        let below: PathBuf = below
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        let file = if self.version_2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        let mount = root.join(Path::new(mount_point).strip_prefix("/").ok()?);
        below
            .ancestors()
            .filter_map(|cgroup| fs::read_to_string(mount.join(cgroup).join(file)).ok())
            // Version 2 says `max` for no limit, version 1 a number near 2⁶³, which is above any machine's memory.
            .filter_map(|limit| limit.trim().parse().ok())
            .min()
    }

    /// Root and mount point, if a line of `/proc/self/mountinfo` mounts this hierarchy.
    fn mount_of_line<'m>(&self, line: &'m str) -> Option<(&'m str, &'m str)> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (mount_root, mount_point) = (fields.next()?, fields.next()?);
        let mut kind = kind.split(' ');
        let (filesystem, _device, options) = (kind.next()?, kind.next()?, kind.next()?);
        let ours = if self.version_2 {
            filesystem == "cgroup2"
        } else {
            filesystem == "cgroup" && options.split(',').any(|option| option == "memory")
        };
        ours.then_some((mount_root, mount_point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n";
    const V2: &str = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "36 25 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      37 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// A directory that looks like the kernel's files.
    fn kernel(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::read();
        let cores = machine.cores.unwrap();
        assert!(!cores.is_empty() && cores.is_sorted());
        assert!(machine.memory.unwrap().bytes > 1 << 20);
    }

    #[test]
    fn without_cgroups_it_is_the_machines() {
        let root = kernel(&[("proc/meminfo", MEMINFO)]);
        assert_eq!(
            memory(root.path()).unwrap(),
            Memory {
                bytes: 16_384_000 * 1024,
                cgroup: false
            }
        );
    }

    // A node that sizes itself by the machine is ended by the kernel in a container of 2 GiB. The limit may stand on any
    // ancestor of the process's cgroup.
    #[test]
    fn the_lowest_limit_of_the_ancestors_counts() {
        let root = kernel(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/system.slice/corduroy.service\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
            (
                "sys/fs/cgroup/system.slice/corduroy.service/memory.max",
                "max\n",
            ),
        ]);
        assert_eq!(
            memory(root.path()).unwrap(),
            Memory {
                bytes: 2 << 30,
                cgroup: true
            }
        );
    }

    #[test]
    fn version_1_has_its_own_files_and_a_huge_number_for_none() {
        let limited = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "4:memory:/box\n2:cpu:/\n0::/\n"),
            ("proc/self/mountinfo", V1),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            (
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes",
                "1073741824\n",
            ),
        ];
        assert_eq!(
            memory(kernel(&limited).path()).unwrap(),
            Memory {
                bytes: 1 << 30,
                cgroup: true
            }
        );
        assert!(!memory(kernel(&limited[..4]).path()).unwrap().cgroup);
    }

    // Without a cgroup namespace a container sees its path on the host, and a mount that begins there.
    #[test]
    fn a_mount_that_begins_below_the_hierarchys_root_is_followed() {
        let inside = "35 24 0:30 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (cgroup, file) in [
            ("/docker/abc", "memory.max"),
            ("/docker/abc/in", "in/memory.max"),
            ("/../other", "memory.max"),
        ] {
            let root = kernel(&[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", &format!("0::{cgroup}\n")),
                ("proc/self/mountinfo", inside),
                (&format!("sys/fs/cgroup/{file}"), "536870912\n"),
            ]);
            assert_eq!(
                memory(root.path()).unwrap(),
                Memory {
                    bytes: 512 << 20,
                    cgroup: true
                },
                "{cgroup}"
            );
        }
    }

    #[test]
    fn a_machine_that_does_not_say_is_an_error() {
        assert!(memory(kernel(&[]).path()).is_err());
        assert!(memory(kernel(&[("proc/meminfo", "MemTotal: many\n")]).path()).is_err());
    }
}
