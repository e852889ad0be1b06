//! A keyspace's operations that change a part of what a key holds: its expiry, some of its bytes, a number with a fraction.

use corduroy_proto_wire::Request;

use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::reply;
use crate::value::{Appended, ExpireOutcome, Expiry, ExpiryCondition, FloatSum};

impl Keyspace {
    /// When a key expires, in milliseconds since 1970: `None` if there is no such key, `Some(None)` if it does not expire.
    pub async fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::ExpiresAt { keyspace, key },
            reply::expires_at,
        )
        .await
    }

    /// Gives an existing key another expiry, if the one that it has allows it. One that has passed deletes the key.
    ///
    /// Repeatable if it is unconditional and takes the expiry away; else its outcome is unknown after a lost connection.
    ///
    /// ```no_run
    /// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
    /// use corduroy_client::{ExpireOutcome, Expiry, ExpiryCondition};
    /// use std::time::Duration;
    ///
    /// // Prolongs a lease, and never cuts it short.
    /// let minute = Expiry::After(Duration::from_secs(60));
    /// match keyspace.expire("lease", minute, ExpiryCondition::IfLater).await? {
    ///     ExpireOutcome::Done(_) => println!("a minute more"),
    ///     ExpireOutcome::ConditionFailed { .. } => println!("it lasts longer than that anyway"),
    ///     ExpireOutcome::NotFound => println!("it is over"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expire(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        condition: ExpiryCondition,
    ) -> Result<ExpireOutcome> {
        let key = key.as_ref();
        let build = |keyspace| Request::Expire {
            keyspace,
            key,
            expiry: expiry.to_wire(),
            condition: condition.to_wire(),
            return_value: false,
        };
        self.call(Some(key), build, reply::expire_outcome).await
    }

    /// Writes over a part of a value, from the byte `offset` on. A value that is too short is made longer, with zeros; an absent key
    /// counts as empty. The key keeps its expiry. What comes of it is at most 1 MiB long.
    ///
    /// Not repeatable: after a lost connection its outcome is unknown.
    ///
    /// ```no_run
    /// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
    /// keyspace.put("greeting", "Hello World").await?;
    /// let whole = keyspace.overwrite("greeting", 6, "there").await?;
    /// assert_eq!(whole.length, 11);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn overwrite(
        &self,
        key: impl AsRef<[u8]>,
        offset: u32,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Appended> {
        let (key, bytes) = (key.as_ref(), bytes.as_ref());
        let build = |keyspace| Request::Overwrite {
            keyspace,
            key,
            offset,
            bytes,
        };
        self.call(Some(key), build, reply::appended).await
    }

    /// Adds to a number that is held as decimal text, in 80-bit floating point; an absent key counts as 0. The key keeps its expiry.
    ///
    /// Both are text, so that nothing is lost on the way: a value as it was put, an increment such as `0.1` or `-2.5e3`.
    ///
    /// Not repeatable: after a lost connection its outcome is unknown.
    ///
    /// ```no_run
    /// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
    /// keyspace.put("temperature", "10.50").await?;
    /// let sum = keyspace.add_float("temperature", "0.1").await?;
    /// assert_eq!(sum.value, "10.6");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add_float(
        &self,
        key: impl AsRef<[u8]>,
        increment: impl AsRef<[u8]>,
    ) -> Result<FloatSum> {
        let (key, increment) = (key.as_ref(), increment.as_ref());
        let build = |keyspace| Request::AddFloat {
            keyspace,
            key,
            increment,
        };
        self.call(Some(key), build, reply::float_sum).await
    }
}
