//! What the sessions of one database share.

use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::backend_pid::NotificationPids;
use crate::database::DatabaseCatalog;
use crate::name::Name;
use crate::pool::Key;

/// What the sessions of one upstream share, by database, and by pool.
#[derive(Debug, Default)]
pub(crate) struct DatabaseRegistry {
    by_database: Mutex<HashMap<Name, SharedByDatabase>>,
    pins: Mutex<HashMap<Key, Arc<Semaphore>>>,
}

/// What the sessions of one database share.
#[derive(Debug, Clone)]
pub(super) struct SharedByDatabase {
    pub(super) catalog: Arc<DatabaseCatalog>,
    pub(super) notification_pids: Arc<NotificationPids>,
}

impl DatabaseRegistry {
    /// The places for clients of these pools that keep a connection.
    pub(super) fn pins(&self, key: &Key, max: u32) -> Arc<Semaphore> {
        let mut pins = self.pins.lock();
        if let Some(places) = pins.get(key) {
            return Arc::clone(places);
        }
        pins.retain(|_, places| Arc::strong_count(places) > 1);
        let places = Arc::new(Semaphore::new(max as usize));
        pins.insert(key.clone(), Arc::clone(&places));
        places
    }

    pub(super) fn of(&self, database: &Name) -> SharedByDatabase {
        let mut by_database = self.by_database.lock();
        if let Some(shared) = by_database.get(database) {
            return shared.clone();
        }
        // Names come from clients: those that nobody uses any more are forgotten.
        by_database.retain(|_, shared| Arc::strong_count(&shared.catalog) > 1);
        let shared = SharedByDatabase {
            catalog: Arc::new(DatabaseCatalog::new()),
            notification_pids: Arc::default(),
        };
        by_database.insert(database.clone(), shared.clone());
        shared
    }
}
