//! One measurement: a workload, a server, a pace, and what came out.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::live::View;
use crate::{
    cli::{ConnectionArguments, Exit, When, WorkloadArguments},
    engine::{self, Config, EngineError, Finished, Length, Pace},
    in_language,
    measure::process,
    scenario::{Content, Job, Scenario},
    session::{Failure, Met, Session},
    workload::{Operation, Workload, arrivals::Schedule},
};

/// Everything that the runs of one invocation share.
pub(super) struct Bench {
    pub(super) workload: Arc<Workload>,
    pub(super) content: Arc<Content>,
    pub(super) stop: Arc<AtomicBool>,
    address: SocketAddr,
    met: Met,
    began: Instant,
    /// The server's process, whose CPU time is counted.
    server_pid: Option<u32>,
}

/// How one run differs from the others.
pub(super) struct Plan<'a> {
    pub(super) label: String,
    pub(super) connections: u32,
    pub(super) pipeline: u32,
    pub(super) arguments: &'a ConnectionArguments,
    pub(super) schedule: Option<Schedule>,
    pub(super) think: Duration,
    pub(super) warm_up: Duration,
    pub(super) length: Length,
    pub(super) job: Job,
    /// Its number among the runs: other draws and other stamps than those before.
    pub(super) round: u32,
    pub(super) journal: bool,
    /// Keep histograms of each slice.
    pub(super) keep_slices: bool,
    pub(super) stop_on_error: bool,
    pub(super) live: When,
}

impl Bench {
    /// Against a server that was met. Refuses what it can't be asked.
    pub(super) fn new(
        session: &Session,
        arguments: &WorkloadArguments,
        job_writes: bool,
        stop: Arc<AtomicBool>,
    ) -> Result<Bench, Failure> {
        arguments.check().map_err(Failure::usage)?;
        let workload = arguments.workload().map_err(Failure::usage)?;
        let mut operations: Vec<Operation> = Operation::ALL
            .into_iter()
            .filter(|operation| workload.spec().mix.asks(*operation))
            .collect();
        if job_writes {
            operations = vec![Operation::Put];
        }
        session.accept(arguments, &workload, &operations)?;
        let content = Content {
            names: arguments.names().map_err(Failure::usage)?,
            values: arguments.values(),
            checked: arguments.check != crate::cli::Check::None,
        };
        Ok(Bench {
            workload,
            content: Arc::new(content),
            stop,
            address: session.address,
            met: session.met.clone(),
            began: Instant::now(),
            server_pid: None,
        })
    }

    /// Has the CPU time of the server's process counted: of this one, or of the one that listens on the port, if that is one of this machine. Answers which.
    pub(super) fn watch_process(&mut self, named: Option<u32>) -> Option<String> {
        self.server_pid = named.or_else(|| process::listener_of(self.address));
        let pid = self.server_pid?;
        Some(match process::name(pid) {
            Some(name) => format!("{name} ({pid})"),
            None => pid.to_string(),
        })
    }

    /// Finds out where scans may begin, once all keys are there.
    pub(super) fn learn(&mut self, session: &mut Session) -> Result<(), Failure> {
        if self.workload.spec().mix.asks(Operation::Scan) {
            session.learn_scans()?;
            self.met = session.met.clone();
        }
        Ok(())
    }

    /// Whether Ctrl-C was pressed.
    pub(super) fn is_interrupted(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Carries one run out.
    pub(super) fn carry_out(&self, plan: &Plan<'_>) -> Result<Finished, Failure> {
        let config = self.config(plan);
        let total = match plan.length {
            Length::Sources => Some(self.workload.spec().keys),
            _ => None,
        };
        let mut view = View::new(plan.live, &plan.label, &config);
        let begins = self.began.elapsed();
        let watch = &mut |live: &crate::measure::Live| view.show(live, total);
        let finished = in_language!(&self.met, language => {
            Scenario::new(language, &self.workload, &self.content, plan.job, plan.connections)
                .map_err(Failure::usage)
                .and_then(|scenario| {
                    let mut scenario = scenario.in_round(plan.round).by_core();
                    if let Some(schedule) = &plan.schedule {
                        scenario = scenario.on_schedule(schedule.clone(), scheduled(plan));
                    }
                    engine::run(&scenario, &config, &self.stop, watch).map_err(|error| failure(&error))
                })
        });
        view.end();
        let mut finished = finished?;
        let run = &mut finished.run;
        run.label.clone_from(&plan.label);
        run.begins_seconds += begins.as_secs_f64();
        Ok(finished)
    }

    fn config(&self, plan: &Plan<'_>) -> Config {
        let arguments = plan.arguments;
        Config {
            threads: arguments.threads(plan.connections),
            cores: arguments.cores(),
            connections: plan.connections,
            pipeline: plan.pipeline,
            pace: match &plan.schedule {
                Some(schedule) => Pace::Open {
                    schedule: schedule.name().to_owned(),
                    target_rate: Some(schedule.mean_rate(
                        plan.warm_up,
                        scheduled(plan),
                        scheduled(plan),
                    )),
                },
                None => Pace::Closed { think: plan.think },
            },
            warm_up: plan.warm_up,
            length: plan.length,
            timeout: arguments.timeout,
            drain: arguments.timeout,
            away_max: arguments.timeout,
            stop_on_error: plan.stop_on_error,
            server_pid: self.server_pid,
            journal: plan.journal,
            keep_slices: plan.keep_slices,
            ..Config::new(self.address)
        }
    }
}

/// For how long the schedule is kept up, warm-up included.
fn scheduled(plan: &Plan<'_>) -> Duration {
    match plan.length {
        Length::Time(window) => plan.warm_up + window,
        // Until the operations are done.
        Length::Operations(_) | Length::Sources => Duration::from_secs(u64::from(u32::MAX)),
    }
}

/// With the exit code that fits.
fn failure(error: &EngineError) -> Failure {
    let exit = match error {
        EngineError::Connect { .. } | EngineError::Greeting { .. } => Exit::CannotConnect,
        EngineError::Io { .. } | EngineError::Thread { .. } => Exit::Local,
        _ => Exit::Usage,
    };
    Failure::new(exit, error.to_string())
}
