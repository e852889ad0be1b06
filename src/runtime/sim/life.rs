//! The life of the process: starts, clean stops, deaths, and the audit after each.

use std::collections::VecDeque;

use super::action::{Act, Action};
use super::atomic::check_atomic;
use super::catalog::DEFAULT;
use super::check::check_key;
use super::disk::{Damage, Death};
use super::history::{EntryId, Outcome, Time};
use super::losses;
use super::ports::SimPorts;
use super::random::Random;
use super::salvage;
use super::traffic::CONNECTIONS_MAX;
use super::world::{Phase, World};
use crate::gateway::resp::session::Settings;
use crate::limits;
use crate::limits::{SEGMENT_LEN_MIN, SEGMENT_LEN_READ_MIN};
use crate::runtime::driver::NodeFacts;
use crate::runtime::driver::{Driver, DriverConfig};
use crate::shard::recover::{RecoverShardError, RecoveredShard, install_keyspaces, recover_shard};
use crate::shard::{Shard, ShardConfig, SyncMode};
use crate::storage::format::LogTag;
use crate::storage::recovery::Identity;
use crate::types::ShardId;

const NODE: u128 = 0xC0DE;
/// The tag of the first shard's first log.
pub(super) const LOG_TAG: u32 = 0x7A61_0000;
const SECOND: Time = 1_000_000_000;
/// Of the starts that report damage, those that go on with salvage; in the others the files are brought back.
const SALVAGE_PERCENT: u64 = 50;

impl World {
    pub(super) fn shard_config(&self, shard: u16) -> ShardConfig {
        self.shard_config_of(shard, self.habits.shard_count)
    }

    /// The same if the node has so many shards.
    pub(super) fn shard_config_of(&self, shard: u16, shard_count: u16) -> ShardConfig {
        ShardConfig {
            identity: Identity {
                node: NODE,
                shard: ShardId(shard),
                shard_count,
            },
            log_tag: LogTag(LOG_TAG | u32::from(shard)),
            sync: self.habits.sync,
            value_len_max: self.habits.stored_len_max(),
            large_len: self.large_len(),
            memory_bytes: self.habits.memory_bytes,
            segment_len: self.segment_len(),
            compacts: self.habits.compacts,
            scrub_period_ns: self.habits.scrub_period_ns,
            hash_secret: [11; 16],
        }
    }

    /// Where values are small, short segments, so that many are filled and compacted.
    pub(super) fn segment_len(&self) -> u64 {
        match self.habits.value_len_max {
            0..=64 => SEGMENT_LEN_READ_MIN,
            65..=600 => 2 * SEGMENT_LEN_READ_MIN,
            601..=5000 => 8 * SEGMENT_LEN_READ_MIN,
            _ => SEGMENT_LEN_MIN,
        }
    }

    /// In some worlds nearly every value is a large one, in others none. Nothing is drawn for it, so that worlds stay what they are.
    fn large_len(&self) -> usize {
        [100, 2000, limits::LARGE_LEN][self.habits.keys % 3]
    }

    pub(super) fn driver_config(&self, shard: u16) -> DriverConfig {
        DriverConfig {
            node: NodeFacts::default(),
            resp: Settings {
                sync_always: self.habits.sync == SyncMode::Always,
                ..Settings::default()
            },
            shard: ShardId(shard),
            shard_count: self.habits.shard_count,
            value_len_max: self.habits.stored_len_max(),
            large_len: self.large_len(),
            large_input_bytes_max: [1000, 10_000, limits::LARGE_INPUT_BYTES_MAX]
                [self.habits.clients % 3],
            batch_slice_len: [1, 3, limits::BATCH_SLICE_LEN][self.habits.keys % 3],
            connections_max: CONNECTIONS_MAX,
            in_flight_max: self.habits.in_flight_max,
            output_bytes_max: self.habits.output_bytes_max,
            handshake_timeout_ns: 10 * SECOND,
            idle_timeout_ns: 0,
            stall_timeout_ns: 10 * SECOND,
            server_name: "corduroy/simulated".to_owned(),
        }
    }

