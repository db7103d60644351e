//! Backups written, read, damaged and interrupted, in a store on disk.

mod damage;
mod hostile;
mod interruptions;
mod rig;
mod round_trip;
