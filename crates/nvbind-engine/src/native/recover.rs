//! After a crash: what a killed nvbind, or the last boot, left behind.

use crate::native::lifecycle::{clean, clean_but_log, own, settle};
use crate::native::run::now;
use crate::native::{Dirs, Error};
use nvbind_alloc::{Binding, Change, Ledger, Owner, Status};

/// Exit code of a container whose supervisor was killed: its own end by SIGKILL.
const KILLED: u8 = 128 + 9;

/// Ends and removes every container of this engine whose owner is gone, and gives its devices back; the names of those.
///
/// A container in the background that ran stays listed as ended, with its log. Asking costs one query when nothing is
/// wrong. When two processes ask at once, one of them does it.
pub fn recover(ledger: &mut Ledger, dirs: &Dirs) -> Result<Vec<String>, Error> {
    let dead = ledger.dead()?;
    let mut recovered = Vec::new();
    for binding in dead.into_iter().filter_map(|binding| own(binding).ok()) {
        let me = Owner::current().map_err(nvbind_alloc::Error::Proc)?;
        if ledger.claim(&binding.id, &binding.owner, &me)? {
            bury(ledger, dirs, &binding, &me)?;
            recovered.push(binding.name);
        }
    }
    Ok(recovered)
}

/// Ends a container whose binding `me` has claimed. A binding that is somebody else's by then stays.
fn bury(ledger: &mut Ledger, dirs: &Dirs, binding: &Binding, me: &Owner) -> Result<(), Error> {
    settle(dirs, &binding.id, &binding.name)?;
    if binding.detached && binding.status == Status::Running {
        clean_but_log(dirs, &binding.id, &binding.name)?;
        ledger.update(&binding.id, &Change::exited(KILLED, now()))?;
    } else {
        clean(dirs, &binding.id, &binding.name)?;
        ledger.finish_owned(&binding.id, me)?;
    }
    Ok(())
}
