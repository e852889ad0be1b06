//! A server that was met: which language it speaks, and a connection on which it can be asked about itself.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    cli::{Exit, PASSWORD, ServerArguments, WorkloadArguments},
    protocol::{
        Demand, Language, MeetError, Protocol,
        memcached::MemcachedLanguage,
        native::{NativeLanguage, NativeOptions, Route},
        resp::{RespLanguage, RespOptions},
    },
    results,
    workload::{Operation, Workload},
};

/// How long a server may take to answer a question before anything is measured.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pages that are read to find where scans may begin.
const SCAN_PAGES_MAX: usize = 64;

/// Why a command ended, for a person and for a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// What went wrong and what to do.
    pub message: String,
}

impl Failure {
    /// With these words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
        }
    }

    /// The command line makes no sense, in these words.
    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::Usage, message.to_string())
    }
}

impl From<MeetError> for Failure {
    fn from(error: MeetError) -> Failure {
        let exit = match error {
            MeetError::Io { .. } | MeetError::Foreign { .. } => Exit::CannotConnect,
            _ => Exit::Usage,
        };
        let hint = match &error {
            MeetError::Refused { words, .. } if words.starts_with("NOAUTH") => {
                "; give --password, or set CORDUROY_PASSWORD"
            }
            _ => "",
        };
        Failure::new(exit, format!("{error}{hint}"))
    }
}

/// The language of a server that was met.
#[derive(Clone, Debug)]
pub enum Met {
    /// Corduroy's own.
    Native(NativeLanguage),
    /// RESP.
    Resp(RespLanguage),
    /// memcached's text.
    Memcached(MemcachedLanguage),
}

/// Does the same in whichever language a server speaks.
#[macro_export]
macro_rules! in_language {
    ($met:expr, $language:ident => $work:expr) => {
        match $met {
            $crate::session::Met::Native($language) => $work,
            $crate::session::Met::Resp($language) => $work,
            $crate::session::Met::Memcached($language) => $work,
        }
    };
}

/// A server, and a connection that waits for each answer.
#[derive(Debug)]
pub struct Session {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its language.
    pub met: Met,
    stream: TcpStream,
}

impl Session {
    /// Meets a server.
    ///
    /// # Errors
    ///
    /// Why that failed.
    pub fn meet(arguments: &ServerArguments) -> Result<Session, Failure> {
        check(arguments)?;
        let target = &arguments.target;
        let address = target.address().map_err(Failure::usage)?;
        let unreachable = |error: std::io::Error| {
            let hint = match target.protocol {
                Protocol::Native => "is it running? `corduroy serve` starts one",
                Protocol::Resp | Protocol::MemcachedText => "is it running, and on this port?",
            };
            Failure::new(
                Exit::CannotConnect,
                format!("cannot connect to {address}: {error}; {hint}"),
            )
        };
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(unreachable)?;
        let met = match target.protocol {
            Protocol::Native => Met::Native(NativeLanguage::meet(
                &mut stream,
                &NativeOptions {
                    keyspace: target.keyspace.clone(),
                    create_keyspace: arguments.create_keyspace,
                    route: arguments.route,
                },
            )?),
            Protocol::Resp => Met::Resp(RespLanguage::meet(
                &mut stream,
                &RespOptions {
                    user: target.user.clone(),
                    password: target.password(),
                    database: target.database,
                },
            )?),
            Protocol::MemcachedText => Met::Memcached(MemcachedLanguage::meet(&mut stream)?),
        };
        Ok(Session {
            address,
            met,
            stream,
        })
    }

    /// What it says of itself.
    ///
    /// # Errors
    ///
    /// Why that failed.
    pub fn describe(&mut self) -> Result<results::Server, Failure> {
        let stream = &mut self.stream;
        Ok(in_language!(&self.met, language => language.describe(stream))?)
    }

    /// Removes all keys.
    ///
    /// # Errors
    ///
    /// Why that failed.
    pub fn reset(&mut self) -> Result<(), Failure> {
        let stream = &mut self.stream;
        Ok(in_language!(&self.met, language => language.reset(stream))?)
    }

    /// Finds out where scans may begin, so that not all of them begin at the start.
    ///
    /// # Errors
    ///
    /// Why that failed.
    pub fn learn_scans(&mut self) -> Result<(), Failure> {
        let stream = &mut self.stream;
        in_language!(&mut self.met, language => language.learn_scans(stream, SCAN_PAGES_MAX))?;
        Ok(())
    }

    /// Refuses what this server can't be asked, before anything is.
    ///
    /// # Errors
    ///
    /// What, and what to do instead.
    pub fn accept(
        &self,
        arguments: &WorkloadArguments,
        workload: &Workload,
        operations: &[Operation],
    ) -> Result<(), Failure> {
        let spec = workload.spec();
        let names = arguments.names().map_err(Failure::usage)?;
        for &operation in operations {
            let counts = match operation {
                Operation::Scan => &spec.scan,
                _ => &spec.batch,
            };
            let demand = Demand {
                operation,
                key_len_max: names.len_max(),
                value_len_max: spec.value_len.max(),
                count_max: counts.max(),
                ttl_ms_max: spec.ttls.longest_ms(),
            };
            in_language!(&self.met, language => language.accepts(&demand))
                .map_err(Failure::usage)?;
        }
        Ok(())
    }
}

/// Settings that this protocol doesn't know would be ignored without a word.
fn check(arguments: &ServerArguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let is = |protocol| target.protocol == protocol;
    let wrong = |flag: &str, of: Protocol| {
        Err(Failure::usage(format!(
            "{flag} is for --protocol {of}; this is {}",
            target.protocol
        )))
    };
    if !is(Protocol::Native) {
        if arguments.route == Route::Direct {
            return wrong("--route direct", Protocol::Native);
        }
        if target.keyspace != "default" || arguments.create_keyspace {
            return wrong("--keyspace", Protocol::Native);
        }
    }
    if !is(Protocol::Resp) {
        if target.password.is_some() || target.user.is_some() {
            return wrong("--password", Protocol::Resp);
        }
        if target.database.is_some() {
            return wrong("--database", Protocol::Resp);
        }
    }
    if target.user.is_some() && target.password().is_none() {
        return Err(Failure::usage(format!(
            "--user needs --password too, or {PASSWORD} in the environment"
        )));
    }
    Ok(())
}
