//! Other logs, stores and tables, each with its defaults unless its module says otherwise.

#[path = "peers/fjall.rs"]
mod fjall;
#[path = "peers/fjall_table.rs"]
mod fjall_table;
#[path = "peers/lmdb.rs"]
mod lmdb;
#[cfg(feature = "peers")]
#[path = "peers/logs.rs"]
mod logs;
#[path = "peers/redb.rs"]
mod redb;
#[cfg(feature = "peers-rocksdb")]
#[path = "peers/rocksdb.rs"]
mod rocksdb;
#[path = "peers/sqlite_store.rs"]
mod sqlite_store;
#[path = "peers/surrealkv.rs"]
mod surrealkv;
#[path = "peers/surrealkv_table.rs"]
mod surrealkv_table;

use crate::contender::{Contender, Role};
use crate::ordered;
use crate::stores::{self, Kind};

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    #[cfg(feature = "peers")]
    all.extend(logs::contenders());
    all.extend(stores::contenders::<surrealkv::Store>(
        Kind::Hash,
        Role::Peer,
    ));
    all.extend(stores::contenders::<fjall::Store>(Kind::Hash, Role::Peer));
    all.extend(stores::contenders::<redb::Store>(Kind::Hash, Role::Peer));
    all.extend(stores::contenders::<lmdb::Lmdb>(Kind::Hash, Role::Peer));
    all.extend(ordered::contenders::<surrealkv::Store>(
        Kind::Lsm,
        Role::Peer,
    ));
    all.extend(ordered::contenders::<fjall::Store>(Kind::Lsm, Role::Peer));
    all.extend(ordered::contenders::<redb::Store>(Kind::Btree, Role::Peer));
    all.extend(ordered::contenders::<lmdb::Lmdb>(Kind::Btree, Role::Peer));
    all.extend(ordered::contenders::<sqlite_store::Store>(
        Kind::Btree,
        Role::Peer,
    ));
    for real_time in [false, true] {
        // A snapshot: it does not see what is written meanwhile.
        for threads in [1, 2] {
            let inside = |kind, role| {
                stores::gets::<lmdb::InsideTransaction>(kind, role, threads, true, real_time)
            };
            all.push(inside(Kind::Hash, Role::LesserPeer));
            all.push(inside(Kind::Btree, Role::LesserPeer));
        }
    }
    #[cfg(feature = "peers-rocksdb")]
    all.extend(rocksdb::contenders());
    all.extend(fjall_table::contenders());
    all.extend(surrealkv_table::contenders());
    all
}