    /// Starts the node, over whatever its disks hold. It may die while it repairs them.
    pub(super) fn start(&mut self, after_clean_stop: bool) -> Result<(), String> {
        let mut is_clean = after_clean_stop;
        self.rot(false);
        self.rot_summaries();
        if self.habits.clock_jump_one_in > 0 && self.random.percent(30) {
            self.set_clock();
        }
        let mut has_moved = false;
        let shards = loop {
            match self.recover_all(is_clean)? {
                Some(_) if !has_moved && self.wants_reshard() => {
                    self.reshard()?;
                    // A move seals what it made.
                    (has_moved, is_clean) = (true, true);
                }
                Some(shards) => break shards,
                None => is_clean = false,
            }
        };
        let keyspaces = shards[0].keyspaces.clone();
        for (number, recovered) in shards.into_iter().enumerate() {
            let number = number as u16;
            let mut shard: Shard = recovered.shard;
            install_keyspaces(&mut shard, &keyspaces);
            let ports = SimPorts::new(
                self.habits.shard_count,
                self.habits.channel_room,
                self.habits.write_behind_percent,
                Random::new(self.random.next(), 7),
            );
            let driver = Driver::new(self.driver_config(number), shard, ports);
            let place = &mut self.shards[usize::from(number)];
            place.driver = Some(driver);
            place.turn_at = Time::MAX;
            self.turn_soon(number, 1000);
        }
        self.note(|| "the node serves".to_owned());
        Ok(())
    }

    /// Recovers every shard and repairs its files; `None` if the node died on the way.
    fn recover_all(&mut self, is_clean: bool) -> Result<Option<Vec<RecoveredShard>>, String> {
        let mut shards = Vec::new();
        for shard in 0..self.habits.shard_count {
            let recovered = self.recover(shard)?;
            let index = usize::from(shard);
            let healthy = self.shards[index].disk.rotten_segments().is_empty();
            if is_clean && healthy && !recovered.clean {
                return Err(format!(
                    "shard {shard} was stopped cleanly and does not know it"
                ));
            }
            self.check_lost_versions(&recovered)
                .map_err(|reason| format!("shard {shard}: {reason}"))?;
            let start = recovered.start;
            self.tally.records_recovered += start.records;
            self.tally.summaries_used += start.from_saved_indexes;
            self.tally.summaries_refused += start.bad_saved_indexes;
            self.tally.repairs += recovered.repairs.len() as u64;
            self.mix(start.records);
            let dies_at = self
                .random
                .percent(15)
                .then(|| self.random.index(recovered.repairs.len() + 1));
            for (number, repair) in recovered.repairs.iter().enumerate() {
                if dies_at == Some(number) {
                    break;
                }
                self.shards[index].disk.repair(repair);
                let line = format!("shard {shard}: {}", shorten(&format!("{repair:?}")));
                self.note(|| line);
            }
            if dies_at.is_some() {
                self.tally.deaths_in_repair += 1;
                let death = self.death();
                self.note(|| format!("dies in repair: {death:?}"));
                self.disks_die(death);
                // What only the page cache held was read and not synced yet.
                let losing = self.habits.sync != SyncMode::Always && death == Death::Power;
                self.may_have_lost(losing);
                return Ok(None);
            }
            self.shards[index].disk.sync_all();
            if !recovered.damage.is_empty() {
                self.shards[index].disk.salvaged();
            }
            self.shards[index].disk.outlived_rot(&recovered.summarized);
            shards.push(recovered);
        }
        Ok(Some(shards))
    }

    /// Recovers one shard. Damage is healed or salvaged if it was done on purpose, and an error if not.
    fn recover(&mut self, shard: u16) -> Result<RecoveredShard, String> {
        let config = self.shard_config(shard);
        let now = self.clocks();
        for _ in 0..2 {
            let disk = &self.shards[usize::from(shard)].disk;
            let names = salvage::names(disk, &config.identity);
            let files = salvage::files(disk, &names);
            let summaries = disk.summaries();
            let recovered = recover_shard(&config, now, false, &files, &summaries, &mut |_| {});
            let error = match recovered {
                Ok(recovered) => {
                    let lost = disk.lost_files();
                    return match lost.is_empty() {
                        true => Ok(recovered),
                        false => Err(format!("shard {shard} starts though {lost:?} lost data")),
                    };
                }
                Err(error) => error,
            };
            let rotten = disk.rotten_segments();
            if rotten.is_empty() {
                return Err(format!("shard {shard} does not start: {error}"));
            }
            // A rotten header makes the segment before it look wrong too: it is enough that the file is named.
            let text = error.to_string();
            let is_named = rotten
                .iter()
                .any(|segment| text.contains(&segment.to_string()));
            if !is_named {
                return Err(format!("damage in {rotten:?} is reported as: {error}"));
            }
            self.tally.damage_reported += 1;
            if self.random.percent(SALVAGE_PERCENT)
                && let RecoverShardError::Log(first) = &error
                && let Some(recovered) = self.salvage(shard, first)?
            {
                return Ok(recovered);
            }
            self.note(|| format!("shard {shard} is healed: {error}"));
            self.shards[usize::from(shard)].disk.heal();
        }
        Err(format!("shard {shard} does not start though it was healed"))
    }

