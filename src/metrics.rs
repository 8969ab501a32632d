//! Figures for Prometheus: what calls cost, and how the pool is.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::engine::{Engine, Pool};

/// The label of a call that no served method answers: names that callers invent make no series.
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    code: String,
}

type Number = Gauge<u64, AtomicU64>;

/// All figures of the agent.
pub struct Metrics {
    registry: Registry,
    calls: Family<Call, Histogram>,
    pool: PoolFigures,
}

#[derive(Default)]
struct PoolFigures {
    ready: Number,
    volumes: Number,
    trash: Number,
    quarantined: Number,
    orphans: Number,
    committed: Number,
    promisable: Number,
    size: Number,
    available: Number,
    inodes: Number,
    inodes_available: Number,
}

impl Metrics {
    /// Figures that are all zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("berth");
        let calls =
            Family::<_, _, fn() -> _>::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 4.0, 9)));
        registry.register_with_unit(
            "rpc_duration",
            "Time from a call to its answer",
            Unit::Seconds,
            calls.clone(),
        );
        let pool = PoolFigures::default();
        pool.register(&mut registry);
        Arc::new(Self { registry, calls, pool })
    }

    /// Notes one call: `method` is `package.Service/Method`.
    pub fn observe_call(&self, method: &str, code: Code, elapsed: Duration) {
        let method = if code == Code::Unimplemented { OTHER } else { method };
        let call = Call {
            method: method.to_owned(),
            code: format!("{code:?}"),
        };
        self.calls.get_or_create(&call).observe(elapsed.as_secs_f64());
    }

    /// The figures in the text format, with those of the pool as they are now.
    pub fn render(&self, engine: &Engine) -> Result<String, std::fmt::Error> {
        match engine.pool() {
            Ok(pool) => self.pool.update(&pool),
            Err(_) => {
                self.pool.ready.set(0);
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl PoolFigures {
    fn register(&self, registry: &mut Registry) {
        let plain = [
            ("pool_ready", "1 while there is a pool to work with", &self.ready),
            ("volumes", "Volumes, deleted ones not counted", &self.volumes),
            ("trash_volumes", "Deleted volumes in the trash", &self.trash),
            ("quarantined_records", "Records that cannot be read", &self.quarantined),
            ("orphans", "Directories that no record explains", &self.orphans),
            ("pool_inodes", "Inodes of the pool's file system", &self.inodes),
            (
                "pool_inodes_available",
                "Inodes that can still be made",
                &self.inodes_available,
            ),
        ];
        for (name, help, gauge) in plain {
            registry.register(name, help, gauge.clone());
        }
        let bytes = [
            ("pool_committed", "Sizes of all volumes added up", &self.committed),
            (
                "pool_promisable",
                "What new volumes may still be promised",
                &self.promisable,
            ),
            ("pool_size", "Size of the pool's file system", &self.size),
            ("pool_available", "What can still be written", &self.available),
        ];
        for (name, help, gauge) in bytes {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
    }

    fn update(&self, pool: &Pool) {
        let (volumes, trash) = pool.counts();
        let usable = pool.verify().is_ok();
        self.ready.set(usable.into());
        self.volumes.set(volumes as u64);
        self.trash.set(trash as u64);
        self.quarantined.set(pool.quarantined_count() as u64);
        self.orphans.set(pool.orphan_count() as u64);
        self.committed.set(pool.committed_bytes());
        self.promisable.set(pool.available().unwrap_or(0));
        if let Ok(space) = pool.space() {
            self.size.set(space.total_bytes);
            self.available.set(space.available_bytes);
            self.inodes.set(space.total_inodes);
            self.inodes_available.set(space.available_inodes);
        }
    }
}