    /// A file at rest is damaged, on one disk or none.
    pub(super) fn rot(&mut self, only_old: bool) {
        let percent = self.habits.rot_percent;
        if self.phase == Phase::Audit || percent == 0 || !self.random.percent(percent) {
            return;
        }
        let shard = self.random.index(self.shards.len());
        if let Some(damage) = self.shards[shard].disk.rot(only_old, &mut self.random) {
            match damage {
                Damage::Flip { .. } => self.tally.flips += 1,
                Damage::Lost { .. } => self.tally.lost_sectors += 1,
                Damage::Cut { .. } => self.tally.cut_files += 1,
                Damage::Gone { .. } => self.tally.gone_files += 1,
            }
            self.note(|| format!("shard {shard}: {damage:?}"));
        }
    }

    /// Something happens to saved indexes. It is nothing that anybody may notice.
    fn rot_summaries(&mut self) {
        for shard in 0..self.shards.len() {
            if !self.random.percent(self.habits.summary_rot_percent) {
                continue;
            }
            let other = self.random.index(self.shards.len());
            let foreign = self.shards[other].disk.any_summary();
            let foreign = foreign.filter(|_| other != shard);
            let damage = self.shards[shard]
                .disk
                .rot_summary(foreign, &mut self.random);
            if let Some(damage) = damage {
                self.tally.summaries_damaged += 1;
                self.note(|| format!("shard {shard}, a summary: {damage:?}"));
            }
        }
    }

    pub(super) fn death(&mut self) -> Death {
        if self.random.percent(self.habits.kill_percent) {
            Death::Kill
        } else {
            Death::Power
        }
    }

    /// The process dies in the middle of everything.
    pub(super) fn die(&mut self) {
        let death = self.death();
        match death {
            Death::Kill => self.tally.kills += 1,
            Death::Power => self.tally.power_losses += 1,
        }
        self.note(|| format!("dies: {death:?}"));
        let may_lose =
            self.habits.sync != SyncMode::Always && (death == Death::Power || self.has_failed());
        self.end_life(death);
        self.may_have_lost(may_lose);
    }

    fn may_have_lost(&mut self, losing: bool) {
        self.losses_due |= losing;
        if losing {
            // Of what a power loss takes, only the default keyspace's part is looked at (`losses`).
            self.catalog.leave_alone();
            self.redis_lost();
            self.history.keep_keyspace(DEFAULT);
            self.atomics
                .retain(|batch| batch.iter().all(|id| id.place.keyspace == DEFAULT));
            for client in &mut self.clients {
                client.scan = None;
            }
        }
    }

    /// Whether some shard takes no writes any more.
    fn has_failed(&self) -> bool {
        self.shards
            .iter()
            .filter_map(|shard| shard.driver.as_ref())
            .any(|driver| driver.shard().has_failed())
    }

    fn end_life(&mut self, death: Death) {
        self.disks_die(death);
        for shard in &mut self.shards {
            shard.driver = None;
        }
        self.channels.clear();
        self.redis_died();
        self.pipes.clear();
        self.pipe_of.clear();
        for client in &mut self.clients {
            client.disconnected();
            client.is_awake = false;
        }
        self.bad_reads.clear();
        self.history.close(self.now);
        self.died_at = self.now;
        self.new_life();
        self.now += 1_000_000;
        self.life_before = std::mem::replace(&mut self.life_began, self.now);
    }

    /// Stops the node as SIGTERM does. True if it ended as it should.
    pub(super) fn stop_cleanly(&mut self) -> Result<bool, String> {
        self.tally.clean_stops += 1;
        self.phase = Phase::Stop;
        self.note(|| "stops".to_owned());
        for shard in 0..self.habits.shard_count {
            self.with_driver(shard, Driver::drain);
        }
        let patience = self.now + 30 * SECOND;
        while !self.drivers(Driver::is_drained) {
            if self.now > patience {
                for shard in 0..self.habits.shard_count {
                    self.with_driver(shard, Driver::cut_connections);
                }
                if !self.clients.iter().any(|client| client.stalls_until > 0) {
                    return Err("the node does not drain".to_owned());
                }
                break;
            }
            self.idle_step()?;
        }
        for shard in 0..self.habits.shard_count {
            self.with_driver(shard, Driver::seal);
        }
        let (began, patience) = (self.now, self.now + 30 * SECOND);
        // Some stops come too late: the power goes before the log is sealed.
        let steps_left = self.random.percent(self.habits.stop_cut_percent);
        let mut steps_left = steps_left.then(|| self.random.below(30));
        while !self.drivers(Driver::is_sealed) {
            if steps_left == Some(0) {
                self.tally.stops_cut_short += 1;
                self.die();
                return Ok(false);
            }
            steps_left = steps_left.map(|left| left - 1);
            if self.now > patience {
                return Err("the node does not stop".to_owned());
            }
            self.idle_step()?;
        }
        let clean = !self.has_failed() && self.drivers(|driver| driver.shard().is_sealed());
        let losing = !clean && self.habits.sync != SyncMode::Always;
        if clean {
            let (shown, _) = self.history.wall.span(began, self.now);
            self.history.stops.push((self.now, shown));
            for shard in &mut self.shards {
                shard.disk.sealed();
            }
        }
        // What is on disk must be enough: the machine is switched off at once.
        self.end_life(Death::Power);
        self.may_have_lost(losing);
        Ok(clean)
    }

    /// Lets something happen; if nothing is to happen, lets time pass and turns end.
    fn idle_step(&mut self) -> Result<(), String> {
        if self.is_idle() {
            self.now += SECOND / 10;
            for shard in 0..self.habits.shard_count {
                self.turn_soon(shard, 1000);
            }
        }
        self.step()
    }

    pub(super) fn drivers(&self, check: impl Fn(&Driver<SimPorts>) -> bool) -> bool {
        self.shards
            .iter()
            .filter_map(|shard| shard.driver.as_ref())
            .all(check)
    }

    /// Has one client ask all this, and waits for the answers.
    pub(super) fn carry_out_script(
        &mut self,
        script: VecDeque<(u32, Action)>,
    ) -> Result<(), String> {
        let auditor = self.auditor();
        self.clients[auditor].script = Some(script);
        self.clients[auditor].depth = 4;
        self.clients[auditor].stalls_until = 0;
        self.wake(auditor);
        let patience = self.now + 60 * SECOND;
        let has_work = |world: &World| {
            let client = &world.clients[auditor];
            !client.pending.is_empty()
                || client.script.as_ref().is_some_and(|left| !left.is_empty())
        };
        while has_work(self) {
            if self.now > patience {
                return Err("the audit is not answered".to_owned());
            }
            self.step()?;
        }
        if let Some(pipe) = self.clients[auditor].pipe {
            self.clients[auditor].disconnected();
            self.abandon(pipe);
        }
        Ok(())
    }

    /// Lets so many nanoseconds go by.
    pub(super) fn pass_time(&mut self, nanos: u64) -> Result<(), String> {
        let end = self.now + nanos;
        while self.now < end {
            self.idle_step()?;
        }
        Ok(())
    }

    /// Reads every key, and checks all that was ever told against it.
    pub(super) fn audit(&mut self) -> Result<(), String> {
        self.phase = Phase::Audit;
        let began = self.now;
        let mut keyspaces = self.catalog.known();
        keyspaces.retain(|keyspace| self.catalog.is_there(*keyspace));
        keyspaces.push(DEFAULT);
        let mut script = VecDeque::from([(DEFAULT, Action::List)]);
        for keyspace in keyspaces {
            let keys = 0..self.keys.len() as u16;
            script.extend(keys.map(|key| (keyspace, Action::One(key, Act::Get))));
        }
        self.carry_out_script(script)?;
        self.audit_redis()?;
        let healthy = self
            .shards
            .iter()
            .all(|shard| shard.disk.rotten_segments().is_empty());
        let refused = self
            .history
            .keys
            .values()
            .filter_map(|entries| entries.last())
            .any(|entry| entry.invoked >= began && entry.outcome == Outcome::Refused);
        if refused && healthy {
            return Err("a key can't be read".to_owned());
        }
        if std::mem::take(&mut self.losses_due) {
            losses::settle(self, began)?;
        }
        for batch in std::mem::take(&mut self.atomics) {
            let unknown =
                |id: &EntryId| self.history.keys[&id.place][id.index].outcome == Outcome::Unknown;
            let is_there = |id: &EntryId| self.catalog.is_there(id.place.keyspace);
            if batch.iter().all(unknown) && batch.iter().all(is_there) {
                check_atomic(&self.history, &batch, began)?;
            }
        }
        let places: Vec<_> = self.history.keys.keys().copied().collect();
        for place in places {
            check_key(&self.history, place).map_err(|reason| {
                self.suspect = Some(place);
                format!(
                    "key {} of keyspace {}: {reason}",
                    self.keys.name(place.key),
                    place.keyspace
                )
            })?;
        }
        Ok(())
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
